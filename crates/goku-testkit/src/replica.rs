//! A replica: a `goku serve` process on a port that stays.

use std::fs::OpenOptions;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use goku_mariadbd::ReservedPort;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::probe::soon;

/// How often what is waited for is looked at.
const POLL: Duration = Duration::from_millis(5);

/// Starts, stops and kills its process; it ends with this value.
///
/// # Panics
///
/// Where the process does not do what it is told.
pub struct Replica {
    program: PathBuf,
    store: String,
    environment: Vec<(String, String)>,
    port: ReservedPort,
    log: PathBuf,
    running: Mutex<Option<Child>>,
}

impl Replica {
    /// Starts the program `goku` as a replica on a store; what it logs goes into a file. It may not listen yet.
    pub async fn start(program: &Path, store: &str, log: &Path) -> Replica {
        Replica::start_in(program, store, log, Vec::new()).await
    }

    /// As [`start`](Self::start), with more in its environment.
    pub async fn start_in(program: &Path, store: &str, log: &Path, environment: Vec<(String, String)>) -> Replica {
        let replica = Replica {
            program: program.to_owned(),
            store: store.to_owned(),
            environment,
            port: ReservedPort::find().unwrap(),
            log: log.to_owned(),
            running: Mutex::default(),
        };
        replica.run().await;
        replica
    }

    /// The URL of its server.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port.number())
    }

    /// Starts the process where none runs. One that was started and ended by itself is started again.
    pub async fn run(&self) {
        let mut running = self.running.lock().await;
        if let Some(child) = &mut *running
            && child.try_wait().unwrap().is_none()
        {
            return;
        }
        let log = OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let child = Command::new(&self.program)
            .args(["serve", "--listen", &format!("127.0.0.1:{}", self.port.number())])
            .env("GOKU_STORE", &self.store)
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        *running = Some(child);
    }

    /// Waits until it takes connections.
    pub async fn ready(&self) {
        soon("a replica that listens", async {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port.number()))
                .await
                .is_err()
            {
                sleep(POLL).await;
            }
        })
        .await;
    }

    /// Kills the process as `kill -9` does.
    pub async fn kill(&self) {
        if let Some(mut child) = self.running.lock().await.take() {
            child.kill().await.unwrap();
        }
    }

    /// Asks the process to end, and waits until it has.
    pub async fn drain(&self) {
        self.signal(Signal::TERM).await;
        if let Some(mut child) = self.running.lock().await.take() {
            child.wait().await.unwrap();
        }
    }

    /// Stops the process where it stands: no thread of it runs any more when this returns.
    pub async fn pause(&self) {
        self.signal(Signal::STOP).await;
        let Some(id) = self.id().await else { return };
        soon("a process that stands still", async {
            // The state is looked at and left; one that has ended meanwhile stands still too.
            let look = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            while matches!(waitid(WaitId::Pid(id), look), Ok(None)) {
                sleep(POLL).await;
            }
        })
        .await;
    }

    /// Lets a stopped process go on.
    pub async fn resume(&self) {
        self.signal(Signal::CONT).await;
    }

    async fn signal(&self, signal: Signal) {
        if let Some(id) = self.id().await {
            let _ = kill_process(id, signal);
        }
    }

    /// The process's id; none where it was waited for, so that there is nobody to tell.
    async fn id(&self) -> Option<Pid> {
        let running = self.running.lock().await;
        let id = running.as_ref().and_then(Child::id)?;
        Pid::from_raw(id.cast_signed())
    }
}
