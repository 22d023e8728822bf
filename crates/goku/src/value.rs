//! Values that requests are given.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

/// A value to write or to compare with: bytes, from whatever holds them.
///
/// Requests take `impl Into<Value>`. A `String`, a `Vec<u8>` or [`Bytes`] becomes a value without a copy; a borrowed text
/// or slice is copied, so it need not outlive the request.
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
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Value(Bytes);

impl Value {
    /// The value's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The value's bytes, without a copy.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

macro_rules! from_owned {
    ($($owned:ty),*) => {$(
        impl From<$owned> for Value {
            fn from(value: $owned) -> Value {
                Value(value.into())
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
                Value(Bytes::copy_from_slice(bytes))
            }
        }
    )*};
}
from_borrowed!(str, String, [u8], Vec<u8>);

impl From<&Bytes> for Value {
    fn from(value: &Bytes) -> Value {
        Value(value.clone())
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

impl From<Value> for Bytes {
    fn from(value: Value) -> Bytes {
        value.0
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
            assert_eq!(value.as_bytes(), b"10.0.0.7:80");
        }
    }

    #[test]
    fn what_is_given_whole_is_not_copied() {
        let text = String::from("10.0.0.7:80");
        let place = text.as_ptr();
        assert_eq!(Bytes::from(Value::from(text)).as_ptr(), place);
    }
}
