//! The report: what is shown while it runs, and a folder of files.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use goku_testkit::check::{self, Violation};
use goku_testkit::history::History;
use tokio::time::Instant;

use crate::fault::Kind;
use crate::options::Options;

/// What is printed of the violations; the folder has them all.
const VIOLATIONS_SHOWN_MAX: usize = 10;

pub(crate) struct Report {
    folder: PathBuf,
    head: String,
    started: Instant,
    faults: Vec<(Duration, Kind)>,
}

impl Report {
    /// Makes the folder anew.
    pub(crate) fn create(options: &Options, seed: u64) -> io::Result<Report> {
        let folder = options.report.join(options.engine.name());
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::create_dir_all(&folder)?;
        let head = format!("engine {}, {} s, seed {seed}", options.engine.name(), options.seconds,);
        println!("{head}, report in {}", folder.display());
        Ok(Report {
            folder,
            head,
            started: Instant::now(),
            faults: Vec::new(),
        })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A fault begins.
    pub(crate) fn fault(&mut self, kind: Kind, answered: (usize, usize)) {
        self.faults.push((self.started.elapsed(), kind));
        self.progress(answered);
    }

    /// Shows how far it has come.
    pub(crate) fn progress(&self, (answered, failed): (usize, usize)) {
        let fault = self.faults.last().map(|(_, kind)| *kind);
        println!(
            "{:>5} s  {answered:>8} calls answered, {failed:>6} with errors  {fault:?}",
            self.started.elapsed().as_secs()
        );
    }

    /// Writes the files and the summary.
    pub(crate) fn finish(&self, history: &History, violations: &[Violation]) -> io::Result<()> {
        let summary = self.summary(history, violations);
        println!("{summary}");
        for violation in violations.iter().take(VIOLATIONS_SHOWN_MAX) {
            println!("{violation}");
        }
        fs::write(self.folder.join("summary.txt"), summary)?;
        self.write(
            "faults.txt",
            self.faults.iter().map(|(at, kind)| format!("{at:?} {kind:?}")),
        )?;
        self.write("violations.txt", violations.iter().map(ToString::to_string))?;
        self.write("calls.txt", history.calls.iter().map(|call| format!("{call:?}")))?;
        self.write("log.txt", history.last.log.iter().map(|event| format!("{event:?}")))?;
        self.write(
            "streams.txt",
            history.streams.iter().map(|stream| format!("{stream:?}")),
        )
    }

    fn summary(&self, history: &History, violations: &[Violation]) -> String {
        let mut faults: BTreeMap<String, usize> = BTreeMap::new();
        for (_, kind) in &self.faults {
            *faults.entry(format!("{kind:?}")).or_default() += 1;
        }
        let mut lateness = check::lateness(history);
        lateness.sort_unstable();
        let at = |share: usize| lateness.get(lateness.len() * share / 100).copied().unwrap_or_default();
        let mut text = format!("{}\n{}\n", self.head, history.summary());
        // A string takes any write.
        let _ = writeln!(text, "{} faults: {faults:?}", self.faults.len());
        let _ = writeln!(
            text,
            "{} leases ended, after their deadlines by {:?} (median), {:?} (p99)",
            lateness.len(),
            at(50),
            at(99)
        );
        let _ = writeln!(text, "{} violations", violations.len());
        text
    }

    fn write(&self, name: &str, lines: impl Iterator<Item = String>) -> io::Result<()> {
        let mut file = BufWriter::new(File::create(self.folder.join(name))?);
        for line in lines {
            writeln!(file, "{line}")?;
        }
        file.flush()
    }
}
