//! A key-value store with an immutable, totally ordered event log, kept in the SQL database that you already run.
//!
//! Every change of a key and the event that tells of it commit in one database transaction. Event ids follow each
//! other without gaps in commit order, keys have versions for conditional updates and leases by which they vanish
//! together, and events are streamed by prefix from any position.
//!
//! [`Client`] is the one interface: `Engine` implements it inside this process (features `sqlite` and `mysql`, both on by
//! default), the crate `goku-grpc` over the network. Without a store this crate is the types and the trait alone.

#![warn(clippy::missing_errors_doc)]

#[cfg(any(feature = "sqlite", feature = "mysql"))]
pub mod access;
mod admin;
mod backoff;
#[cfg(any(feature = "sqlite", feature = "mysql"))]
pub mod check;
mod clock;
mod cursor;
pub mod deadline;
#[cfg(any(feature = "sqlite", feature = "mysql"))]
mod decide;
mod entry;
mod error;
mod event;
mod id;
mod key;
mod lease;
pub mod limits;
#[cfg(any(feature = "sqlite", feature = "mysql"))]
pub mod observe;
mod origin;
pub mod outage;
mod partition;
mod random;
pub mod reloaded_files;
mod request;
pub mod secret_file;
mod setting;
mod status;
#[cfg(any(feature = "sqlite", feature = "mysql"))]
mod store;
mod token_use;
mod txn;
mod value;
mod write;

mod client;
pub mod consumer;
#[cfg(any(feature = "sqlite", feature = "mysql"))]
mod engine;
#[cfg(all(any(test, feature = "faults"), any(feature = "sqlite", feature = "mysql")))]
pub mod faults;
pub mod gate;

#[cfg(all(any(test, feature = "sim"), any(feature = "sqlite", feature = "mysql")))]
pub mod sim;

#[cfg(all(feature = "bench", any(feature = "sqlite", feature = "mysql")))]
#[doc(hidden)]
pub mod bench;

pub use admin::Admin;
pub use admin::all_settings;
pub use backoff::Backoff;
pub use client::Client;
pub use client::EventStream;
pub use client::Listing;
pub use client::WriteFuture;
pub use clock::Clock;
pub use clock::ManualClock;
pub use clock::SystemClock;
pub use clock::Timestamp;
pub use cursor::ConsumerName;
pub use cursor::Cursor;
pub use cursor::CursorId;
pub use cursor::CursorMove;
pub use cursor::CursorsRequest;
pub use cursor::Motion;
#[cfg(any(feature = "sqlite", feature = "mysql"))]
pub use engine::Deliver;
#[cfg(any(feature = "sqlite", feature = "mysql"))]
pub use engine::Engine;
#[cfg(any(feature = "sqlite", feature = "mysql"))]
pub use engine::EngineBuilder;
pub use entry::Entry;
pub use error::Error;
pub use error::ErrorKind;
pub use error::Outcome;
pub use error::Result;
pub use event::Event;
pub use event::EventType;
pub use event::EventTypes;
pub use event::History;
pub use event::StreamItem;
pub use id::BlobId;
pub use id::Epoch;
pub use id::EventId;
pub use id::FencingToken;
pub use id::LeaseId;
pub use id::Position;
pub use id::Revision;
pub use id::SettingsRev;
pub use id::Snapshot;
pub use id::Tag;
pub use id::Version;
pub use key::Key;
pub use key::KeyRange;
pub use key::Prefix;
pub use lease::Expiry;
pub use lease::Lease;
pub use lease::LeaseKeys;
pub use lease::LeaseKeysRequest;
pub use lease::LeaseRequest;
pub use lease::LeasesRequest;
pub use origin::Origin;
pub use origin::TraceContext;
pub use partition::Partition;
pub use request::Condition;
pub use request::DeleteRequest;
pub use request::HistoryRequest;
pub use request::ListRequest;
pub use request::SetLease;
pub use request::SetRequest;
pub use request::StreamFrom;
pub use request::StreamRequest;
pub use setting::ConfigureRequest;
pub use setting::Setting;
pub use setting::SettingChange;
pub use setting::SettingChanges;
pub use setting::SettingChangesRequest;
pub use setting::SettingCondition;
pub use setting::SettingName;
pub use setting::SettingsPage;
pub use setting::SettingsRequest;
pub use status::Replica;
pub use status::Status;
pub use token_use::TokenHash;
pub use token_use::TokenUse;
pub use token_use::TokenUses;
pub use txn::Compare;
pub use txn::Operation;
pub use txn::OperationAnswer;
pub use txn::Relation;
pub use txn::Target;
pub use txn::Txn;
pub use txn::TxnAnswer;
pub use value::LargeRef;
pub use value::Value;
pub use write::SessionId;
pub use write::Write;
pub use write::WriteAnswer;
pub use write::WriteId;
