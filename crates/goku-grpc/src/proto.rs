//! The messages and services of the protocol, generated from the files under `proto/`.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::missing_errors_doc,
    reason = "generated"
)]

/// The files under `proto/` with everything that they import, as the reflection service serves them: goku's service, and
/// the messages in the details of its errors.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("goku_descriptor");

/// The package `gokupb`.
pub mod gokupb {
    tonic::include_proto!("gokupb");
}

/// The package `reflexpb`.
pub mod reflexpb {
    tonic::include_proto!("reflexpb");
}

/// The package `jettisonpb`.
pub mod jettisonpb {
    tonic::include_proto!("jettisonpb");
}

/// The package `google.rpc`.
pub mod rpc {
    tonic::include_proto!("google.rpc");
}
