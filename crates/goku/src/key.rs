//! Keys, prefixes of keys and ranges of keys.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::limits::{KEY_BYTES_MAX, TEXT_KEY_BYTES_MAX};

/// A key: 1 to [`KEY_BYTES_MAX`] bytes of any value. Keys are compared byte by byte.
///
/// Most keys are text: [`new`](Self::new) makes one of it, of up to [`TEXT_KEY_BYTES_MAX`] bytes as in the original, and
/// [`text`](Self::text) gives it back. A key of other bytes is shown with `\xNN` for each byte that belongs to no character.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<[u8]>);

/// The beginning of keys: 0 to [`KEY_BYTES_MAX`] bytes of any value. The empty prefix means every key.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Prefix(Arc<[u8]>);

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
    /// - `InvalidKey`: the text is empty or longer than [`TEXT_KEY_BYTES_MAX`] bytes.
    pub fn new(key: impl AsRef<str>) -> Result<Key> {
        let bytes = key.as_ref().as_bytes();
        check_length(bytes, TEXT_KEY_BYTES_MAX)?;
        Ok(Key(bytes.into()))
    }

    /// The key of these bytes.
    ///
    /// # Errors
    ///
    /// - `InvalidKey`: there are no bytes, or more than [`KEY_BYTES_MAX`].
    pub fn from_bytes(bytes: impl AsRef<[u8]>) -> Result<Key> {
        let bytes = bytes.as_ref();
        check_length(bytes, KEY_BYTES_MAX)?;
        Ok(Key(bytes.into()))
    }

    /// The key's text; `None` where its bytes are not UTF-8.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// The key's text where programs know it that take keys of text alone: up to [`TEXT_KEY_BYTES_MAX`] bytes of UTF-8.
    pub fn short_text(&self) -> Option<&str> {
        self.text().filter(|text| text.len() <= TEXT_KEY_BYTES_MAX)
    }

    /// The key's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

fn check_length(key: &[u8], bytes_max: usize) -> Result<()> {
    if key.is_empty() || key.len() > bytes_max {
        let message = format!("invalid key: a key has 1 to {bytes_max} bytes, this one {}", key.len());
        return Err(Error::new(ErrorKind::InvalidKey, message));
    }
    Ok(())
}

impl Prefix {
    /// The prefix of this text.
    ///
    /// # Errors
    ///
    /// - `InvalidKey`: the text is longer than any key.
    pub fn new(prefix: impl AsRef<str>) -> Result<Prefix> {
        Prefix::from_bytes(prefix.as_ref())
    }

    /// The prefix of these bytes.
    ///
    /// # Errors
    ///
    /// - `InvalidKey`: the bytes are more than any key has.
    pub fn from_bytes(prefix: impl AsRef<[u8]>) -> Result<Prefix> {
        let bytes = prefix.as_ref();
        if bytes.len() > KEY_BYTES_MAX {
            let message = format!(
                "invalid prefix: no key is longer than {KEY_BYTES_MAX} bytes, this prefix has {}",
                bytes.len()
            );
            return Err(Error::new(ErrorKind::InvalidKey, message));
        }
        Ok(Prefix(bytes.into()))
    }

    /// The prefix's text; `None` where its bytes are not UTF-8.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// The prefix's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether `key` begins with this prefix.
    pub fn matches(&self, key: &Key) -> bool {
        key.as_bytes().starts_with(&self.0)
    }

    /// Exactly the keys that begin with this prefix.
    pub fn range(&self) -> KeyRange {
        KeyRange {
            start: self.0.to_vec(),
            end: successor(&self.0),
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

/// Writes bytes as text, and `\xNN` for each that belongs to no character.
pub(crate) fn show(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for chunk in bytes.utf8_chunks() {
        f.write_str(chunk.valid())?;
        chunk.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
    }
    Ok(())
}

/// Writes text as a string literal, other bytes as one of bytes.
pub(crate) fn show_literal(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match std::str::from_utf8(bytes) {
        Ok(text) => fmt::Debug::fmt(text, f),
        Err(_) => write!(f, "b\"{}\"", bytes.escape_ascii()),
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(&self.0, f)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show_literal(&self.0, f)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(&self.0, f)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show_literal(&self.0, f)
    }
}

/// So that a key can be compared with a literal.
impl PartialEq<str> for Key {
    fn eq(&self, text: &str) -> bool {
        *self.0 == *text.as_bytes()
    }
}

impl PartialEq<&str> for Key {
    fn eq(&self, text: &&str) -> bool {
        self == *text
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
    fn a_key_of_text_has_1_to_255_bytes() {
        assert_eq!(Key::new("").unwrap_err().kind(), ErrorKind::InvalidKey);
        assert!(Key::new("k".repeat(255)).is_ok());
        assert_eq!(Key::new("k".repeat(256)).unwrap_err().kind(), ErrorKind::InvalidKey);
        assert!(Key::new("é".repeat(127)).is_ok());
        assert_eq!(Key::new("é".repeat(128)).unwrap_err().kind(), ErrorKind::InvalidKey);
    }

    #[test]
    fn a_text_of_more_than_255_bytes_is_not_short() {
        let key = |bytes: &[u8]| Key::from_bytes(bytes).unwrap();
        assert_eq!(key(&[b'k'; 255]).short_text(), Some("k".repeat(255).as_str()));
        assert_eq!(key(&[b'k'; 256]).short_text(), None);
        assert_eq!(key(b"k\xff").short_text(), None);
    }

    #[test]
    fn a_key_of_bytes_has_1_to_1024_of_any_value() {
        assert_eq!(Key::from_bytes(b"").unwrap_err().kind(), ErrorKind::InvalidKey);
        assert!(Key::from_bytes([0xff; 1024]).is_ok());
        assert_eq!(Key::from_bytes([0xff; 1025]).unwrap_err().kind(), ErrorKind::InvalidKey);
    }

    #[test]
    fn a_key_has_its_text_if_its_bytes_are_one() {
        let text = Key::from_bytes("k".repeat(1024)).unwrap();
        assert_eq!(text.text(), Some("k".repeat(1024).as_str()));
        assert_eq!(Key::from_bytes("é").unwrap(), Key::new("é").unwrap());
        let bytes = Key::from_bytes(b"a\xffb\0").unwrap();
        assert_eq!(bytes.text(), None);
        assert_eq!(bytes.to_string(), "a\\xffb\0");
        assert_eq!(format!("{bytes:?}"), r#"b"a\xffb\x00""#);
        assert_eq!(format!("{:?}", Key::new("a\"b").unwrap()), r#""a\"b""#);
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
        let keys = keys.map(str::as_bytes);
        let bytes = [
            &b"\xff"[..],
            b"\xff\xff",
            b"\xff\0",
            b"\xfe",
            b"a\xff",
            b"a\xff\xff",
            b"\0",
        ];
        for prefix in keys.iter().chain(&bytes).chain([&&b""[..], &&b"a\\"[..]]) {
            let prefix = Prefix::from_bytes(prefix).unwrap();
            for key in keys.iter().chain(&bytes) {
                let key = Key::from_bytes(key).unwrap();
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
            "k".repeat(1025).parse::<Prefix>().unwrap_err().kind(),
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
