//! Conversions between goku's types and the messages of the protocol: the zeros of the wire begin and end here.
//!
//! Conversions of what a peer may get wrong are a `TryFrom`. From a request it gives the kind that the caller is to be
//! answered with; from an answer always `Internal` or, where an older goku cannot say it, `Unsupported`. So is the conversion of
//! what holds a value into a message: messages have the bytes of values, and no reference to a large one, which is `TooLarge`
//! in an answer and `InvalidArgument` in a request.

mod cursor;
mod entry;
mod event;
mod history;
mod key;
mod lease;
mod origin;
mod reloaded;
mod request;
mod setting;
mod snapshot;
mod status;
mod time;
mod token_use;
mod txn;
mod write;

pub(crate) use cursor::outcomes;
pub(crate) use entry::listed;
pub(crate) use event::reflex_request;
pub(crate) use key::from_request as key_from_request;
pub(crate) use key::to_request as key_to_request;
pub(crate) use lease::text_lease_keys;
pub(crate) use origin::origin;
pub(crate) use origin::put_origin;
pub(crate) use snapshot::read_headers;
pub(crate) use snapshot::write_headers;
pub(crate) use token_use::after_token;
pub(crate) use write::put_write_id;
pub(crate) use write::write_id;

use bytes::Bytes;
use goku::{Error, ErrorKind, Value};

/// Values up to so many bytes are copied out of the buffer that their message was received in: a slice would keep the
/// whole buffer, which may be many times as large and hold other messages.
const VALUE_COPY_BYTES_MAX: usize = 4096;

/// A value that keeps no more than itself in memory, more or less.
fn own(value: Bytes) -> Value {
    if value.len() <= VALUE_COPY_BYTES_MAX {
        Value::from(&value[..])
    } else {
        value.into()
    }
}

/// The limit of a page that a request asks for.
fn page_limit(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// A request that cannot be right as it is.
fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

/// An answer that no goku gives.
fn impossible(error: Error) -> Error {
    Error::new(
        ErrorKind::Internal,
        format!("the server's answer cannot be right: {error}"),
    )
}

/// An answer without a message that it must have.
fn missing(what: &'static str) -> Error {
    impossible(Error::new(ErrorKind::Internal, what))
}
