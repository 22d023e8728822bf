//! A private MariaDB or MySQL server, or a Galera cluster, as a value: for tests, and for the task that runs them.
//!
//! The server listens on a free port of the loopback address and on a socket, works in a temporary folder of its
//! own, and is gone with its value. It is gone too when the process that started it ends in any other way: by a
//! panic, by `abort`, by `kill -9`.
//!
//! Hardly more than the standard library is used, so that `cargo xtask` compiles in a moment.
//!
//! ```no_run
//! use goku_mariadbd::{Options, Server};
//!
//! let server = Server::start(Options::default())?;
//! println!("mysql://root@127.0.0.1:{}/", server.port());
//! server.kill()?;
//! server.restart()?;
//! # Ok::<(), goku_mariadbd::Error>(())
//! ```

mod data;
mod error;
mod galera;
mod installation;
mod log;
mod poll;
mod port;
mod sandbox;
mod server;
mod template;

pub use data::SavedData;
pub use error::{Error, ErrorKind};
pub use galera::{Galera, GaleraOptions};
pub use installation::{Dialect, Installation, PACKAGES};
pub use port::ReservedPort;
pub use server::{Options, Server};
