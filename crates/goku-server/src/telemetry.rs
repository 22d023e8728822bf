//! The log: structured lines on standard error, written by a thread of its own.
//!
//! The reader of standard error may go away, stand still or have a full disk: lines are lost then and counted, and nothing
//! else happens.

mod filter;
mod panics;
mod queue;

use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use self::queue::Queue;

/// The environment variables that set what is logged, as `level` or `target=level,…`; the first that is set counts.
pub const VARIABLES: [&str; 2] = ["GOKU_LOG", "RUST_LOG"];

/// The time that the end of a process waits for the last lines to be written.
const FLUSH_TIME_MAX: Duration = Duration::from_millis(500);

/// Standard error is the process's, and so are the lines on their way to it.
static LOG: OnceLock<Queue> = OnceLock::new();

/// Logs to standard error what [`VARIABLES`] ask for, else `default`, which is a filter, and panics of any thread.
///
/// A filter that cannot be read is told of and `default` taken: a log is no reason not to serve. Logging never waits for
/// the reader of standard error and never fails; the process ends with [`flush`].
pub fn init(default: &str) {
    let asked = VARIABLES.into_iter().find_map(|variable| {
        Some((
            variable,
            std::env::var(variable).ok().filter(|value| !value.is_empty())?,
        ))
    });
    let default = || filter::parse(default).unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    let (filter, refused) = match asked {
        None => (default(), None),
        Some((variable, value)) => match filter::parse(&value) {
            Ok(filter) => (filter, None),
            Err(error) => (default(), Some((variable, error))),
        },
    };
    let Ok(queue) = Queue::start(io::stderr()) else {
        // A process that gets no thread does not come far enough to have something to log.
        return;
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(LOG.get_or_init(|| queue).clone())
        .log_internal_errors(false)
        .with_ansi(io::IsTerminal::is_terminal(&io::stderr()));
    let installed = tracing_subscriber::registry().with(lines).with(filter).try_init();
    if installed.is_ok() {
        panics::log();
        if let Some((variable, error)) = refused {
            tracing::warn!(%error, "{variable} is no log filter; logging as by default");
        }
    }
}

/// Writes one line to standard error: in its order among the lines of the log, where that was [`init`]ialised. Where
/// nobody can read it, it is lost.
pub fn write_line(line: &str) {
    let line = format!("{line}\n");
    match LOG.get() {
        Some(queue) => queue.add(line.as_bytes()),
        None => drop(io::Write::write_all(&mut io::stderr(), line.as_bytes())),
    }
}

/// Waits until the lines of the log are written, for half a second at most.
pub fn flush() {
    if let Some(queue) = LOG.get() {
        queue.flush(FLUSH_TIME_MAX);
    }
}

/// Lines of the log that were lost, as they could not be written.
pub fn lines_lost() -> u64 {
    LOG.get().map_or(0, Queue::lost)
}
