//! Exactly once on MySQL and MariaDB: the handler's writes and the cursor commit together.
//!
//! ```no_run
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use goku::consumer::mysql::mysql_async::prelude::Queryable;
//! use goku::consumer::mysql::{MySqlTransactions, mysql_async};
//! use goku::consumer::{Batch, Consumer, Spec};
//! use goku::{Client, ConsumerName, Prefix};
//!
//! # async fn example(client: Arc<dyn Client>) -> Result<(), Box<dyn std::error::Error>> {
//! let pool = mysql_async::Pool::new("mysql://user:password@host/own");
//! let once = MySqlTransactions::new(pool, |transaction, delivery| {
//!     Box::pin(async move {
//!         let key = delivery.key().as_bytes();
//!         transaction.exec_drop("insert into seen (name) values (?)", (key,)).await?;
//!         Ok(())
//!     })
//! })
//! .await?;
//! let spec = Spec::new(ConsumerName::new("seer")?, Prefix::new("")?);
//! let batch = Batch::new(100, Duration::from_millis(10));
//! Consumer::exactly_once(client, spec, batch, once).run(std::future::pending()).await?;
//! # Ok(())
//! # }
//! ```

pub use mysql_async;

pub use crate::store::mysql::transactions::MySqlTransactions;
pub use crate::store::mysql::transactions::TABLE;
