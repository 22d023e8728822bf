//! The messages and services of the protocol, generated from the files under `proto/`.

/// What the reflection service tells of: goku's service with everything that it imports.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("goku_descriptor");

/// The package `gokupb`.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod gokupb {
    tonic::include_proto!("gokupb");
}

/// The package `reflexpb`.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod reflexpb {
    tonic::include_proto!("reflexpb");
}

/// The package `jettisonpb`.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod jettisonpb {
    tonic::include_proto!("jettisonpb");
}

/// The package `google.rpc`.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod rpc {
    tonic::include_proto!("google.rpc");
}
