//! `completions`.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::goku::{Run, binary};

#[test]
fn bash_accepts_its_script() {
    let script = Run::of(binary().args(["completions", "bash"]).spawn().unwrap()).done();
    assert!(script.contains("keep-alive"));
    let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().unwrap();
    bash.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(bash.wait().unwrap().success());
}

#[test]
fn every_shell_has_a_script() {
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let script = Run::of(binary().args(["completions", shell]).spawn().unwrap()).done();
        assert!(script.contains("keep-alive"), "{shell}");
    }
}

#[test]
fn a_closed_pipe_is_no_trouble() {
    let mut child = binary().args(["completions", "zsh"]).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(Run::of(child).done(), "");
}
