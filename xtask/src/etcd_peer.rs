//! etcd, which goku is compared with: the server of the machine or of Debian's package, and a client built for it.

use std::env;
use std::path::{Path, PathBuf};

use crate::cargo;
use crate::engines;
use crate::failure::Failure;

/// Debian's package of the server. It is unpacked and not installed: installed it would run as a service.
const PACKAGE: &str = "etcd-server";

/// The workspace of the client.
pub(crate) const MANIFEST: &str = "crates/goku-bench-etcd/Cargo.toml";

/// The compiler of protocol buffers that the client's library asks for: written in Rust, so that cargo can get it.
const COMPILER: &str = "protox@0.10.0";

/// The programs that measure etcd.
pub(crate) struct EtcdPeer {
    pub(crate) server: PathBuf,
    pub(crate) load: PathBuf,
}

impl EtcdPeer {
    /// Finds or unpacks the server, and builds the client.
    pub(crate) fn prepare(may_unpack: bool) -> Result<Self, Failure> {
        Ok(Self {
            server: server(may_unpack)?,
            load: build_load()?,
        })
    }
}

fn server(may_unpack: bool) -> Result<PathBuf, Failure> {
    if let Some(server) = on_path("etcd") {
        return Ok(server);
    }
    let place = engines::folder().join("etcd");
    let server = place.join("usr").join("bin").join("etcd");
    if !server.exists() {
        if !may_unpack {
            return Err(Failure::new(format!(
                "etcd is missing, and --no-install forbids to unpack it: install it yourself (package {PACKAGE})"
            )));
        }
        eprintln!("xtask: etcd is missing and will be unpacked (package {PACKAGE})");
        engines::unpack_own(PACKAGE, &place)?;
    }
    absolute(&server)
}

/// Builds `goku-bench-etcd`, a workspace of its own, with the compiler that its build asks for.
fn build_load() -> Result<PathBuf, Failure> {
    let target = absolute(&cargo::target_folder())?;
    let tools = target.join("tools");
    let compiler = tools.join("bin").join("protox");
    if !compiler.exists() {
        let (root, build) = (tools.to_string_lossy(), tools.join("build"));
        let install = ["install", "--quiet", "--locked", COMPILER, "--features", "bin"];
        let places = ["--root", &root, "--target-dir", &build.to_string_lossy()];
        cargo::run(install.into_iter().chain(places), &[])?;
    }
    let target = target.join("bench-etcd");
    let build = [
        "build",
        "--release",
        "--locked",
        "--manifest-path",
        MANIFEST,
        "--target-dir",
        &target.to_string_lossy(),
    ];
    cargo::run(build, &[("PROTOC", &compiler.to_string_lossy())])?;
    Ok(target.join("release").join("goku-bench-etcd"))
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

fn absolute(file: &Path) -> Result<PathBuf, Failure> {
    file.canonicalize()
        .map_err(|error| Failure::new(format!("cannot use {}: {error}", file.display())))
}
