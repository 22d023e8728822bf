//! The binary and what a run of it leaves.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// How long a command may take before it counts as hanging.
const RUN_MAX: Duration = Duration::from_secs(60);

/// The binary, with nothing of this process's settings.
pub(crate) fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_goku"));
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        let is_of_supervisor = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"].contains(&&*name);
        if name.starts_with("GOKU_") || name == "RUST_LOG" || is_of_supervisor {
            command.env_remove(variable);
        }
    }
    // No context of whoever runs the tests counts.
    command.env(
        "XDG_CONFIG_HOME",
        concat!(env!("CARGO_TARGET_TMPDIR"), "/no-configuration"),
    );
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// How a command ended.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Run {
    /// Waits for `child`.
    #[track_caller]
    pub(crate) fn of(child: Child) -> Run {
        Run::with_input(child, Vec::new())
    }

    /// Writes `input` to `child` where it reads standard input, and waits for it.
    #[track_caller]
    pub(crate) fn with_input(mut child: Child, input: Vec<u8>) -> Run {
        let id = child.id();
        if let Some(mut stdin) = child.stdin.take() {
            // A child that fails early does not read it all.
            thread::spawn(move || stdin.write_all(&input));
        }
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || sender.send(child.wait_with_output()));
        let Ok(output) = receiver.recv_timeout(RUN_MAX) else {
            signal(id, "KILL");
            panic!("goku still ran after {RUN_MAX:?}");
        };
        let output = output.unwrap();
        Run {
            code: output.status.code().unwrap_or(-1),
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// What it wrote, of a run that did not complain.
    #[track_caller]
    pub(crate) fn done(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (0, ""));
        self.text()
    }

    /// The JSON that it wrote, one value a line.
    #[track_caller]
    pub(crate) fn json(self) -> Vec<Value> {
        self.done()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The one line that a failed run complained with.
    #[track_caller]
    pub(crate) fn failed(self, code: i32) -> String {
        assert_eq!(self.code, code, "{}", self.stderr);
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        self.stderr.trim_end().to_string()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap()
    }
}

/// A `goku serve` on a free port, killed when it is dropped.
pub(crate) struct Goku {
    child: Option<Child>,
    stdout: BufReader<ChildStdout>,
    /// What it printed before it was ready.
    pub(crate) banner: String,
    pub(crate) endpoint: String,
}

impl Goku {
    /// A server of an empty store in memory.
    pub(crate) fn start() -> Goku {
        Goku::serve(&["--store", "sqlite::memory:"])
    }

    /// A server with these options, once it is ready: when it has told its store, which it does last.
    #[track_caller]
    pub(crate) fn serve(options: &[&str]) -> Goku {
        let mut command = binary();
        command.arg("serve").args(options);
        Goku::run_by(command)
    }

    /// The server that this command runs.
    #[track_caller]
    pub(crate) fn run_by(mut command: Command) -> Goku {
        command.stderr(Stdio::inherit()).env("GOKU_LOG", "warn");
        Goku::run_with_log(command)
    }

    /// The server that this command runs, with the log that the command has.
    #[track_caller]
    pub(crate) fn run_with_log(mut command: Command) -> Goku {
        let mut child = command.env("GOKU_LISTEN", "127.0.0.1:0").spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut banner = String::new();
        while !banner.contains("\nstore ") {
            assert_ne!(stdout.read_line(&mut banner).unwrap(), 0, "goku serve ended: {banner}");
        }
        let endpoint = banner
            .lines()
            .find_map(|line| line.strip_prefix("listening on "))
            .unwrap()
            .to_string();
        Goku {
            child: Some(child),
            stdout,
            banner,
            endpoint,
        }
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// A client command of this server.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = binary();
        command.args(arguments).env("GOKU_ENDPOINT", &self.endpoint);
        command
    }

    /// Runs a client command.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        Run::of(self.command(arguments).spawn().unwrap())
    }

    /// Runs a client command with this standard input.
    #[track_caller]
    pub(crate) fn run_with_input(&self, arguments: &[&str], input: impl Into<Vec<u8>>) -> Run {
        let child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        Run::with_input(child, input.into())
    }

    /// Starts a client command that does not end by itself.
    pub(crate) fn follow(&self, arguments: &[&str]) -> Following {
        Following::of(self.command(arguments))
    }

    /// Whether the server has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.as_mut().unwrap().try_wait().unwrap().is_some()
    }

    /// Sends the server a signal.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.as_ref().unwrap().id(), name);
    }

    /// Waits until the server has ended by itself; its exit code and what else it wrote.
    #[track_caller]
    pub(crate) fn wait(mut self) -> (i32, String) {
        let run = Run::of(self.child.take().unwrap());
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        (run.code, rest)
    }
}

impl Drop for Goku {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// A client command that runs, killed when it is dropped.
pub(crate) struct Following {
    child: Option<Child>,
    stdout: Option<BufReader<ChildStdout>>,
}

impl Following {
    /// The command that this runs.
    pub(crate) fn of(mut command: Command) -> Following {
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().map(BufReader::new);
        Following {
            child: Some(child),
            stdout,
        }
    }

    /// The next line that it writes.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.stdout.as_mut().unwrap().read_line(&mut line).unwrap();
        assert_ne!(read, 0, "the command ended");
        line.trim_end_matches('\n').to_string()
    }

    /// The next line that it writes to standard error, byte by byte, so that the rest is there for whoever comes next.
    pub(crate) fn next_error_line(&mut self) -> String {
        let errors = self.child.as_mut().unwrap().stderr.as_mut().unwrap();
        let mut line = Vec::new();
        let mut byte = [0];
        while errors.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }

    /// The first line that it writes to standard error; the rest is nobody's.
    pub(crate) fn first_error_line(&mut self) -> String {
        let mut errors = BufReader::new(self.child.as_mut().unwrap().stderr.take().unwrap());
        let mut line = String::new();
        errors.read_line(&mut line).unwrap();
        thread::spawn(move || io::copy(&mut errors, &mut io::sink()));
        line.trim_end_matches('\n').to_string()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.as_ref().unwrap().id(), name);
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Reads no more of what it writes.
    pub(crate) fn stop_reading(&mut self) {
        self.stdout = None;
    }

    /// Waits until it has ended.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Run {
        Run::of(self.child.take().unwrap())
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Option<Child>) {
    if let Some(child) = child {
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Sends a process a signal twice, with nothing between.
pub(crate) fn signal_twice(id: u32, name: &str) {
    let id = id.to_string();
    let status = Command::new("kill")
        .args([&format!("-{name}"), &id, &id])
        .status()
        .unwrap();
    assert!(status.success());
}

/// Sends a process a signal.
pub(crate) fn signal(id: u32, name: &str) {
    let status = Command::new("kill")
        .args([format!("-{name}"), id.to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}
