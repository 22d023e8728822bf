//! What a process logs, line by line.

use std::io::{BufRead, BufReader, PipeReader, PipeWriter};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use goku_testkit::probe::PATIENCE;

use crate::goku::Goku;

/// Lines from the reading end of a pipe, read by a thread of its own.
pub(crate) struct LogLines {
    lines: Receiver<String>,
    seen: Vec<String>,
}

/// Ends the server; all that it logged.
pub(crate) async fn all_lines(goku: Goku, lines: LogLines) -> Vec<String> {
    goku.signal("TERM");
    let end = tokio::task::spawn_blocking(move || {
        assert_eq!(goku.wait().0, 0);
        lines.rest()
    });
    end.await.unwrap()
}

impl LogLines {
    /// A pipe for a process to log to, and what comes out of it. Whoever has given the writing end away must not keep it.
    pub(crate) fn pipe() -> (PipeWriter, LogLines) {
        let (reader, writer) = std::io::pipe().unwrap();
        (writer, LogLines::of(reader))
    }

    /// What comes out of this pipe.
    pub(crate) fn of(reader: PipeReader) -> LogLines {
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
                if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    break;
                }
            }
        });
        let seen = Vec::new();
        LogLines { lines, seen }
    }

    /// Waits for a line that is so; it may have come before.
    #[track_caller]
    pub(crate) fn until(&mut self, is_so: impl Fn(&str) -> bool) -> String {
        if let Some(line) = self.seen.iter().find(|line| is_so(line)) {
            return line.clone();
        }
        loop {
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else {
                panic!("no such line: {:?}", self.seen);
            };
            self.seen.push(line.clone());
            if is_so(&line) {
                return line;
            }
        }
    }

    /// All lines, those seen before as well, once the process has ended.
    pub(crate) fn rest(mut self) -> Vec<String> {
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.seen.push(line);
        }
        self.seen
    }
}
