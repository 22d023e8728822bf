//! The code under `src/proto/`, which is generated from the files under `proto/` and kept: building goku takes no generator.

use std::fs;
use std::path::Path;

use prost::Message;

/// The variable that has the test write the files anew.
const WRITE: &str = "GOKU_WRITE_GENERATED";

/// Writes what the files under `proto/` become to the folder.
fn generate(out: &Path) {
    let all = protox::compile(
        [
            "gokupb/goku.proto",
            "gokupb/admin.proto",
            "jettisonpb/jettison.proto",
            "google/rpc/status.proto",
        ],
        [concat!(env!("CARGO_MANIFEST_DIR"), "/proto")],
    )
    .unwrap();
    fs::write(out.join("descriptor.bin"), all.encode_to_vec()).unwrap();
    tonic_prost_build::configure()
        .client_mod_attribute(".", "#[cfg(feature = \"client\")]")
        .server_mod_attribute(".", "#[cfg(feature = \"server\")]")
        .bytes(".")
        .codec_path("crate::codec::ProtoCodec")
        .emit_rerun_if_changed(false)
        .out_dir(out)
        .compile_fds(all)
        .unwrap();
}

#[test]
fn generated_code_is_that_of_the_proto_files() {
    let kept = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/proto"));
    if std::env::var_os(WRITE).is_some() {
        return generate(kept);
    }
    let folder = tempfile::tempdir().unwrap();
    generate(folder.path());
    let names = |folder: &Path| {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    assert_eq!(
        names(kept),
        names(folder.path()),
        "set {WRITE}=1 to write them, and remove what is left over"
    );
    for name in names(kept) {
        let is_same = fs::read(kept.join(&name)).unwrap() == fs::read(folder.path().join(&name)).unwrap();
        assert!(
            is_same,
            "src/proto/{} is not what proto/ says: set {WRITE}=1 to write it anew",
            name.display()
        );
    }
}
