//! Compiles the protocol, without protoc.

use std::error::Error;
use std::path::PathBuf;

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);

    let service = protox::compile(["gokupb/goku.proto"], ["proto"])?;
    std::fs::write(out.join("goku_descriptor.bin"), service.encode_to_vec())?;

    let all = protox::compile(
        [
            "gokupb/goku.proto",
            "jettisonpb/jettison.proto",
            "google/rpc/status.proto",
        ],
        ["proto"],
    )?;
    tonic_prost_build::configure()
        .bytes(".")
        .codec_path("crate::codec::ProtoCodec")
        .compile_fds(all)?;
    Ok(())
}
