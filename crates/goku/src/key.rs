//! Keys, prefixes of keys and ranges of keys.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::limits::KEY_BYTES_MAX;

/// A key: 1 to [`KEY_BYTES_MAX`] bytes of UTF-8, any characters. Keys are compared byte by byte.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

/// The beginning of keys: 0 to [`KEY_BYTES_MAX`] bytes of UTF-8. The empty prefix means every key.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Prefix(Arc<str>);

/// The keys from `start`, inclusive, to `end`, exclusive, in the order of their bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyRange {
    /// The first key that is inside.
    pub start: Vec<u8>,
    /// The first key that is not; none where the range has no end.
    pub end: Option<Vec<u8>>,
}

impl Key {
    /// The key of this text.
    ///
    /// # Errors
    ///
    /// - `InvalidKey`: the text is empty or longer than [`KEY_BYTES_MAX`] bytes.
    pub fn new(key: impl AsRef<str>) -> Result<Key> {
        let key = key.as_ref();
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(Error::new(
                ErrorKind::InvalidKey,
                format!(
                    "invalid key: a key has 1 to {KEY_BYTES_MAX} bytes, this one {}",
                    key.len()
                ),
            ));
        }
        Ok(Key(key.into()))
    }

    /// The key of these bytes.
    ///
    /// # Errors
    ///
    /// - `InvalidKey`: the bytes are not UTF-8, none, or more than [`KEY_BYTES_MAX`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Key> {
        let text = std::str::from_utf8(bytes)
            .map_err(|error| Error::new(ErrorKind::InvalidKey, "invalid key: keys are UTF-8").with_source(error))?;
        Key::new(text)
    }

    /// The key's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Prefix {
    /// The prefix of this text.
    ///
    /// # Errors
    ///
    /// - `InvalidKey`: the text is longer than any key.
    pub fn new(prefix: impl AsRef<str>) -> Result<Prefix> {
        let prefix = prefix.as_ref();
        if prefix.len() > KEY_BYTES_MAX {
            return Err(Error::new(
                ErrorKind::InvalidKey,
                format!(
                    "invalid prefix: no key is longer than {KEY_BYTES_MAX} bytes, this prefix has {}",
                    prefix.len()
                ),
            ));
        }
        Ok(Prefix(prefix.into()))
    }

    /// The prefix's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `key` begins with this prefix.
    pub fn matches(&self, key: &Key) -> bool {
        key.as_bytes().starts_with(self.0.as_bytes())
    }

    /// Exactly the keys that begin with this prefix.
    pub fn range(&self) -> KeyRange {
        KeyRange {
            start: self.0.as_bytes().to_vec(),
            end: successor(self.0.as_bytes()),
        }
    }
}

impl KeyRange {
    /// Whether `key` lies inside.
    pub fn contains(&self, key: &Key) -> bool {
        key.as_bytes() >= self.start.as_slice() && self.end.as_ref().is_none_or(|end| key.as_bytes() < end.as_slice())
    }

    /// The part of this range from `start` on.
    pub fn starting_at(mut self, start: &Key) -> KeyRange {
        if start.as_bytes() > self.start.as_slice() {
            self.start = start.as_bytes().to_vec();
        }
        self
    }

    /// The part of this range after `key`.
    pub fn after(mut self, key: &Key) -> KeyRange {
        if key.as_bytes() >= self.start.as_slice() {
            self.start = key.as_bytes().to_vec();
            self.start.push(0);
        }
        self
    }
}

/// The least byte string that is greater than all that begin with `prefix`; none where there is no such.
fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl TryFrom<&str> for Key {
    type Error = Error;

    fn try_from(key: &str) -> Result<Key> {
        Key::new(key)
    }
}

impl TryFrom<String> for Key {
    type Error = Error;

    fn try_from(key: String) -> Result<Key> {
        Key::new(key)
    }
}

impl FromStr for Key {
    type Err = Error;

    /// As [`Key::new`].
    fn from_str(key: &str) -> Result<Key> {
        Key::new(key)
    }
}

impl TryFrom<&str> for Prefix {
    type Error = Error;

    fn try_from(prefix: &str) -> Result<Prefix> {
        Prefix::new(prefix)
    }
}

impl TryFrom<String> for Prefix {
    type Error = Error;

    fn try_from(prefix: String) -> Result<Prefix> {
        Prefix::new(prefix)
    }
}

impl FromStr for Prefix {
    type Err = Error;

    /// As [`Prefix::new`].
    fn from_str(prefix: &str) -> Result<Prefix> {
        Prefix::new(prefix)
    }
}

impl From<&Key> for Prefix {
    fn from(key: &Key) -> Prefix {
        Prefix(key.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_1_to_255_bytes() {
        assert_eq!(Key::new("").unwrap_err().kind(), ErrorKind::InvalidKey);
        assert!(Key::new("k".repeat(255)).is_ok());
        assert_eq!(Key::new("k".repeat(256)).unwrap_err().kind(), ErrorKind::InvalidKey);
        assert!(Key::new("é".repeat(127)).is_ok());
        assert_eq!(Key::new("é".repeat(128)).unwrap_err().kind(), ErrorKind::InvalidKey);
        assert_eq!(Key::from_bytes(b"\xff").unwrap_err().kind(), ErrorKind::InvalidKey);
    }

    #[test]
    fn a_prefix_range_holds_exactly_what_begins_with_it() {
        let keys = [
            "a",
            "a\0",
            "a%",
            "aa",
            "aé",
            "a\u{10ffff}",
            "b",
            "A",
            "á",
            "_",
            "%",
            "a\\b",
        ];
        for prefix in ["", "a", "a\0", "a%", "%", "_", "a\u{10ffff}", "á", "a\\"] {
            let prefix = Prefix::new(prefix).unwrap();
            for key in keys {
                let key = Key::new(key).unwrap();
                assert_eq!(
                    prefix.range().contains(&key),
                    prefix.matches(&key),
                    "{prefix:?} {key:?}"
                );
            }
        }
    }

    #[test]
    fn keys_and_prefixes_are_read_as_they_are_shown() {
        let key: Key = "a b/\u{e9}".parse().unwrap();
        assert_eq!(key.to_string().parse::<Key>().unwrap(), key);
        let prefix: Prefix = "".parse().unwrap();
        assert_eq!(prefix.to_string().parse::<Prefix>().unwrap(), prefix);
        assert_eq!("".parse::<Key>().unwrap_err().kind(), ErrorKind::InvalidKey);
        assert_eq!(
            "k".repeat(256).parse::<Prefix>().unwrap_err().kind(),
            ErrorKind::InvalidKey
        );
    }

    #[test]
    fn the_successor_of_only_the_highest_bytes_is_none() {
        assert_eq!(successor(b""), None);
        assert_eq!(successor(b"\xff\xff"), None);
        assert_eq!(successor(b"a\xff"), Some(b"b".to_vec()));
    }

    #[test]
    fn the_rest_of_a_range_begins_right_after_the_key() {
        let rest = Prefix::new("a").unwrap().range().after(&Key::new("ab").unwrap());
        assert!(!rest.contains(&Key::new("ab").unwrap()));
        assert!(rest.contains(&Key::new("ab\0").unwrap()));
    }
}
