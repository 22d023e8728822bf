//! The task `bench`: measures goku and what it is compared with.

use std::fs;

use crate::cargo;
use crate::etcd_peer::EtcdPeer;
use crate::failure::Failure;
use crate::mariadb_package;
use crate::task::BenchOptions;

/// Builds the programs as they would be released, and runs the one that measures. Its data lies where cargo builds: the
/// usual folder for temporary files is in memory on many machines, where commits cost nothing.
pub(crate) fn run(options: &BenchOptions) -> Result<(), Failure> {
    let needs = Needs::of(&options.arguments);
    if needs.mariadb {
        mariadb_package::ensure(options.install)?;
    }
    let folder = cargo::target_folder().join("bench");
    let cannot_use = |error| Failure::new(format!("cannot use the folder {}: {error}", folder.display()));
    fs::create_dir_all(&folder).map_err(cannot_use)?;
    let folder = folder.canonicalize().map_err(cannot_use)?;
    let mut variables = vec![("TMPDIR", folder.to_string_lossy().into_owned())];
    if needs.goku {
        cargo::run(["build", "--release", "--package", "goku-server", "--bin", "goku"], &[])?;
        let program = folder.with_file_name("release").join("goku");
        variables.push(("GOKU_BENCH_PROGRAM", program.to_string_lossy().into_owned()));
    }
    if needs.etcd {
        match EtcdPeer::prepare(options.install) {
            Ok(peer) => {
                variables.push(("GOKU_BENCH_ETCD", peer.server.to_string_lossy().into_owned()));
                variables.push(("GOKU_BENCH_ETCD_LOAD", peer.load.to_string_lossy().into_owned()));
            }
            // The rest is worth measuring without it; what is compared with it shows as not measured.
            Err(failure) => eprintln!("xtask: etcd is not measured: {failure}"),
        }
    }
    let program = ["run", "--release", "--package", "goku-bench", "--"];
    let arguments = options.arguments.iter().map(String::as_str);
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    cargo::run(program.into_iter().chain(arguments), &variables)
}

/// What has to be there before anything is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Needs {
    mariadb: bool,
    /// The program `goku`.
    goku: bool,
    etcd: bool,
}

impl Needs {
    fn of(arguments: &[String]) -> Self {
        let line = format!(" {} ", arguments.join(" ")).replace('=', " ");
        let has = |words: &str| line.contains(&format!(" {words} "));
        let measures = !has("--help") && !has("-h");
        let is_whole = measures && arguments.first().is_none_or(|first| first != "calls");
        let rows = arguments_of(&line, "--only");
        Self {
            mariadb: measures && !has("--store sqlite"),
            goku: is_whole,
            etcd: is_whole && rows.is_none_or(|rows| rows.split(',').any(|row| row == "calls")),
        }
    }
}

/// The word behind an option.
fn arguments_of<'a>(line: &'a str, option: &str) -> Option<&'a str> {
    let mut words = line.split_whitespace();
    words.find(|word| *word == option)?;
    words.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(line: &str) -> (bool, bool, bool) {
        let Needs { mariadb, goku, etcd } = Needs::of(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        (mariadb, goku, etcd)
    }

    #[test]
    fn a_whole_run_needs_all() {
        assert_eq!(needs(""), (true, true, true));
        assert_eq!(needs("--short --only watch,calls"), (true, true, true));
        assert_eq!(needs("--only=watch"), (true, true, false));
    }

    #[test]
    fn calls_alone_need_a_database_at_most() {
        assert_eq!(needs("calls --runs 1"), (true, false, false));
        assert_eq!(needs("calls --runs 1 --store sqlite"), (false, false, false));
        assert_eq!(needs("calls --store=sqlite"), (false, false, false));
        assert_eq!(needs("--help"), (false, false, false));
    }
}
