//! What is measured, and what it is compared with.

use serde::{Deserialize, Serialize};

use crate::system::System;

/// One of the systems that stand beside each other in tables and plots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Subject {
    /// `goku serve`, or goku embedded, on a SQLite file.
    Sqlite,
    /// `goku serve`, or goku embedded, on MariaDB.
    Mariadb,
    /// The original's way on the same MariaDB, behind goku's gRPC service.
    TransactionPerWrite,
    /// Group commit and nothing else, on the same MariaDB, in the process of its callers.
    RawGroupCommit,
    /// etcd, one member.
    Etcd,
    /// No database behind goku's gRPC service.
    NoStore,
}

impl Subject {
    /// All, in the order of tables.
    pub(crate) const ALL: [Subject; 6] = [
        Subject::Sqlite,
        Subject::Mariadb,
        Subject::TransactionPerWrite,
        Subject::RawGroupCommit,
        Subject::Etcd,
        Subject::NoStore,
    ];

    /// What the goals are for.
    pub(crate) const GOKU: [Subject; 2] = [Subject::Sqlite, Subject::Mariadb];

    /// As tables name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Subject::Sqlite => System::Sqlite.name(),
            Subject::Mariadb => System::Mariadb.name(),
            Subject::TransactionPerWrite => System::TransactionPerWrite.name(),
            Subject::RawGroupCommit => "group commit alone",
            Subject::Etcd => "etcd",
            Subject::NoStore => System::NoStore.name(),
        }
    }
}
