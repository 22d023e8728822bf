//! A process that a test starts, stops and kills.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::probe::soon;

/// How often what is waited for is looked at.
const POLL: Duration = Duration::from_millis(5);

/// Starts, stops and kills its process, one after the other; it ends with this value.
///
/// # Panics
///
/// Where the process does not do what it is told.
pub struct Process {
    command: Box<dyn Fn() -> Command + Send + Sync>,
    log: PathBuf,
    running: Mutex<Option<Child>>,
}

impl Process {
    /// The process of a command, which is made anew for each start; what it writes goes into a file. It does not run yet.
    pub fn new(command: impl Fn() -> Command + Send + Sync + 'static, log: &Path) -> Process {
        Process {
            command: Box::new(command),
            log: log.to_owned(),
            running: Mutex::default(),
        }
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
        let child = (self.command)()
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        *running = Some(child);
    }

    /// How it ended, where it did by itself.
    pub async fn ended(&self) -> Option<ExitStatus> {
        let mut running = self.running.lock().await;
        running.as_mut().and_then(|child| child.try_wait().unwrap())
    }

    /// Kills the process as `kill -9` does.
    pub async fn kill(&self) {
        if let Some(mut child) = self.running.lock().await.take() {
            child.kill().await.unwrap();
        }
    }

    /// Asks the process to end, and waits until it has; none where none ran.
    pub async fn drain(&self) -> Option<ExitStatus> {
        self.signal(Signal::TERM).await;
        let mut child = self.running.lock().await.take()?;
        Some(child.wait().await.unwrap())
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
