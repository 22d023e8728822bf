//! The keys of a load.

use goku::limits::TEXT_KEY_BYTES_MAX;
use goku::{Error, ErrorKind, Key, Prefix, Result};

/// Keys of a group: as many as a caller usually has.
const GROUP: usize = 1_000;

/// Room for the group and the number of a key, in bytes.
const NUMBERS_BYTES_MAX: usize = 24;

/// Numbered keys below a prefix: `<prefix><group>/<number>`.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    prefix: Prefix,
}

impl Keys {
    /// `InvalidKey` where the prefix leaves no room for the numbers.
    pub(crate) fn new(prefix: Prefix) -> Result<Keys> {
        let bytes_max = TEXT_KEY_BYTES_MAX - NUMBERS_BYTES_MAX;
        if prefix.as_bytes().len() > bytes_max {
            let message = format!("the prefix of a load has at most {bytes_max} bytes");
            return Err(Error::new(ErrorKind::InvalidKey, message));
        }
        Ok(Keys { prefix })
    }

    pub(crate) fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    /// The key of this number.
    pub(crate) fn key(&self, number: usize) -> Result<Key> {
        self.in_group(number / GROUP, number % GROUP)
    }

    /// The key of this number in a group, however large the group is.
    pub(crate) fn in_group(&self, group: usize, number: usize) -> Result<Key> {
        Key::from_bytes(self.below(&format!("{group}/{number}")))
    }

    /// What all keys of a group begin with.
    pub(crate) fn group(&self, group: usize) -> Result<Prefix> {
        Prefix::from_bytes(self.below(&format!("{group}/")))
    }

    fn below(&self, rest: &str) -> Vec<u8> {
        [self.prefix.as_bytes(), rest.as_bytes()].concat()
    }

    /// The number of a key, where it is one of these.
    pub(crate) fn number(&self, key: &Key) -> Option<usize> {
        let numbers = key.as_bytes().strip_prefix(self.prefix.as_bytes())?;
        let numbers = std::str::from_utf8(numbers).ok()?;
        let (group, number) = numbers.split_once('/')?;
        let (group, number): (usize, usize) = (group.parse().ok()?, number.parse().ok()?);
        let number = (number < GROUP).then(|| group.checked_mul(GROUP)?.checked_add(number))??;
        // "01" and "+1" are 1 too, and other keys.
        self.key(number).is_ok_and(|same| same == *key).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_its_number() {
        let keys = Keys::new(Prefix::new("/b/").unwrap()).unwrap();
        for number in [0, 1, 999, 1_000, 123_456] {
            assert_eq!(keys.number(&keys.key(number).unwrap()), Some(number));
        }
        assert_eq!(keys.key(17_003).unwrap(), "/b/17/3");
        for other in [
            "/b/17",
            "/b/17/1000",
            "/b/x/1",
            "/b/01/1",
            "/b/1/+1",
            "/c/1/1",
            "/b/1/1/1",
        ] {
            assert_eq!(keys.number(&Key::new(other).unwrap()), None, "{other}");
        }
    }

    #[test]
    fn a_prefix_leaves_room_for_the_numbers() {
        assert!(Keys::new(Prefix::new("p".repeat(231)).unwrap()).is_ok());
        let refused = Keys::new(Prefix::new("p".repeat(232)).unwrap()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidKey);
    }
}
