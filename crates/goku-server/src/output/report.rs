//! The report of a load.

use goku::Prefix;
use goku_load::{Load, Measured};

/// A load, and its outcome.
pub(crate) struct Report<'a> {
    /// The load as it was asked for.
    pub(crate) load: &'a Load,
    /// The servers, or the store, without its password.
    pub(crate) on: String,
    /// Connections to each server; none where the store was opened by this process.
    pub(crate) connections: Option<usize>,
    /// The prefix of all keys.
    pub(crate) prefix: &'a Prefix,
    /// Whether the keys stay.
    pub(crate) keeps: bool,
    /// Whether it was ended early.
    pub(crate) interrupted: bool,
    /// The measurements.
    pub(crate) measured: &'a Measured,
}
