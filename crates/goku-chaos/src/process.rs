//! A replica: a `goku serve` process on a port that stays.

use std::fs::OpenOptions;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

/// Starts, stops and kills its process; it ends with this value.
pub(crate) struct Replica {
    program: PathBuf,
    store: String,
    port: u16,
    log: PathBuf,
    running: Mutex<Option<Child>>,
}

impl Replica {
    /// Starts a replica on a store; what it logs goes into a file.
    pub(crate) async fn start(program: &Path, store: String, log: PathBuf) -> Replica {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let replica = Replica {
            program: program.to_owned(),
            store,
            port,
            log,
            running: Mutex::default(),
        };
        replica.run().await;
        replica
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Starts the process where none runs. One that was started and ended by itself is started again.
    pub(crate) async fn run(&self) {
        let mut running = self.running.lock().await;
        if let Some(child) = &mut *running
            && child.try_wait().unwrap().is_none()
        {
            return;
        }
        let log = OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let child = Command::new(&self.program)
            .args(["serve", "--listen", &format!("127.0.0.1:{}", self.port)])
            .env("GOKU_STORE", &self.store)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        *running = Some(child);
    }

    /// Kills the process as `kill -9` does.
    pub(crate) async fn kill(&self) {
        if let Some(mut child) = self.running.lock().await.take() {
            child.kill().await.unwrap();
        }
    }

    /// Asks the process to end, and waits until it has.
    pub(crate) async fn drain(&self) {
        self.signal(Signal::TERM).await;
        if let Some(mut child) = self.running.lock().await.take() {
            child.wait().await.unwrap();
        }
    }

    /// Stops the process where it stands.
    pub(crate) async fn pause(&self) {
        self.signal(Signal::STOP).await;
    }

    /// Lets a stopped process go on.
    pub(crate) async fn resume(&self) {
        self.signal(Signal::CONT).await;
    }

    async fn signal(&self, signal: Signal) {
        let running = self.running.lock().await;
        let id = running.as_ref().and_then(Child::id);
        // Without an id it was waited for: there is nobody to tell.
        let id = id.and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(id) = id {
            let _ = kill_process(id, signal);
        }
    }
}
