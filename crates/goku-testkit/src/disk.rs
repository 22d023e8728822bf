//! A small disk for a server's data, which can be filled and given space again.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use goku_mariadbd::Options;
use tempfile::TempDir;

/// Mounts the disk of `$1` KiB at the folder `$0`, says so, and keeps it until the input ends.
const KEEPER: &str = r#"mount -t tmpfs -o size="$1"k goku "$0" && echo mounted && exec cat"#;

/// Enters the namespaces of the process `$1` and goes on there by the script `$0`, with the server's folder, the disk's
/// and the server's command line.
const OUTSIDE: &str = r#"inside=$0 keeper=$1; shift
exec nsenter --target "$keeper" --user --preserve-credentials --mount sh -c "$inside" "$PWD" "$@""#;

/// Becomes the server; the first time, takes the data of a server that never ran to the disk before.
const INSIDE: &str = r#"disk=$1; shift
{ [ -d "$disk/data" ] || cp -r "$0/data" "$disk/data"; } && exec "$@""#;

/// What is written to the ballast at once.
static PIECE: [u8; 64 * 1024] = [7; 64 * 1024];

/// A disk in memory that only the servers see which run on it, gone with this value and with the process.
///
/// # Panics
///
/// Where the disk cannot be used that was mounted.
pub struct SmallDisk {
    folder: TempDir,
    /// Its namespaces have the disk.
    keeper: Child,
}

impl SmallDisk {
    /// A disk of so many KiB. None where this machine lets nobody mount a disk of their own; it takes no root.
    pub fn mount(kib: usize) -> Option<SmallDisk> {
        let folder = TempDir::new().unwrap();
        let place = folder.path().join("disk");
        fs::create_dir(&place).unwrap();
        let keeper = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", KEEPER])
            .arg(&place)
            .arg(kib.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut disk = SmallDisk { folder, keeper };
        let mut said = String::new();
        BufReader::new(disk.keeper.stdout.take()?).read_line(&mut said).ok()?;
        let mut entry = Command::new("nsenter");
        entry.args(["--target", &disk.keeper.id().to_string()]);
        entry.args(["--user", "--preserve-credentials", "--mount", "true"]);
        let entered = entry.stderr(Stdio::null()).status();
        (said == "mounted\n" && entered.is_ok_and(|status| status.success())).then_some(disk)
    }

    /// How a server is run that has its data on the disk, and what it logs for others beside it.
    pub fn options(&self, options: Options) -> Options {
        let own = [
            format!("--datadir={}", self.place().join("data").display()),
            format!("--log-bin={}", self.folder.path().join("binlog").display()),
            "--sync-binlog=1".to_owned(),
            "--server-id=1".to_owned(),
            // As whom its user is seen there.
            "--user=root".to_owned(),
        ];
        let keeper = self.keeper.id().to_string();
        let place = self.place().display().to_string();
        let runner = ["sh", "-c", OUTSIDE, INSIDE, &keeper, &place];
        Options {
            arguments: options.arguments.into_iter().chain(own).collect(),
            runner: runner.map(str::to_owned).to_vec(),
            ..options
        }
    }

    /// Takes all the space that is left.
    pub fn fill(&self) {
        let mut ballast = File::options().create(true).append(true).open(self.ballast()).unwrap();
        loop {
            match ballast.write_all(&PIECE) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return,
                Err(error) => panic!("the disk cannot be filled: {error}"),
            }
        }
    }

    /// Gives back what was taken.
    pub fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn place(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// As it is seen from outside, by way of the process that has the disk.
    fn ballast(&self) -> PathBuf {
        let inside = self.place().join("ballast");
        PathBuf::from(format!("/proc/{}/root{}", self.keeper.id(), inside.display()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Its input ends, and so does it. An error leaves nothing to do here.
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}
