//! The file that a server writes its messages to.

use std::fs;
use std::path::{Path, PathBuf};

/// What an error shows of a log.
const LINES_MAX: usize = 40;

#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
}

impl Log {
    /// The file need not exist yet: then it reads as empty.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether a text stands in the log behind its first `start` bytes.
    pub(crate) fn has_since(&self, start: usize, text: &str) -> bool {
        self.since(start).contains(text)
    }

    /// The last lines of the log, and none of its first `start` bytes.
    pub(crate) fn end_since(&self, start: usize) -> String {
        let text = self.since(start);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES_MAX)..].join("\n")
    }

    /// What was written behind the first `start` bytes.
    pub(crate) fn since(&self, start: usize) -> String {
        String::from_utf8_lossy(self.read().get(start..).unwrap_or_default()).into_owned()
    }

    fn read(&self) -> Vec<u8> {
        fs::read(&self.path).unwrap_or_default()
    }
}
