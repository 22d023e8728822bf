//! What goku's tests share: a conformance suite over every [`Client`](goku::Client), a model to compare stores with,
//! and the fixtures that they run on.
//!
//! Nothing here is for programs: what does not hold panics.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test kit fails by panicking")]

pub mod check;
pub mod comparison;
pub mod conformance;
pub mod disk;
pub mod faketime;
pub mod fixture;
pub mod galera;
pub mod gate;
pub mod history;
pub mod mariadb;
pub mod model;
pub mod private;
pub mod probe;
pub mod process;
pub mod proxy;
pub mod replica;
pub mod resource;
pub mod seed;
pub mod workload;

pub use comparison::Comparison;
pub use disk::SmallDisk;
pub use faketime::FakeClock;
pub use galera::GaleraDatabase;
pub use gate::Gate;
pub use history::Recorder;
pub use model::Model;
pub use model::ModelClient;
pub use private::PrivateDatabase;
pub use probe::Probe;
pub use process::Process;
pub use proxy::Proxy;
pub use replica::Replica;
pub use resource::Effect;
pub use resource::Resource;
pub use seed::Random;
