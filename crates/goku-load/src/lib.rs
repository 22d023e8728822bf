//! Loads to put on a goku store, and what came of them.
//!
//! A [`Load`] says what is done ([`Workload`]), by how many callers, with which keys and values, and for how long. A
//! [`Target`] is what it is put on: one or several [`Client`](goku::Client)s of one store, embedded or over the network.
//! [`Measured`] is what came of it. Whoever watches, or wants to end a run early, keeps a [`Monitor`].
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use goku::{Engine, Prefix};
//! use goku_load::{Load, Monitor, Target, Workload};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> goku::Result<()> {
//! let engine = Engine::open("sqlite::memory:").await?;
//! let mut target = Target::new(vec![Arc::new(engine)], Prefix::new("/bench/")?)?;
//! let load = Load {
//!     callers: 16,
//!     keys: 1_000,
//!     warm_up: Duration::ZERO,
//!     duration: Duration::from_millis(50),
//!     ..Load::new(Workload::Mixed { get_percent: 90 })
//! };
//! let monitor = Monitor::default();
//! target.prepare(&load, &monitor).await?;
//! let measured = target.run(&load, &monitor).await?;
//! println!("{:.0} {} a second", measured.rate(), measured.unit);
//! for series in &measured.series {
//!     println!("{}: p99 {:?}", series.name, series.quantile(0.99));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Closed loops, but for the writers of [`Workload::Watch`]: a caller makes its next call when the one before is answered.

pub mod figure;
mod load;
mod measured;
mod monitor;
mod own_prefix;
mod partial;
mod target;
mod workload;

mod caller;
mod fill;
mod keys;
mod recorder;
mod watch;

pub use load::Load;
pub use measured::Failed;
pub use measured::Measured;
pub use measured::Series;
pub use monitor::Monitor;
pub use monitor::Phase;
pub use monitor::Seen;
pub use own_prefix::OwnPrefix;
pub use partial::Calls;
pub use partial::Partial;
pub use target::Target;
pub use workload::Workload;
