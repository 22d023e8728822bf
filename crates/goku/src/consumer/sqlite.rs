//! Exactly once on SQLite: the handler's writes and the cursor commit together.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use goku::consumer::sqlite::{SqliteTransactions, rusqlite};
//! use goku::consumer::{Batch, Consumer, Spec};
//! use goku::{Client, ConsumerName, Engine, Prefix};
//!
//! # fn main() -> goku::Result<()> { Ok(()) }
//! # async fn example(engine: Arc<Engine>) -> Result<(), Box<dyn std::error::Error>> {
//! let connection = rusqlite::Connection::open("own.db")?;
//! let once = SqliteTransactions::new(connection, |transaction, delivery| {
//!     transaction.execute("update counter set events = events + 1", [])?;
//!     println!("counted {}", delivery.key());
//!     Ok(())
//! })?;
//! let spec = Spec::new(ConsumerName::new("counter")?, Prefix::new("")?);
//! let batch = Batch::new(100, Duration::from_millis(10));
//! Consumer::exactly_once(engine, spec, batch, once).run(std::future::pending()).await?;
//! # Ok(())
//! # }
//! ```

pub use rusqlite;

pub use crate::store::sqlite::transactions::SqliteTransactions;
pub use crate::store::sqlite::transactions::TABLE;
