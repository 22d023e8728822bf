//! The lines on their way to standard error, which a thread of its own writes.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

use super::form::Form;

/// Lines that wait while nobody drains standard error, in bytes; those that come then are lost.
const WAITING_BYTES_MAX: usize = 1024 * 1024;

/// Pause before a line is written again where standard error is full and says so instead of waiting.
const FULL_PAUSE: Duration = Duration::from_millis(10);

/// A bounded queue of lines. Adding one never waits for whoever reads them and never fails: a line that does not fit, or
/// cannot be written, is lost and counted, and the next line that can be written is preceded by one that tells how many.
///
/// Clones share it.
#[derive(Clone, Default)]
pub(super) struct Queue(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Something waits to be written.
    added: Condvar,
    /// Nothing waits any more.
    drained: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Line>,
    waiting_bytes: usize,
    /// Whether a line is being written.
    is_writing: bool,
    lost: u64,
    /// Lost lines that no line has told of.
    untold: u64,
}

struct Line {
    text: Vec<u8>,
    /// Lines lost between the one before and this one.
    lost_before: u64,
}

/// Takes each `write` as one line.
pub(super) struct QueueWriter(Queue);

impl Queue {
    /// Starts the thread, which writes to `out` as long as the process lives; the lines that tell of lost ones have `form`.
    pub(super) fn start(out: impl Write + Send + 'static, form: Form) -> io::Result<Queue> {
        let queue = Queue::default();
        let written = queue.clone();
        thread::Builder::new()
            .name("goku-log".to_owned())
            .spawn(move || written.write_all_to(out, &form))?;
        Ok(queue)
    }

    /// Adds a line, which ends with a newline.
    pub(super) fn add(&self, text: &[u8]) {
        let mut state = self.state();
        if state.waiting_bytes + text.len() > WAITING_BYTES_MAX {
            state.lost += 1;
            state.untold += 1;
            return;
        }
        let line = Line {
            text: text.to_vec(),
            lost_before: std::mem::take(&mut state.untold),
        };
        state.waiting_bytes += line.text.len();
        state.waiting.push_back(line);
        self.0.added.notify_one();
    }

    /// Lines that were lost.
    pub(super) fn lost(&self) -> u64 {
        self.state().lost
    }

    /// Waits until all lines are written, or lost, for so long at most.
    pub(super) fn flush(&self, time_max: Duration) {
        let state = self.state();
        let is_busy = |state: &mut State| state.is_writing || !state.waiting.is_empty();
        drop(self.0.drained.wait_timeout_while(state, time_max, is_busy));
    }

    fn write_all_to(&self, mut out: impl Write, form: &Form) {
        // Whether the end of the last line is missing.
        let mut is_cut = false;
        loop {
            let Line { text, lost_before } = self.next();
            let mut bytes = Vec::with_capacity(text.len());
            if is_cut {
                bytes.push(b'\n');
            }
            if lost_before > 0 {
                bytes.extend(form.loss(lost_before).into_bytes());
            }
            let told = bytes.len();
            bytes.extend(&text);
            let (written, done) = write(&mut out, &bytes);
            if written > 0 {
                is_cut = bytes[written - 1] != b'\n';
            }
            let untold = if written < told { lost_before } else { 0 };
            self.note_written(text.len(), done.is_err().then_some(untold));
        }
    }

