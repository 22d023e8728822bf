//! The limits of the protocol.

use goku::limits::{ENTRY_BYTES_MAX, TXN_BYTES_MAX};

/// Largest message that clients of the original receive, in bytes: the default of grpc-go.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Room in a message for everything but key and value: ids, versions, timestamps, tags and their field headers at their
/// widest. An entry with all fields takes under 200 bytes.
const ENTRY_FIELDS_BYTES_MAX: usize = 1024;

/// Room in a message for the other fields of as many entries as the answer of a transaction may have.
const TXN_FIELDS_BYTES_MAX: usize = 256 * 1024;

// Whatever the core takes can be sent.
const _: () = assert!(ENTRY_BYTES_MAX + ENTRY_FIELDS_BYTES_MAX <= MESSAGE_BYTES_MAX);
const _: () = assert!(TXN_BYTES_MAX + TXN_FIELDS_BYTES_MAX <= MESSAGE_BYTES_MAX);
