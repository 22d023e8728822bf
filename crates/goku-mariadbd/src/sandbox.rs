//! A temporary folder and the process that works in it, both gone when the value or this process is gone.

use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::io::{self, ErrorKind, PipeWriter, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{env, process};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use crate::poll;

/// Reads the id of the running process, an empty line once that process was waited for, and so on. At the end of the
/// pipe, which comes with the end of the process that holds it, kills what runs and removes the folder. The removal is
/// repeated because a process that was just killed may still have made a file meanwhile.
const WATCHDOG: &str = r#"
running=
while read -r line; do running=$line; done
[ -z "$running" ] || kill -KILL "$running" 2>/dev/null
for attempt in 1 2 3 4 5 6 7 8 9 10; do
    rm -rf -- "$1" && exit 0
    sleep 0.1
done
"#;

/// Tells the watchdog its id and becomes the program: there is no moment at which the program runs unwatched.
const LAUNCHER: &str = r#"
output=$1
shift
echo "$$"
exec "$@" </dev/null >>"$output" 2>&1
"#;

/// A stopped process finishes what its threads are about to do in the kernel, a write to the disk at the worst.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// A temporary folder and at most one process that works in it.
#[derive(Debug)]
pub(crate) struct Sandbox {
    folder: PathBuf,
    running: Mutex<Option<Child>>,
    pipe: Option<PipeWriter>,
    watchdog: Child,
}

impl Sandbox {
    /// Makes the folder below [`env::temp_dir`], for the eyes of its user only.
    pub(crate) fn create() -> io::Result<Self> {
        let folder = create_folder()?;
        let (reader, writer) = io::pipe()?;
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "sh"])
            .arg(&folder)
            .stdin(reader)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            // Ctrl-C in a terminal goes to the whole foreground group, and the watchdog has to outlive it.
            .process_group(0)
            .spawn()?;
        Ok(Self {
            folder,
            running: Mutex::new(None),
            pipe: Some(writer),
            watchdog,
        })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the folder, and so this process, belongs to root.
    pub(crate) fn is_owned_by_root(&self) -> io::Result<bool> {
        Ok(self.folder.metadata()?.uid() == 0)
    }

    /// Starts a program, the first of these words, in place of the one that ran before; what it prints is appended to
    /// the file `output`.
    pub(crate) fn spawn<W: AsRef<OsStr>>(&self, words: &[W], output: &Path) -> io::Result<()> {
        let mut running = self.lock();
        self.end(running.take())?;
        let child = Command::new("sh")
            .args(["-c", LAUNCHER, "sh"])
            .arg(output)
            .args(words)
            .stdin(Stdio::null())
            .stdout(self.pipe()?.try_clone()?)
            .stderr(Stdio::null())
            .current_dir(&self.folder)
            .process_group(0)
            .spawn()?;
        *running = Some(child);
        Ok(())
    }

    /// The status of a process that has ended by itself, or `None` while it runs. An error when there is none.
    pub(crate) fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        let mut running = self.lock();
        let status = running.as_mut().ok_or(ErrorKind::NotFound)?.try_wait()?;
        if status.is_some() {
            self.forget()?;
        }
        Ok(status)
    }

    /// Waits until the process has ended by itself. An error when there is none.
    pub(crate) fn wait(&self) -> io::Result<ExitStatus> {
        let mut running = self.lock();
        let status = running.as_mut().ok_or(ErrorKind::NotFound)?.wait()?;
        self.forget()?;
        Ok(status)
    }

    /// Kills the process, stopped ones too, and waits for it. Does nothing when there is none.
    pub(crate) fn kill(&self) -> io::Result<()> {
        let running = self.lock().take();
        self.end(running)
    }

    /// Asks the process to end, and waits until it has. Does nothing when there is none.
    pub(crate) fn terminate(&self, timeout: Duration) -> io::Result<()> {
        let mut running = self.lock();
        let Some(child) = running.as_mut() else {
            return Ok(());
        };
        if child.try_wait()?.is_none() {
            rustix::process::kill_process(Pid::from_child(child), Signal::TERM)?;
        }
        let deadline = Instant::now() + timeout;
        while child.try_wait()?.is_none() {
            if Instant::now() >= deadline {
                return Err(ErrorKind::TimedOut.into());
            }
            poll::pause();
        }
        *running = None;
        self.forget()
    }

    /// Stops the process, and waits until all its threads stand. An error when there is none, or when it has ended.
    pub(crate) fn stop(&self) -> io::Result<()> {
        let mut running = self.lock();
        let id = self.id(&mut running)?;
        rustix::process::kill_process(id, Signal::STOP)?;
        let deadline = Instant::now() + STOP_TIMEOUT;
        while !is_stopped(id)? {
            self.id(&mut running)?;
            if Instant::now() >= deadline {
                return Err(ErrorKind::TimedOut.into());
            }
            poll::pause();
        }
        Ok(())
    }

    /// Lets a stopped process go on. An error when there is none, or when it has ended.
    pub(crate) fn resume(&self) -> io::Result<()> {
        let id = self.id(&mut self.lock())?;
        Ok(rustix::process::kill_process(id, Signal::CONT)?)
    }

    /// The id of a process that has not ended, or [`ErrorKind::NotFound`].
    fn id(&self, running: &mut Option<Child>) -> io::Result<Pid> {
        let child = running.as_mut().ok_or(ErrorKind::NotFound)?;
        if child.try_wait()?.is_some() {
            self.forget()?;
            return Err(ErrorKind::NotFound.into());
        }
        Ok(Pid::from_child(child))
    }

    fn end(&self, child: Option<Child>) -> io::Result<()> {
        let Some(mut child) = child else {
            return Ok(());
        };
        child.kill()?;
        child.wait()?;
        self.forget()
    }

    /// Has the watchdog forget a process that was waited for: from now on its id may be another's.
    fn forget(&self) -> io::Result<()> {
        self.pipe()?.write_all(b"\n")
    }

    fn pipe(&self) -> io::Result<&PipeWriter> {
        self.pipe.as_ref().ok_or(ErrorKind::BrokenPipe.into())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Child>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // An error leaves nothing to do here: the watchdog kills what is left.
        let _ = self.kill();
        self.pipe = None;
        let _ = self.watchdog.wait();
    }
}

fn is_stopped(id: Pid) -> io::Result<bool> {
    // The state is looked at and left: a process that is stopped twice tells of it once.
    let look = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    Ok(rustix::process::waitid(WaitId::Pid(id), look)?.is_some())
}

fn create_folder() -> io::Result<PathBuf> {
    static CREATED: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = CREATED.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("goku-mariadbd-{}-{number}", process::id()));
        match DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => return folder.canonicalize(),
            // Left over from a process of the same id: the next number is as good.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error),
        }
    }
}