    /// Takes the next line, once there is one.
    fn next(&self) -> Line {
        let mut state = self.state();
        loop {
            if let Some(line) = state.waiting.pop_front() {
                state.is_writing = true;
                return line;
            }
            state = self.0.added.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Notes that a line of so many bytes was written, or lost, and how many lost lines before it are still to be told of.
    fn note_written(&self, bytes: usize, lost_with: Option<u64>) {
        let mut state = self.state();
        state.is_writing = false;
        state.waiting_bytes -= bytes;
        if let Some(lost_before) = lost_with {
            let untold = lost_before + 1;
            state.lost += 1;
            match state.waiting.front_mut() {
                Some(next) => next.lost_before += untold,
                None => state.untold += untold,
            }
        }
        if state.waiting.is_empty() {
            self.0.drained.notify_all();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is locked.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes bytes; how many were written, and whether that was all.
fn write(out: &mut impl Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match out.write(&bytes[written..]) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::park_timeout(FULL_PAUSE),
            Err(error) => return (written, Err(error)),
        }
    }
    (written, out.flush())
}

impl Write for QueueWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.add(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = QueueWriter;

    fn make_writer(&'a self) -> QueueWriter {
        QueueWriter(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::telemetry::LogConfig;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// Writes that are answered one by one as a test says.
    struct Script {
        /// The text of each write.
        asked: mpsc::Sender<String>,
        answers: mpsc::Receiver<io::Result<usize>>,
    }

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            drop(self.asked.send(String::from_utf8(bytes.to_vec()).unwrap()));
            let answer = self.answers.recv().unwrap_or(Ok(bytes.len()));
            answer.map(|count| count.min(bytes.len()))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn script() -> (Queue, mpsc::Receiver<String>, mpsc::Sender<io::Result<usize>>) {
        let (asked, asks) = mpsc::channel();
        let (answer, answers) = mpsc::channel();
        (
            Queue::start(Script { asked, answers }, Form::new(&LogConfig::default())).unwrap(),
            asks,
            answer,
        )
    }

    fn failed() -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    const ALL: io::Result<usize> = Ok(usize::MAX);

    #[test]
    fn lines_are_written_in_their_order() {
        let (queue, asked, answer) = script();
        drop(answer);
        for line in ["one\n", "two\n", "three\n"] {
            queue.add(line.as_bytes());
        }
        queue.flush(PATIENCE);
        assert_eq!(asked.try_iter().collect::<String>(), "one\ntwo\nthree\n");
        assert_eq!(queue.lost(), 0);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_told_of_by_the_next_that_can() {
        let (queue, asked, answer) = script();
        for line in ["one\n", "two\n", "three\n"] {
            queue.add(line.as_bytes());
        }
        answer.send(failed()).unwrap();
        answer.send(failed()).unwrap();
        answer.send(ALL).unwrap();
        queue.flush(PATIENCE);
        assert_eq!(queue.lost(), 2);
        let last = asked.try_iter().last().unwrap();
        assert!(last.contains(" WARN ") && last.ends_with(" lines=2\nthree\n"), "{last}");

        queue.add(b"four\n");
        answer.send(ALL).unwrap();
        queue.flush(PATIENCE);
        assert_eq!(asked.try_iter().last().unwrap(), "four\n");
    }

    #[test]
    fn a_line_of_which_a_part_was_written_is_ended_before_the_next() {
        let (queue, asked, answer) = script();
        queue.add(b"one\n");
        answer.send(Ok(2)).unwrap();
        answer.send(failed()).unwrap();
        queue.flush(PATIENCE);
        queue.add(b"two\n");
        answer.send(ALL).unwrap();
        queue.flush(PATIENCE);
        let last = asked.try_iter().last().unwrap();
        assert!(last.starts_with('\n') && last.ends_with(" lines=1\ntwo\n"), "{last}");
    }

    #[test]
    fn where_nobody_reads_no_caller_waits_and_what_does_not_fit_is_counted() {
        let (queue, asked, answer) = script();
        let line = vec![b'x'; WAITING_BYTES_MAX / 4];
        // The first is being written, which does not end.
        for _ in 0..10 {
            queue.add(&line);
        }
        assert_eq!(queue.lost(), 6);
        queue.flush(Duration::ZERO);
        // Somebody reads again.
        drop(answer);
        queue.flush(PATIENCE);
        queue.add(b"after\n");
        queue.flush(PATIENCE);
        let last = asked.try_iter().last().unwrap();
        assert!(last.ends_with(" lines=6\nafter\n"), "{last}");
    }

    #[test]
    fn a_full_pipe_that_says_so_is_tried_again() {
        let (queue, asked, answer) = script();
        queue.add(b"one\n");
        answer.send(Err(io::ErrorKind::WouldBlock.into())).unwrap();
        answer.send(ALL).unwrap();
        queue.flush(PATIENCE);
        assert_eq!(asked.try_iter().count(), 2);
        assert_eq!(queue.lost(), 0);
    }
}
