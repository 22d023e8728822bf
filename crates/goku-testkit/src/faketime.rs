//! A clock for other programs, which can be set wrong while they run.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Where Debian's package has the library for programs of several threads.
const LIBRARIES: [&str; 2] = [
    "usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];

/// The time of day of the programs that have its environment; what they measure by a stopwatch stays true.
pub struct FakeClock {
    library: PathBuf,
    folder: TempDir,
}

impl FakeClock {
    /// A clock that is right. None where `cargo xtask engines` has not unpacked what it takes below `engines`.
    pub fn find(engines: &Path) -> Option<FakeClock> {
        let unpacked = engines.join("faketime");
        let mut libraries = LIBRARIES.iter().map(|library| unpacked.join(library));
        let clock = FakeClock {
            library: libraries.find(|library| library.exists())?.canonicalize().unwrap(),
            folder: TempDir::new().unwrap(),
        };
        clock.set(0);
        Some(clock)
    }

    /// What a program has in its environment that goes by this clock.
    pub fn environment(&self) -> Vec<(String, String)> {
        let variables = [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file().display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        variables.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }

    /// Sets it to so many seconds after the right time, or before.
    pub fn set(&self, seconds: i64) {
        // At no moment is there a file that is not whole.
        let next = self.folder.path().join("next");
        fs::write(&next, format!("{seconds:+}s\n")).unwrap();
        fs::rename(&next, self.file()).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("clock")
    }
}
