//! The commit pipeline: batches that follow each other before the outcome of the one before is known.
//!
//! While a batch is being written, what the next one needs is read. If nobody else writes in the meantime, that one is
//! decided on it and goes to the store in one round trip, conditional on the batch before it, whose outcome need not be
//! known yet: it waits at the store for the lock that the one before it holds. What batches met lately is known as long as
//! nobody else writes, and not read again. A large one writes its rows before it has the lock, beside the one before it.
//!
//! Why it is built like this, and what happens where something goes wrong, is told in `docs/commit-pipeline.md`.

mod changes;
mod driver;
mod recent_rows;
mod schedule;
mod speculation;

#[cfg(test)]
pub(crate) use self::changes::Changes;
pub(super) use self::driver::Driver;
#[cfg(test)]
pub(crate) use self::speculation::Speculation;
