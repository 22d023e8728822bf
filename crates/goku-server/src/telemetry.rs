//! The log: structured lines on standard error.

use tracing_subscriber::EnvFilter;

/// The environment variables that set what is logged, in the form of `tracing`'s filters; the first that is set
/// counts.
pub const VARIABLES: [&str; 2] = ["GOKU_LOG", "RUST_LOG"];

/// Logs to standard error what [`VARIABLES`] ask for, else `default`.
///
/// A filter that cannot be read is told of and `default` taken: a log is no reason not to serve.
pub fn init(default: &str) {
    let asked = VARIABLES.into_iter().find_map(|variable| {
        Some((
            variable,
            std::env::var(variable).ok().filter(|value| !value.is_empty())?,
        ))
    });
    let (filter, refused) = match asked {
        None => (EnvFilter::new(default), None),
        Some((variable, value)) => match EnvFilter::try_new(&value) {
            Ok(filter) => (filter, None),
            Err(error) => (EnvFilter::new(default), Some((variable, error))),
        },
    };
    let installed = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .try_init();
    if let (Ok(()), Some((variable, error))) = (installed, refused) {
        tracing::warn!(%error, "{variable} is no log filter; logging as by default");
    }
}
