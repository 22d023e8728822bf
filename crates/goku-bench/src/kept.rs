//! The places of a consumer's cursor, and of its effects, that are measured.

use serde::{Deserialize, Serialize};

/// Where a consumer keeps its cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kept {
    Goku,
    Memory,
    /// In a SQLite file of the user's own, with the effects.
    Sqlite,
    /// The same for so many events in a transaction.
    SqliteBatches,
    /// In a MariaDB database of the user's own, with the effects.
    Mariadb,
    MariadbBatches,
}

/// Events in a transaction of several.
pub(crate) const BATCH: usize = 100;

impl Kept {
    /// All, in the order of the table.
    pub(crate) const ALL: [Kept; 6] = [
        Kept::Goku,
        Kept::Memory,
        Kept::Sqlite,
        Kept::SqliteBatches,
        Kept::Mariadb,
        Kept::MariadbBatches,
    ];

    /// As tables name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kept::Goku => "in goku",
            Kept::Memory => "in memory",
            Kept::Sqlite => "with the effects in a SQLite file, a transaction for each event",
            Kept::SqliteBatches => "the same, a transaction for 100 events",
            Kept::Mariadb => "with the effects in MariaDB, a transaction for each event",
            Kept::MariadbBatches => "the same, a transaction for 100 events",
        }
    }

    /// Events that are handled together.
    pub(crate) fn batch(self) -> usize {
        match self {
            Kept::SqliteBatches | Kept::MariadbBatches => BATCH,
            _ => 1,
        }
    }
}
