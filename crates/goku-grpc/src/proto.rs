//! The messages and services of the protocol, generated from the files under `proto/`.
//!
//! The generated code is kept in `src/proto/`: its generators and their dependencies took a twentieth of the time of a
//! build. A test compares it with what the files under `proto/` lead to, and writes it anew:
//! `GOKU_WRITE_GENERATED=1 cargo test -p goku-grpc --test it generated`.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::missing_errors_doc,
    reason = "generated"
)]

/// The files under `proto/` with everything that they import, as the reflection service serves them: goku's service, and
/// the messages in the details of its errors.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("proto/descriptor.bin");

/// The package `gokupb`.
pub mod gokupb {
    include!("proto/gokupb.rs");
}

/// The package `reflexpb`.
pub mod reflexpb {
    include!("proto/reflexpb.rs");
}

/// The package `jettisonpb`.
pub mod jettisonpb {
    include!("proto/jettisonpb.rs");
}

/// The package `google.rpc`.
pub mod rpc {
    include!("proto/google.rpc.rs");
}
