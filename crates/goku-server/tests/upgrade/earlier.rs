//! The program of an earlier version: its servers, and writers that are its own commands.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use goku::SetRequest;
use goku_testkit::probe::{set, soon};
use tokio::process::Command;
use tokio::task::JoinHandle;

/// The environment variable that names the program.
const VARIABLE: &str = "GOKU_UPGRADE_FROM";

/// The program of the earlier version.
pub(crate) fn program() -> PathBuf {
    let program = env::var_os(VARIABLE);
    program
        .unwrap_or_else(|| panic!("{VARIABLE} names no program of an earlier version: run `cargo xtask upgrade`"))
        .into()
}

fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// What the earlier program says where it is to serve a store that it must refuse.
pub(crate) async fn refusal(store: &str) -> String {
    let mut serve = command(&program());
    serve
        .args(["serve", "--listen", "127.0.0.1:0"])
        .env("GOKU_STORE", store);
    let ended = soon("the end of a server that must not start", serve.output())
        .await
        .unwrap();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    String::from_utf8(ended.stderr).unwrap()
}

/// What a writer was answered.
#[derive(Default)]
pub(crate) struct Written {
    pub(crate) acknowledged: Vec<SetRequest>,
    /// Those that failed, or whose outcome nobody knows.
    pub(crate) others: Vec<SetRequest>,
}

/// A writer that sets keys by commands of the earlier program, one after the other, until it is stopped.
pub(crate) struct Writer {
    stop: Arc<AtomicBool>,
    written: JoinHandle<Written>,
}

impl Writer {
    /// Starts a writer that has a name of its own.
    pub(crate) fn start(endpoint: String, name: &'static str) -> Writer {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let program = program();
        let written = tokio::spawn(async move {
            let mut written = Written::default();
            for number in 0.. {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let (key, value) = (format!("command/{name}/{}", number % 10), format!("{name} {number}"));
                let mut command = command(&program);
                command.args(["--endpoint", &endpoint, "set", &key, &value]);
                let ended = soon("the end of a command", command.output()).await.unwrap();
                let answered = match ended.status.success() {
                    true => &mut written.acknowledged,
                    false => &mut written.others,
                };
                answered.push(set(&key, value));
            }
            written
        });
        Writer { stop, written }
    }

    /// Ends the writer.
    pub(crate) async fn stop(self) -> Written {
        self.stop.store(true, Ordering::SeqCst);
        self.written.await.unwrap()
    }
}
