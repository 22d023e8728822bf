//! Commands on a pseudo-terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// How long a command may take before it counts as hanging.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// A command whose standard input, output and error are a terminal, killed when it is dropped.
pub(crate) struct Terminal {
    child: Child,
    master: File,
    parts: Receiver<Vec<u8>>,
    shown: Vec<u8>,
}

impl Terminal {
    /// Runs `command` on a terminal of 100 columns.
    pub(crate) fn run(command: Command) -> Terminal {
        Terminal::run_on(100, command)
    }

    /// Runs `command` on a terminal of so many columns.
    pub(crate) fn run_on(columns: u16, mut command: Command) -> Terminal {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let size = Winsize {
            ws_row: 50,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&master, size).unwrap();
        let end = || -> OwnedFd { ioctl_tiocgptpeer(&master, flags).unwrap() };
        command.stdin(end()).stdout(end()).stderr(end());
        let child = command.spawn().unwrap();
        // The command holds the ends of the terminal that the child has inherited open in this process, too.
        drop(command);
        let master = File::from(master);
        let mut read = master.try_clone().unwrap();
        let (sender, parts) = mpsc::channel();
        thread::spawn(move || {
            let mut part = [0; 4096];
            // It fails once nobody has the other end open any more.
            while let Ok(length @ 1..) = read.read(&mut part) {
                if sender.send(part[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Terminal {
            child,
            master,
            parts,
            shown: Vec::new(),
        }
    }

    /// Types a line.
    pub(crate) fn type_line(&mut self, line: &str) {
        writeln!(self.master, "{line}").unwrap();
    }

    /// Waits until `text` shows; all that has shown by then.
    #[track_caller]
    pub(crate) fn until(&mut self, text: &str) -> String {
        let begun = Instant::now();
        while !self.text().contains(text) {
            let left = WAIT_MAX.saturating_sub(begun.elapsed());
            match self.parts.recv_timeout(left) {
                Ok(part) => self.shown.extend(part),
                Err(_) => panic!("{text:?} does not show: {}", self.text()),
            }
        }
        self.text()
    }

    /// Waits until the command has ended; its exit code and all that has shown.
    #[track_caller]
    pub(crate) fn end(mut self) -> (i32, String) {
        let begun = Instant::now();
        loop {
            match self.parts.recv_timeout(WAIT_MAX.saturating_sub(begun.elapsed())) {
                Ok(part) => self.shown.extend(part),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("goku still ran after {WAIT_MAX:?}: {}", self.text()),
            }
        }
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        (code, self.text())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown).replace("\r\n", "\n")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
