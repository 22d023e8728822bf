//! The keys that a group keeps in the store.
//!
//! The keys are below `goku:consumers/group/NAME/`: `settings`, with the number of partitions, `member/LEASE` for each member,
//! whose value is its label, and `partition/NUMBER` for each partition that is held. Those of a member are under its lease and
//! vanish with it. Numbers have as many digits as the greatest, so that a list is in order.

use super::super::RESERVED_PREFIX;
use crate::cursor::ConsumerName;
use crate::error::Result;
use crate::id::LeaseId;
use crate::key::{Key, Prefix};

/// Keys of one group.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: String,
}

/// The meaning of a key of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Settings,
    Member(LeaseId),
    Partition(u32),
}

impl Keys {
    pub(super) fn of(consumer: &ConsumerName) -> Keys {
        Keys {
            prefix: format!("{RESERVED_PREFIX}group/{consumer}/"),
        }
    }

    pub(super) fn prefix(&self) -> Result<Prefix> {
        Prefix::new(&self.prefix)
    }

    pub(super) fn settings(&self) -> Result<Key> {
        Key::new(format!("{}settings", self.prefix))
    }

    pub(super) fn member(&self, lease: LeaseId) -> Result<Key> {
        Key::new(format!("{}member/{:019}", self.prefix, lease.get()))
    }

    pub(super) fn partition(&self, number: u32) -> Result<Key> {
        Key::new(format!("{}partition/{number:04}", self.prefix))
    }

    /// The meaning of `key`; `None` if it is not the group's.
    pub(super) fn meaning(&self, key: &Key) -> Option<Meaning> {
        let rest = key.text()?.strip_prefix(&self.prefix)?;
        if rest == "settings" {
            return Some(Meaning::Settings);
        }
        if let Some(lease) = rest.strip_prefix("member/") {
            return LeaseId::new(lease.parse().ok()?).ok().map(Meaning::Member);
        }
        let number = rest.strip_prefix("partition/")?;
        number.parse().ok().map(Meaning::Partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{CONSUMER_NAME_BYTES_MAX, PARTITIONS_MAX};

    #[test]
    fn keys_are_read_as_they_were_written() {
        let keys = Keys::of(&ConsumerName::new("x".repeat(CONSUMER_NAME_BYTES_MAX)).unwrap());
        let lease = LeaseId::new(i64::MAX).unwrap();
        assert_eq!(keys.meaning(&keys.settings().unwrap()), Some(Meaning::Settings));
        assert_eq!(keys.meaning(&keys.member(lease).unwrap()), Some(Meaning::Member(lease)));
        for number in [0, PARTITIONS_MAX - 1] {
            let key = keys.partition(number).unwrap();
            assert_eq!(keys.meaning(&key), Some(Meaning::Partition(number)));
        }
        let other = Keys::of(&ConsumerName::new("x").unwrap());
        assert_eq!(other.meaning(&keys.settings().unwrap()), None);
    }
}
