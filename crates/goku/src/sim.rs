//! Engines on a simulated database, for tests: the feature `sim`.
//!
//! A [`Database`] is in memory, and everything that can be late or fail there is decided by a seed. On tokio's paused time
//! and one thread a run is a function of its seed.
//!
//! ```
//! use goku::sim::{Database, Weather};
//! use goku::{Client, Engine, Key, SetRequest};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> goku::Result<()> {
//! let database = Database::new(7, Weather::calm());
//! let engine = Engine::builder().open_simulated(&database.node())?;
//! let key = Key::new("motd")?;
//! engine.set(SetRequest::new(key.clone(), "hello")).await?;
//! assert_eq!(engine.get(&key).await?.value, "hello");
//! engine.close().await;
//! # Ok(())
//! # }
//! ```

mod plant;
mod seed;
mod weather;

pub use self::plant::Plant;
pub use self::seed::Seed;
pub use self::seed::split_mix;
pub use self::weather::Weather;
pub use crate::store::sim::{Database, Node};
