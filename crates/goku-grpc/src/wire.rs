//! Conversions between goku's types and the messages of the protocol: the zeros of the wire begin and end here.
//!
//! Conversions of what a peer may get wrong are a `TryFrom`. From a request it gives the kind that the caller is to be
//! answered with; from an answer always `Internal` or, where an older goku cannot say it, `Unsupported`.

mod cursor;
mod entry;
mod event;
mod lease;
mod request;
mod snapshot;
mod status;
mod time;
mod txn;
mod write;

pub(crate) use cursor::outcomes;
pub(crate) use entry::listed;
pub(crate) use event::reflex_request;
pub(crate) use snapshot::read_headers;
pub(crate) use snapshot::write_headers;
pub(crate) use write::put_write_id;
pub(crate) use write::write_id;

use bytes::Bytes;
use goku::limits::KEY_BYTES_MAX;
use goku::{Error, ErrorKind, Prefix, Result};

/// Values up to so many bytes are copied out of the buffer that their message was received in: a slice would keep the
/// whole buffer, which may be many times as large and hold other messages.
const VALUE_COPY_BYTES_MAX: usize = 4096;

/// A value that keeps no more than itself in memory, more or less.
fn own(value: Bytes) -> Bytes {
    if value.len() <= VALUE_COPY_BYTES_MAX {
        Bytes::copy_from_slice(&value)
    } else {
        value
    }
}

/// The prefix that a list or a stream asks for, and whether a key can begin with it.
///
/// A text that is longer than any key begins none. The original answers it as any other prefix without keys, so it is no
/// error here: the request is read with as much of the text as a prefix has, and has to ask for nothing.
fn prefix(text: &str) -> Result<(Prefix, bool)> {
    if text.len() <= KEY_BYTES_MAX {
        return Ok((Prefix::new(text)?, true));
    }
    let end = (0..=KEY_BYTES_MAX)
        .rfind(|end| text.is_char_boundary(*end))
        .unwrap_or(0);
    Ok((Prefix::new(&text[..end])?, false))
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
