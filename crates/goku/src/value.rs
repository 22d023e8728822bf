//! Values of keys, and those that requests are given.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::error::{Error, ErrorKind, Result};
use crate::id::{BlobId, EventId};
use crate::key::Key;

/// The value of a key: its bytes, or, where it is large, a reference to them.
///
/// Requests take `impl Into<Value>`. A `String`, a `Vec<u8>` or [`Bytes`] becomes a value without a copy; a borrowed text
/// or slice is copied, so it need not outlive the request.
///
/// Values compare with texts and slices of bytes. A large one equals none of these: of its bytes no more is known than
/// their number and digest.
///
/// ```
/// use goku::{Key, SetRequest};
///
/// # fn main() -> goku::Result<()> {
/// let port = 80;
/// let address = format!("10.0.0.7:{port}");
/// let borrowed = SetRequest::new(Key::new("services/web/1")?, address.as_str());
/// let given = SetRequest::new(Key::new("services/web/1")?, address);
/// let bytes = SetRequest::new(Key::new("services/web/1")?, b"10.0.0.7:80");
/// assert_eq!(borrowed, given);
/// assert_eq!(borrowed, bytes);
/// assert_eq!(bytes.value, "10.0.0.7:80");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Value {
    /// The bytes themselves, which are in the event and in its answers. With its key such a value has at most
    /// [`ENTRY_BYTES_MAX`](crate::limits::ENTRY_BYTES_MAX) bytes.
    Inline(Bytes),
    /// A reference to bytes that a store keeps apart from the event. No request can be given one.
    Large(LargeRef),
}

/// A reference to a large value: its size, its digest, and where the store keeps its bytes.
///
/// Cloning one copies a pointer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LargeRef(Arc<Blob>);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Blob {
    id: BlobId,
    bytes: u64,
    sha256: [u8; 32],
}

impl LargeRef {
    /// A reference to the blob `id`, which has so many `bytes` with this SHA-256 digest. Nothing is checked: whether a store
    /// has such a blob shows where it is read.
    pub fn new(id: BlobId, bytes: u64, sha256: [u8; 32]) -> LargeRef {
        LargeRef(Arc::new(Blob { id, bytes, sha256 }))
    }

    /// The store's number of the blob; it means nothing to another store.
    pub fn blob(&self) -> BlobId {
        self.0.id
    }

    /// The size of the value in bytes.
    pub fn bytes(&self) -> u64 {
        self.0.bytes
    }

    /// The SHA-256 digest of the value's bytes.
    pub fn sha256(&self) -> &[u8; 32] {
        &self.0.sha256
    }

    /// The error of a caller that needs the bytes of this value, which `key` has had since `event`.
    fn not_inline(&self, key: &Key, event: EventId) -> Error {
        let message = format!(
            "the value that {key:?} has had since event {event} is stored apart: its {} bytes cannot be given here",
            self.bytes()
        );
        Error::new(ErrorKind::TooLarge, message)
    }
}

impl Value {
    /// The size of the whole value in bytes, of a large one as well.
    pub fn len(&self) -> u64 {
        match self {
            Value::Inline(bytes) => bytes.len() as u64,
            Value::Large(large) => large.bytes(),
        }
    }

    /// Whether the value has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value's bytes; `None` where it is large.
    ///
    /// Where there is no other way on than an error, [`Entry::inline_value`](crate::Entry::inline_value) and
    /// [`Event::inline_value`](crate::Event::inline_value) give one that says which value it is about.
    pub fn inline(&self) -> Option<&Bytes> {
        match self {
            Value::Inline(bytes) => Some(bytes),
            Value::Large(_) => None,
        }
    }

    /// The value's bytes, without a copy; `None` where it is large.
    pub fn into_inline(self) -> Option<Bytes> {
        match self {
            Value::Inline(bytes) => Some(bytes),
            Value::Large(_) => None,
        }
    }

    /// The bytes of the value that `key` has had since `event`; `TooLarge`, which names these, where it is large.
    pub(crate) fn inline_of(&self, key: &Key, event: EventId) -> Result<&Bytes> {
        match self {
            Value::Inline(bytes) => Ok(bytes),
            Value::Large(large) => Err(large.not_inline(key, event)),
        }
    }

