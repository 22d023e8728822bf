//! Keys and prefixes: text in the fields that the original has for them, other bytes in fields beside those.

use bytes::Bytes;
use goku::limits::KEY_BYTES_MAX;
use goku::{Key, Prefix, Result};

use super::{impossible, invalid};

/// The fields of a key in a request: text and bytes, one of them empty.
pub(crate) fn to_request(key: &Key) -> (String, Bytes) {
    fields(key.short_text(), key.as_bytes())
}

/// The fields of a key in an answer: bytes only where it is no text.
pub(super) fn to_answer(key: &Key) -> (String, Bytes) {
    fields(key.text(), key.as_bytes())
}

/// The key of a request.
pub(crate) fn from_request(text: &str, bytes: &[u8]) -> Result<Key> {
    match (text, bytes) {
        (text, []) => Key::new(text),
        ("", bytes) => Key::from_bytes(bytes),
        _ => Err(twice("a key")),
    }
}

/// The key of a request, where there is one.
pub(super) fn optional_from_request(text: &str, bytes: &[u8]) -> Result<Option<Key>> {
    if text.is_empty() && bytes.is_empty() {
        return Ok(None);
    }
    from_request(text, bytes).map(Some)
}

/// The key of an answer.
pub(super) fn from_answer(text: &str, bytes: &[u8]) -> Result<Key> {
    match bytes {
        [] => Key::from_bytes(text),
        bytes => Key::from_bytes(bytes),
    }
    .map_err(impossible)
}

/// The fields of a prefix in a request: text and bytes, one of them empty.
pub(super) fn prefix_to_request(prefix: &Prefix) -> (String, Bytes) {
    fields(prefix.text(), prefix.as_bytes())
}

/// The prefix that a list or a stream asks for, and whether a key can begin with it.
///
/// A prefix that is longer than any key begins none. The original answers it as any other prefix without keys, so it is no
/// error here: the request is read with as much of it as a prefix has, and has to ask for nothing.
pub(super) fn prefix_from_request(text: &str, bytes: &[u8]) -> Result<(Prefix, bool)> {
    let prefix = match (text, bytes) {
        (text, []) => text.as_bytes(),
        ("", bytes) => bytes,
        _ => return Err(twice("a prefix")),
    };
    let known = &prefix[..prefix.len().min(KEY_BYTES_MAX)];
    Ok((Prefix::from_bytes(known)?, known.len() == prefix.len()))
}

/// The fields of text and of bytes: the text where there is one to send, the bytes where there is none.
fn fields(text: Option<&str>, bytes: &[u8]) -> (String, Bytes) {
    match text {
        Some(text) => (text.to_owned(), Bytes::new()),
        None => (String::new(), Bytes::copy_from_slice(bytes)),
    }
}

fn twice(what: &str) -> goku::Error {
    invalid(format!("{what} is given as text or as bytes, not as both"))
}
