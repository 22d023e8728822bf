//! The form of the log as arguments of the commands that have one.

use clap::{ArgAction, Args, ValueEnum};
use goku_server::telemetry::{LogConfig, LogFilter, LogFormat};

// No doc comment, which would be the help of the commands that have them.
#[derive(Debug, Args)]
pub(crate) struct LogArguments {
    /// How a line of the log is written: for people, or as a JSON object
    #[arg(long, env = "GOKU_LOG_FORMAT", default_value = "text")]
    log_format: LogFormatArg,

    /// Whether the log tells keys, the first 64 bytes of each
    #[arg(long, env = "GOKU_LOG_KEYS", value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    log_keys: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormatArg {
    Text,
    Json,
}

impl From<LogFormatArg> for LogFormat {
    fn from(format: LogFormatArg) -> LogFormat {
        match format {
            LogFormatArg::Text => LogFormat::Text,
            LogFormatArg::Json => LogFormat::Json,
        }
    }
}

impl LogArguments {
    /// The log with what is logged.
    pub(crate) fn config(&self, filter: LogFilter) -> LogConfig {
        LogConfig {
            filter,
            format: self.log_format.into(),
            keys: self.log_keys,
        }
    }
}
