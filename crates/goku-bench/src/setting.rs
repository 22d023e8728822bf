//! What a row was measured on, and how.

use std::fs;
use std::thread;

use goku::{Clock, SystemClock};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Outcome;

/// The machine, the versions and the measures.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Setting {
    /// The day, as 2026-01-31.
    pub(crate) date: String,
    pub(crate) processor: String,
    pub(crate) processors: usize,
    pub(crate) memory_gib: u64,
    /// goku and the others, with their versions.
    pub(crate) versions: Vec<String>,
    pub(crate) value_bytes: usize,
    pub(crate) connections: usize,
    pub(crate) runs: usize,
    pub(crate) seconds: String,
    /// Keys of List and Replay, keys of Growth, leases.
    pub(crate) keys: usize,
    pub(crate) growth_keys: usize,
    pub(crate) leases: usize,
}

impl Setting {
    /// This machine, today.
    pub(crate) fn of_machine() -> Outcome<Setting> {
        let today = Timestamp::from_millisecond(SystemClock.now().as_millis())?;
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        Ok(Setting {
            date: today.strftime("%Y-%m-%d").to_string(),
            processor: field(&fs::read_to_string("/proc/cpuinfo")?, "model name"),
            processors: thread::available_parallelism()?.get(),
            memory_gib: gib(&field(&fs::read_to_string("/proc/meminfo")?, "MemTotal")),
            versions: vec![
                format!("goku {}", env!("CARGO_PKG_VERSION")),
                format!("Linux {}", kernel.trim()),
            ],
            ..Setting::default()
        })
    }

    /// In one sentence, for people.
    pub(crate) fn text(&self) -> String {
        format!(
            "{}, on {} processors ({}) with {} GiB of memory, for callers, servers and databases together: {}; values of \
             {} bytes, at most {} connections, medians of {} runs of {} s each",
            self.date,
            self.processors,
            self.processor,
            self.memory_gib,
            self.versions.join(", "),
            self.value_bytes,
            self.connections,
            self.runs,
            self.seconds,
        )
    }
}

/// What stands behind the name of a field and a colon.
fn field(text: &str, name: &str) -> String {
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    let found = fields.find(|(field, _)| field.trim() == name);
    found.map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
}

/// From "24689764 kB", to the nearest.
fn gib(text: &str) -> u64 {
    let kib = text.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok());
    kib.map_or(0, |kib| (kib + (1 << 19)) >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_read_from_the_kernel() {
        let text = "processor\t: 0\nmodel name\t: A Chip: 3 GHz\n";
        assert_eq!(field(text, "model name"), "A Chip: 3 GHz");
        assert_eq!(field(text, "flags"), "unknown");
        assert_eq!(gib("24689764 kB"), 24);
        assert_eq!(gib("unknown"), 0);
    }
}
