//! Keys of a lease.

use goku::Key;

/// Keys of a lease.
#[derive(Debug, Default)]
pub(crate) struct HeldKeys {
    pub(crate) keys: Vec<Key>,
    /// Whether there are more.
    pub(crate) more: bool,
}
