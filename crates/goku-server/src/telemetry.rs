//! The log: structured lines on standard error, written by a thread of its own.
//!
//! The reader of standard error may go away, stand still or have a full disk: lines are lost then and counted, and nothing
//! else happens.

mod filter;
mod form;
mod json;
mod keys;
mod panics;
mod queue;

use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

pub use self::filter::{FilterError, LogFilter};
pub use self::form::LogFormat;
pub(crate) use self::keys::KEY_BYTES_MAX;

use self::form::Form;
use self::queue::Queue;

/// The environment variables that set what is logged, as `level` or `target=level,…`; the first that is set counts. The last
/// may have been set for other programs, in a form that goku does not read.
pub const VARIABLES: [&str; 3] = ["GOKU_LOG_FILTER", "GOKU_LOG", "RUST_LOG"];

/// The time that the end of a process waits for the last lines to be written.
const FLUSH_TIME_MAX: Duration = Duration::from_millis(500);

/// Standard error is the process's, and so are the lines on their way to it, and what is logged.
static LOG: OnceLock<Log> = OnceLock::new();

struct Log {
    lines: Queue,
    form: Form,
    filter: reload::Handle<Targets, tracing_subscriber::Registry>,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// The lines that are logged.
    pub filter: LogFilter,
    /// The form of a line.
    pub format: LogFormat,
    /// Whether lines tell keys, the first 64 bytes of each.
    pub keys: bool,
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig {
            filter: LogFilter::default(),
            format: LogFormat::default(),
            keys: true,
        }
    }
}

/// The first of [`VARIABLES`] that is set, and what it asks for.
pub fn variable() -> Option<(&'static str, Result<LogFilter, FilterError>)> {
    VARIABLES.into_iter().find_map(|variable| {
        let value = std::env::var(variable).ok().filter(|value| !value.is_empty())?;
        Some((variable, value.parse()))
    })
}

/// Logs to standard error as `config` says, and panics of any thread. Where a variable is no filter, a warning tells so, and
/// it does not count: a log is no reason not to start.
///
/// Logging never waits for the reader of standard error and never fails; the process ends with [`flush`]. Once it is
/// initialised, it is [`reconfigure`]d.
pub fn init(config: &LogConfig) {
    let form = Form::new(config);
    let Ok(queue) = Queue::start(io::stderr(), form.clone()) else {
        // A process that gets no thread does not come far enough to have something to log.
        return;
    };
    let (filter, handle) = reload::Layer::new(config.filter.targets());
    let log = LOG.get_or_init(|| Log {
        lines: queue,
        form,
        filter: handle,
    });
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(log.lines.clone())
        .log_internal_errors(false)
        .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
        .fmt_fields(log.form.clone())
        .event_format(log.form.clone());
    let installed = tracing_subscriber::registry().with(filter).with(lines).try_init();
    if installed.is_ok() {
        panics::log();
        if let Some((variable, Err(error))) = variable() {
            tracing::warn!(%error, "{variable} is no log filter: it does not count");
        }
    }
}

/// What a command logs that has no other setting of it: what the first of [`VARIABLES`] asks for, else `default`.
pub fn filter_by_variables(default: &str) -> LogFilter {
    match variable() {
        Some((_, Ok(filter))) => filter,
        _ => default.parse().unwrap_or_default(),
    }
}

/// Logs from now on as `config` says, where the log was [`init`]ialised.
pub fn reconfigure(config: &LogConfig) {
    let Some(log) = LOG.get() else { return };
    log.form.set(config);
    if let Err(error) = log.filter.reload(config.filter.targets()) {
        tracing::error!(%error, "the log keeps its filter");
    }
}

/// Writes one line to standard error: in its order among the lines of the log, where that was [`init`]ialised. Where
/// nobody can read it, it is lost.
pub fn write_line(line: &str) {
    let line = format!("{line}\n");
    match LOG.get() {
        Some(log) => log.lines.add(line.as_bytes()),
        None => drop(io::Write::write_all(&mut io::stderr(), line.as_bytes())),
    }
}

/// Waits until the lines of the log are written, for half a second at most.
pub fn flush() {
    if let Some(log) = LOG.get() {
        log.lines.flush(FLUSH_TIME_MAX);
    }
}

/// Lines of the log that were lost, as they could not be written.
pub fn lines_lost() -> u64 {
    LOG.get().map_or(0, |log| log.lines.lost())
}