    /// Like [`inline_of`](Self::inline_of), without a copy.
    pub(crate) fn into_inline_of(self, key: &Key, event: EventId) -> Result<Bytes> {
        match self {
            Value::Inline(bytes) => Ok(bytes),
            Value::Large(large) => Err(large.not_inline(key, event)),
        }
    }

    /// The bytes that the value takes in memory, beside the `Value` itself: its own, or those of the reference to it.
    pub fn bytes_in_memory(&self) -> usize {
        match self {
            Value::Inline(bytes) => bytes.len(),
            Value::Large(_) => size_of::<Blob>(),
        }
    }

    /// The bytes of a value that a request is given, to write or to compare with.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`: the value is large, which no request can be given.
    pub fn as_argument(&self) -> Result<&Bytes> {
        self.inline().ok_or_else(no_argument)
    }

    /// The bytes of a value that a request is given, to write or to compare with, without a copy.
    ///
    /// # Errors
    ///
    /// As [`as_argument`](Self::as_argument).
    pub fn into_argument(self) -> Result<Bytes> {
        self.into_inline().ok_or_else(no_argument)
    }
}

fn no_argument() -> Error {
    Error::new(
        ErrorKind::InvalidArgument,
        "a request is given bytes to write or to compare with, never a reference to a value that is stored apart",
    )
}

impl Default for Value {
    /// The empty value.
    fn default() -> Value {
        Value::Inline(Bytes::new())
    }
}

impl fmt::Debug for Value {
    /// Bytes as [`Bytes`] shows them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Inline(bytes) => bytes.fmt(f),
            Value::Large(large) => large.fmt(f),
        }
    }
}

macro_rules! from_owned {
    ($($owned:ty),*) => {$(
        impl From<$owned> for Value {
            fn from(value: $owned) -> Value {
                Value::Inline(value.into())
            }
        }
    )*};
}
from_owned!(Bytes, BytesMut, String, Vec<u8>, Box<[u8]>);

macro_rules! from_borrowed {
    ($($borrowed:ty),*) => {$(
        impl From<&$borrowed> for Value {
            fn from(value: &$borrowed) -> Value {
                let bytes: &[u8] = value.as_ref();
                Value::Inline(Bytes::copy_from_slice(bytes))
            }
        }
    )*};
}
from_borrowed!(str, String, [u8], Vec<u8>);

impl From<&Bytes> for Value {
    fn from(value: &Bytes) -> Value {
        Value::Inline(value.clone())
    }
}

impl<const N: usize> From<&[u8; N]> for Value {
    fn from(value: &[u8; N]) -> Value {
        value.as_slice().into()
    }
}

impl<const N: usize> From<[u8; N]> for Value {
    fn from(value: [u8; N]) -> Value {
        value.as_slice().into()
    }
}

impl From<Cow<'_, str>> for Value {
    fn from(value: Cow<'_, str>) -> Value {
        match value {
            Cow::Borrowed(value) => value.into(),
            Cow::Owned(value) => value.into(),
        }
    }
}

impl From<Cow<'_, [u8]>> for Value {
    fn from(value: Cow<'_, [u8]>) -> Value {
        match value {
            Cow::Borrowed(value) => value.into(),
            Cow::Owned(value) => value.into(),
        }
    }
}

macro_rules! equal_to {
    ($([$($generic:tt)*] $bytes:ty),*) => {$(
        impl<$($generic)*> PartialEq<$bytes> for Value {
            fn eq(&self, other: &$bytes) -> bool {
                let other: &[u8] = other.as_ref();
                self.inline().is_some_and(|bytes| bytes == other)
            }
        }

        impl<$($generic)*> PartialEq<Value> for $bytes {
            fn eq(&self, other: &Value) -> bool {
                other == self
            }
        }
    )*};
}
equal_to!([] str, [] &str, [] String, [] [u8], [] &[u8], [] Vec<u8>, [] Bytes);
equal_to!([const N: usize] [u8; N], [const N: usize] &[u8; N]);

