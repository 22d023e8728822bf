//! A program that the bench starts for itself, and that ends with it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::Outcome;

/// How long a program may take to say that it is ready, and to end once it was told.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running program. It is killed when this value is dropped.
pub(crate) struct Process {
    name: String,
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts a program with these arguments; its log is dropped.
    pub(crate) fn start(program: &Path, arguments: &[&str]) -> Outcome<Process> {
        let name = program.display().to_string();
        let mut child = Command::new(program)
            .args(arguments)
            .env("GOKU_LOG", "warn")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("cannot run {name}: {error}"))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(format!("{name} has no standard input or output").into());
        };
        Ok(Process {
            name,
            child,
            input,
            output: BufReader::new(output).lines(),
        })
    }

    /// Its id.
    pub(crate) fn id(&self) -> Outcome<u32> {
        Ok(self.child.id().ok_or_else(|| format!("{} has ended", self.name))?)
    }

    /// The next line that it prints, however long that takes.
    pub(crate) async fn line(&mut self) -> Outcome<String> {
        let line = self.output.next_line().await?;
        Ok(line.ok_or_else(|| format!("{} ended too early", self.name))?)
    }

    /// The first line that it prints.
    pub(crate) async fn first_line(&mut self) -> Outcome<String> {
        let line = timeout(PATIENCE, self.line()).await;
        line.map_err(|_| format!("{} said nothing for {PATIENCE:?}", self.name))?
    }

    /// Gives it a line to read.
    pub(crate) async fn tell(&mut self, line: &str) -> Outcome<()> {
        self.input.write_all(format!("{line}\n").as_bytes()).await?;
        Ok(self.input.flush().await?)
    }

    /// Resident memory, in bytes.
    pub(crate) fn resident_bytes(&self) -> Outcome<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()?))?;
        let bytes = resident(&status).ok_or_else(|| format!("the memory of {} cannot be read", self.name))?;
        Ok(bytes)
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn stop(mut self) -> Outcome<()> {
        if let Some(id) = self.child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)) {
            rustix::process::kill_process(id, Signal::TERM)?;
        }
        match timeout(PATIENCE, self.child.wait()).await {
            Ok(ended) => drop(ended?),
            Err(_) => self.child.kill().await?,
        }
        Ok(())
    }
}

/// From the status of a process, in bytes.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_the_status() {
        let status = "Name:\tgoku\nVmHWM:\t  9000 kB\nVmRSS:\t  8192 kB\n";
        assert_eq!(resident(status), Some(8 << 20));
        assert_eq!(resident("Name:\tgoku\n"), None);
    }
}
