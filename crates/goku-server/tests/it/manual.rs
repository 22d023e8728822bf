//! The manual pages, with the feature `manual`.

use crate::goku::{Run, binary};

#[test]
fn each_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    Run::of(binary().args(["man", path]).spawn().unwrap()).done();
    let page = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let serve = page("goku-serve.1");
    for told in [".TH goku", "GOKU_STORE", "WatchdogSec", "sqlite:PATH"] {
        assert!(serve.contains(told), "{told}: {serve}");
    }
    assert!(page("goku-lease-keep-alive.1").contains("keep\\-alive"));
    let main = page("goku.1");
    assert!(
        main.contains("goku\\-bench(1)") && main.contains("Exit codes"),
        "{main}"
    );
    // That one is for who builds packages.
    assert!(!folder.path().join("goku-man.1").exists());
}
