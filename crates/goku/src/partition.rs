//! Partitions: keys divided by their hash.

use std::fmt;

use crate::error::{Error, ErrorKind, Result};
use crate::key::Key;
use crate::limits::PARTITIONS_MAX;

/// A part of the keys, of several that they are divided into. A key is in one of them, by its hash, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Partition {
    number: u32,
    count: u32,
}

impl Partition {
    /// The partition `number` of `count`.
    ///
    /// # Errors
    ///
    /// - `InvalidArgument`: `count` is not from 1 to [`PARTITIONS_MAX`], or `number` is not below `count`.
    pub fn new(number: u32, count: u32) -> Result<Partition> {
        if count == 0 || count > PARTITIONS_MAX || number >= count {
            let message = format!(
                "of 1 to {PARTITIONS_MAX} partitions, the first of which is 0, there is no partition {number} of {count}"
            );
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        Ok(Partition { number, count })
    }

    /// The partition of `count` that `key` is in.
    ///
    /// # Errors
    ///
    /// - `InvalidArgument`: `count` is not from 1 to [`PARTITIONS_MAX`].
    pub fn of(key: &Key, count: u32) -> Result<Partition> {
        let partition = Partition::new(0, count)?;
        Ok(Partition {
            number: partition.number_of(key),
            ..partition
        })
    }

    /// The partition's number, from 0.
    pub fn number(self) -> u32 {
        self.number
    }

    /// The number of partitions.
    pub fn count(self) -> u32 {
        self.count
    }

    /// Whether `key` is in it.
    pub fn contains(self, key: &Key) -> bool {
        self.number_of(key) == self.number
    }

    fn number_of(self, key: &Key) -> u32 {
        let number = hash(key.as_bytes()) % u64::from(self.count);
        u32::try_from(number).unwrap_or_default()
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.count)
    }
}

/// FNV-1a of 64 bits, the upper half folded onto the lower, since its lower bits alone are not spread well. Cursors stand for
/// what it says: it never changes.
fn hash(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (hash >> 32) ^ (hash & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::new(text).unwrap()
    }

    #[test]
    fn a_key_is_in_the_partition_that_it_always_was_in() {
        assert_eq!(hash(b"a"), 0xaf63_dc4c ^ 0x8601_ec8c);
        assert_eq!(Partition::of(&key("a"), 1_024).unwrap().number(), 0x0c0);
        for text in ["a", "b", "users/1", "users/2"] {
            let own = Partition::of(&key(text), 7).unwrap();
            let holders = (0..7).filter(|number| Partition::new(*number, 7).unwrap().contains(&key(text)));
            assert_eq!(holders.collect::<Vec<_>>(), [own.number()]);
        }
    }

    #[test]
    fn keys_are_spread_over_the_partitions() {
        for count in [2, 8, 16, 64] {
            let mut keys = vec![0; count as usize];
            for number in 0..10_000 {
                let partition = Partition::of(&key(&format!("users/{number}")), count).unwrap();
                keys[partition.number() as usize] += 1;
            }
            let (least, most) = (keys.iter().min().unwrap(), keys.iter().max().unwrap());
            assert!(*most < 2 * *least, "{count}: {least} to {most}");
        }
    }

    #[test]
    fn a_partition_that_is_none_is_refused() {
        for (number, count) in [(0, 0), (1, 1), (4, 4), (0, PARTITIONS_MAX + 1)] {
            let refused = Partition::new(number, count).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
        }
        assert!(Partition::new(PARTITIONS_MAX - 1, PARTITIONS_MAX).is_ok());
    }
}
