//! The commit pipeline: batches that follow each other before the outcome of the one before is known.
//!
//! While a batch is being written, the rows that the next one needs are read. If nobody else writes meanwhile, that one is
//! decided on them and goes to the store in one round trip, conditional on the batch before it, whose outcome need not be
//! known yet: it waits at the store for the lock that the one before holds. Rows that batches met lately are known until
//! somebody else writes, and not read again. A large batch writes its rows before it has the lock, beside the one before.
//!
//! The reasons, and what happens where something goes wrong, are told in `docs/commit-pipeline.md`.

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
