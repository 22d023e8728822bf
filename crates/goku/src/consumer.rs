//! Consumers: programs that do something for every event, and go on where they stopped.
//!
//! A [`Consumer`] has a name, under which its cursor is kept, a [`Spec`] and a [`Handler`]. It reads events in order,
//! has each handled, and moves its cursor behind what is done: **at least once**, in order, whatever fails. What fails is
//! tried again, and skipped only where [`OnFailure`] says so. It runs embedded and over the network alike.
//!
//! ```
//! use std::sync::Arc;
//!
//! use goku::consumer::{self, Consumer, Delivery, Spec};
//! use goku::{Client, ConsumerName, Engine, Key, Prefix, SetRequest};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> goku::Result<()> {
//! let engine = Arc::new(Engine::open("sqlite::memory:").await?);
//! engine.set(SetRequest::new(Key::new("users/1")?, "Ada")).await?;
//!
//! let (seen, mut greeted) = tokio::sync::mpsc::unbounded_channel();
//! let spec = Spec::new(ConsumerName::new("greeter")?, Prefix::new("users/")?);
//! let greeter = Consumer::new(engine.clone(), spec, move |delivery: Delivery| {
//!     let seen = seen.clone();
//!     async move {
//!         println!("hello, {:?}", delivery.value());
//!         seen.send(delivery.key().clone())?;
//!         Ok::<_, consumer::Failure>(())
//!     }
//! });
//! let until_greeted = async move { drop(greeted.recv().await) };
//! greeter.run(until_greeted).await?;
//! # engine.close().await;
//! # Ok(())
//! # }
//! ```

mod acknowledge;
mod advance;
mod cursors;
mod dead_letter;
mod definition;
mod failing;
mod group;
mod handler;
mod input;
mod lag;
mod lines;
mod memory;
#[cfg(feature = "mysql")]
pub mod mysql;
mod pauses;
mod place;
mod policy;
mod run;
mod run_loop;
mod schedule;
mod spec;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod stats;
mod stop;
mod tracker;
mod unit;
mod wait;

pub use acknowledge::Ack;
pub use acknowledge::acknowledged;
pub use advance::Advance;
pub use cursors::ClientCursors;
pub use cursors::CursorStore;
pub use dead_letter::DeadLetter;
pub use dead_letter::dead_letter_counts;
pub use dead_letter::dead_letters;
pub use definition::Consumer;
pub use failing::Failing;
pub use failing::failing;
pub use group::GROUP_MEMBERS_MAX;
pub use group::Group;
pub use group::Holding;
pub use group::MEMBER_LABEL_BYTES_MAX;
pub use group::Member;
pub use group::PARTITIONS_DEFAULT;
pub use group::Roster;
pub use group::disband;
pub use group::repartition;
pub use group::roster;
pub use handler::BatchHandler;
pub use handler::Delivery;
pub use handler::Failure;
pub use handler::Handler;
pub use lag::Lag;
pub use lag::lag;
pub use lag::lag_at;
pub use memory::MemoryCursors;
pub use place::Place;
pub use place::reset;
pub use policy::Halt;
pub use policy::OnFailure;
pub use policy::Retry;
pub use run::Replayed;
pub use spec::Batch;
pub use spec::Order;
pub use spec::Spec;
pub use spec::Start;
pub use stats::Stats;
pub use stats::StatsNow;
pub use unit::AttemptError;
pub use unit::ExactlyOnce;
pub use wait::wait_for;

/// Keys that consumers keep things under. No consumer is given their events, unless its prefix begins with this.
pub const RESERVED_PREFIX: &str = "goku:consumers/";
