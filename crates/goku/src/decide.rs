//! The rules: what a batch of requests does to the state that it meets. Pure: no SQL, no clock, no await.
//!
//! A store locks the [`Head`], loads what [`Batch::first_needs`] names into a [`State`] and calls [`Batch::decide`]
//! until that needs nothing more; then it writes the [`Decision`] and commits, all in one transaction.

mod batch;
mod condition;
mod configure;
mod epoch;
mod lease;
mod members;
mod needs;
mod piece;
mod request;
mod session;
mod session_row;
mod settings;
mod state;
mod txn;
mod working;
mod write;

#[cfg(test)]
pub(crate) mod tests;

pub(crate) use batch::Batch;
pub(crate) use batch::Decide;
pub(crate) use batch::Decision;
pub(crate) use batch::first_needs;
pub(crate) use configure::check_all as check_settings;
pub(crate) use epoch::event_to_check;
pub(crate) use epoch::is_lost;
pub(crate) use lease::lease_of;
pub(crate) use lease::may_use;
pub(crate) use lease::to_lease;
pub(crate) use members::MEMBERS_MAX;
pub(crate) use members::Members;
pub(crate) use needs::Needs;
pub(crate) use needs::RangeNeed;
pub(crate) use piece::Piece;
pub(crate) use request::Answer;
pub(crate) use request::Request;
pub(crate) use session_row::SessionRow;
pub(crate) use settings::Configure;
#[cfg(any(test, feature = "sim"))]
pub(crate) use settings::Configured;
pub(crate) use settings::Settings;
pub(crate) use settings::SettingsStamp;
pub(crate) use settings::changes_page;
pub(crate) use settings::page_limit;
pub(crate) use state::Format;
pub(crate) use state::Head;
pub(crate) use state::LeaseRow;
pub(crate) use state::Preconditions;
pub(crate) use state::Row;
pub(crate) use state::State;
pub(crate) use txn::needs_of as txn_needs;
pub(crate) use txn::read as read_txn;
pub(crate) use write::not_found;
