//! The report of a load.

use goku_load::{Load, Measured};

/// A load, and its outcome.
pub(crate) struct Report<'a> {
    /// What was done, as asked.
    pub(crate) load: &'a Load,
    /// The servers, or the store, without its password.
    pub(crate) on: String,
    /// Connections to each server; none where the store was opened by this process.
    pub(crate) connections: Option<usize>,
    /// What all keys begin with.
    pub(crate) prefix: &'a str,
    /// Whether the keys stay.
    pub(crate) keeps: bool,
    /// Whether it was ended early.
    pub(crate) interrupted: bool,
    /// What came of it.
    pub(crate) measured: &'a Measured,
}