#[cfg(test)]
impl Value {
    /// A large value of so many bytes.
    pub(crate) fn large(bytes: u64) -> Value {
        Value::Large(LargeRef::new(BlobId::new(7), bytes, [9; 32]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_made_of_whatever_holds_bytes() {
        // Nothing here is borrowed for ever.
        let text = String::from("10.0.0.7:80");
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        let values: [Value; 14] = [
            text.as_str().into(),
            (&text).into(),
            text.clone().into(),
            text.as_bytes().into(),
            text.as_bytes().to_vec().into(),
            (&text.as_bytes().to_vec()).into(),
            text.as_bytes().to_vec().into_boxed_slice().into(),
            b"10.0.0.7:80".into(),
            (*b"10.0.0.7:80").into(),
            (&bytes).into(),
            BytesMut::from(text.as_str()).into(),
            Cow::Borrowed(text.as_str()).into(),
            Cow::Borrowed(text.as_bytes()).into(),
            bytes.into(),
        ];
        for value in values {
            assert_eq!(value.inline().unwrap(), &b"10.0.0.7:80"[..]);
        }
    }

    #[test]
    fn what_is_given_whole_is_not_copied() {
        let text = String::from("10.0.0.7:80");
        let place = text.as_ptr();
        assert_eq!(Value::from(text).into_inline().unwrap().as_ptr(), place);
    }

    /// Whether both are equal, in either order.
    fn is_equal<T: ?Sized + PartialEq<Value>>(value: &Value, other: &T) -> bool
    where
        Value: PartialEq<T>,
    {
        let is_equal = value == other;
        assert_eq!(other == value, is_equal);
        is_equal
    }

    #[test]
    fn a_value_equals_the_bytes_that_it_has() {
        let value = Value::from("v");
        assert!(is_equal(&value, "v") && is_equal(&value, &"v") && is_equal(&value, &String::from("v")));
        assert!(is_equal(&value, b"v") && is_equal(&value, &b"v") && is_equal(&value, &b"v"[..]));
        assert!(is_equal(&value, &&b"v"[..]) && is_equal(&value, &vec![b'v']) && is_equal(&value, &Bytes::from("v")));
        assert!(!is_equal(&value, "w") && !is_equal(&value, b"vv") && !is_equal(&value, &Value::default()));
    }

    #[test]
    fn a_large_value_has_a_size_and_no_bytes() {
        let value = Value::large(1 << 33);
        assert_eq!((value.len(), value.is_empty()), (1 << 33, false));
        assert_eq!((value.inline(), value.clone().into_inline()), (None, None));
        assert!(!is_equal(&value, "") && !is_equal(&value, &Value::default()));
        assert_eq!(value, Value::large(1 << 33));
        assert_ne!(value, Value::large(1 << 32));
        assert_eq!(value.as_argument().unwrap_err().kind(), ErrorKind::InvalidArgument);
        assert_eq!(value.into_argument().unwrap_err().kind(), ErrorKind::InvalidArgument);
    }

    #[test]
    fn a_value_takes_its_bytes_or_a_reference_in_memory() {
        assert_eq!(Value::default().bytes_in_memory(), 0);
        assert_eq!(Value::from(vec![0; 5_000]).bytes_in_memory(), 5_000);
        assert!((1..100).contains(&Value::large(u64::MAX).bytes_in_memory()));
        assert_eq!(size_of::<Value>(), size_of::<Bytes>());
    }

    #[test]
    fn the_error_for_a_large_value_names_key_event_and_size() {
        let (key, event) = (Key::new("some/key").unwrap(), EventId::new(17).unwrap());
        let large = Value::large(5_000_000_000);
        for error in [
            large.inline_of(&key, event).unwrap_err(),
            large.clone().into_inline_of(&key, event).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::TooLarge);
            let message = error.message();
            for part in ["\"some/key\"", "event 17 ", "5000000000 bytes", "stored apart"] {
                assert!(message.contains(part), "{part:?} is not in {message:?}");
            }
        }
    }

    #[test]
    fn an_inline_value_is_shown_as_its_bytes() {
        assert_eq!(format!("{:?}", Value::from(vec![b'v', 0xff])), r#"b"v\xff""#);
    }
}
