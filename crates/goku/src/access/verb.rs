//! What can be done, as far as rights tell it apart.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// What can be done, as far as rights tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Get, list, read the history of keys, and compare them in a transaction.
    Read,
    /// Stream the events of keys.
    Watch,
    /// Set and delete keys.
    Write,
    /// Read, renew and end leases whose keys are all among these. On all keys: every lease, and list them.
    Lease,
    /// Run consumers with these names: their cursors, and the keys that goku keeps for them.
    Consume,
    /// Read what the store tells of itself, and all cursors.
    Observe,
    /// Read and change settings, and so all rights.
    Admin,
}

impl Verb {
    /// All verbs.
    pub const ALL: [Verb; 7] = [
        Verb::Read,
        Verb::Watch,
        Verb::Write,
        Verb::Lease,
        Verb::Consume,
        Verb::Observe,
        Verb::Admin,
    ];

    /// The verb's name.
    pub const fn name(self) -> &'static str {
        match self {
            Verb::Read => "read",
            Verb::Watch => "watch",
            Verb::Write => "write",
            Verb::Lease => "lease",
            Verb::Consume => "consume",
            Verb::Observe => "observe",
            Verb::Admin => "admin",
        }
    }

    /// Whether a grant of the verb says for which keys, or names of consumers, it is.
    pub const fn has_scope(self) -> bool {
        !matches!(self, Verb::Observe | Verb::Admin)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Verb {
    type Err = Error;

    /// Reads a verb's name.
    fn from_str(name: &str) -> Result<Verb> {
        Verb::ALL.into_iter().find(|verb| verb.name() == name).ok_or_else(|| {
            let names = Verb::ALL.map(Verb::name).join(", ");
            Error::new(
                ErrorKind::InvalidArgument,
                format!("{name:?} is no verb: there are {names}"),
            )
        })
    }
}
