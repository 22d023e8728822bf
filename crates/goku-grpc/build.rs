//! Compiles the protocol, without protoc.

use std::error::Error;
use std::path::PathBuf;

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);

    let all = protox::compile(
        [
            "gokupb/goku.proto",
            "jettisonpb/jettison.proto",
            "google/rpc/status.proto",
        ],
        ["proto"],
    )?;
    std::fs::write(out.join("goku_descriptor.bin"), all.encode_to_vec())?;

    tonic_prost_build::configure()
        .build_client(is_enabled("CLIENT"))
        .build_server(is_enabled("SERVER"))
        .bytes(".")
        .codec_path("crate::codec::ProtoCodec")
        .compile_fds(all)?;
    Ok(())
}

/// Whether the crate is built with a feature.
fn is_enabled(feature: &str) -> bool {
    std::env::var_os(format!("CARGO_FEATURE_{feature}")).is_some()
}
