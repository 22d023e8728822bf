//! The systems that are measured.

use std::sync::Arc;

use clap::ValueEnum;
use goku::{Client, Engine};
use goku_load::Partial;

use crate::Outcome;
use crate::database::Database;
use crate::no_store::NoStore;
use crate::operation::Operation;
use crate::options::Store;
use crate::transaction_per_write::TransactionPerWrite;

/// What answers the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum System {
    /// goku on a SQLite file.
    Sqlite,
    /// goku on MariaDB.
    Mariadb,
    /// The original's way on the same MariaDB: what goku is compared with.
    TransactionPerWrite,
    /// No database: what the way to a store costs alone.
    NoStore,
}

/// Two systems of which one is expected to be faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Comparison {
    pub(crate) system: System,
    pub(crate) baseline: System,
}

pub(crate) const COMPARISONS: [Comparison; 3] = [
    Comparison {
        system: System::Mariadb,
        baseline: System::TransactionPerWrite,
    },
    Comparison {
        system: System::Mariadb,
        baseline: System::NoStore,
    },
    Comparison {
        system: System::Sqlite,
        baseline: System::NoStore,
    },
];

impl System {
    /// The systems to measure, in the order of their turns.
    pub(crate) fn on(store: Store, embedded: bool) -> Vec<System> {
        let mut systems = match store {
            Store::Sqlite => vec![System::Sqlite],
            Store::Mariadb => vec![System::Mariadb, System::TransactionPerWrite],
            Store::All => vec![System::Sqlite, System::Mariadb, System::TransactionPerWrite],
        };
        if !embedded {
            systems.push(System::NoStore);
        }
        systems
    }

    /// As tables name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            System::Sqlite => "goku on SQLite",
            System::Mariadb => "goku on MariaDB",
            System::TransactionPerWrite => "one transaction a write",
            System::NoStore => "no store",
        }
    }

    /// As the command line names it.
    pub(crate) fn argument(self) -> String {
        let value = self.to_possible_value();
        value.map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// The database that it needs.
    pub(crate) fn database(self) -> Option<Database> {
        match self {
            System::Sqlite => Some(Database::SqliteFile("goku")),
            System::Mariadb => Some(Database::MariaDb("goku")),
            System::TransactionPerWrite => Some(Database::MariaDb("transactions")),
            System::NoStore => None,
        }
    }

    /// Whether it answers such calls.
    pub(crate) fn can(self, operation: Operation) -> bool {
        !(self == System::TransactionPerWrite && operation == Operation::Status)
    }

    /// Opens it, on the store at `url` if it needs one.
    pub(crate) async fn open(self, url: Option<&str>) -> Outcome<Arc<dyn Client>> {
        let url = || url.ok_or("a store to open is missing");
        Ok(match self {
            System::Sqlite | System::Mariadb => Arc::new(Engine::open(url()?).await?),
            System::TransactionPerWrite => Arc::new(Partial(TransactionPerWrite::open(url()?).await?)),
            System::NoStore => Arc::new(Partial(NoStore::default())),
        })
    }
}
