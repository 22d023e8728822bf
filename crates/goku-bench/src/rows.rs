//! The rows of the table of goals, each with what measures it.

mod batches;
mod calls;
mod consume;
mod embedded;
mod growth;
mod leases;
mod log;
mod memory;
mod start;
mod watch;

pub(crate) use consume::{EVENTS, SETS_PER_SECOND};

use crate::Outcome;
use crate::lab::Lab;
use crate::results::Row;

/// Measures a row, as often as the options say; its systems take turns in each run.
///
/// Replay and List share a filled store, and are measured together by [`measure_log`].
pub(crate) async fn measure(lab: &mut Lab, row: Row) -> Outcome<()> {
    match row {
        Row::Calls => calls::measure(lab).await,
        Row::Embedded => embedded::measure(lab).await,
        Row::Batches => batches::measure(lab).await,
        Row::Consume => consume::measure(lab).await,
        Row::Watch => watch::measure(lab).await,
        Row::Replay | Row::List => log::measure(lab, &[row]).await,
        Row::Growth => growth::measure(lab).await,
        Row::Leases => leases::measure(lab).await,
        Row::Memory => memory::measure(lab).await,
        Row::Start => start::measure(lab).await,
    }
}

/// Measures Replay and List on the same stores.
pub(crate) async fn measure_log(lab: &mut Lab) -> Outcome<()> {
    log::measure(lab, &[Row::Replay, Row::List]).await
}
