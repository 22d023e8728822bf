//! What a cluster promises: nodes that go and come back, and one that is begun anew when all are gone.

use std::path::Path;

use goku_mariadbd::{ErrorKind, Galera, GaleraOptions};

/// How a cluster is started; none where Galera's library is not there.
fn options() -> Option<GaleraOptions> {
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/engines/galera");
    Some(GaleraOptions::find(&unpacked).ok()?.impatient())
}

#[test]
fn nodes_come_back_into_the_cluster_and_all_of_them_after_a_power_failure() {
    let Some(options) = options() else {
        println!("Galera is not there: `cargo xtask engines` installs or unpacks it");
        return;
    };
    let cluster = Galera::start(options).unwrap();
    for node in 0..cluster.nodes() {
        assert!(cluster.is_running(node).unwrap());
    }
    cluster.kill(1).unwrap();
    assert!(!cluster.is_running(1).unwrap());
    assert_eq!(cluster.pause(1).unwrap_err().kind(), ErrorKind::NotRunning);
    cluster.restart(1).unwrap();

    cluster.pause(2).unwrap();
    cluster.resume(2).unwrap();

    for node in 0..cluster.nodes() {
        cluster.kill(node).unwrap();
    }
    cluster.bootstrap().unwrap();
    for node in 0..cluster.nodes() {
        assert!(cluster.is_running(node).unwrap());
    }
}

#[test]
fn a_machine_without_the_library_is_told_how_to_get_it() {
    if let Err(error) = GaleraOptions::find(Path::new("/nonexistent")) {
        assert_eq!(error.kind(), ErrorKind::NotInstalled);
        assert!(error.to_string().contains("cargo xtask engines"), "{error}");
    }
}
