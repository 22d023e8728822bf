//! Tasks of a server that panic when its process is told to: only with the feature `faults`, for tests.

use goku::faults::Faults;
use goku::{Error, ErrorKind, Result};
use tokio::signal::unix::{SignalKind, signal};

/// The environment variable that names the task which is to panic at SIGUSR1.
const VARIABLE: &str = "GOKU_PANIC_IN";

/// The faults that the environment asks for.
pub(crate) fn planned() -> Result<Faults> {
    let faults = Faults::default();
    if let Ok(task) = std::env::var(VARIABLE) {
        let mut told = signal(SignalKind::user_defined1())
            .map_err(|error| Error::new(ErrorKind::Config, "SIGUSR1 cannot be caught").with_source(error))?;
        let faults = faults.clone();
        tokio::spawn(async move {
            told.recv().await;
            faults.panic_in(&task);
        });
    }
    Ok(faults)
}

/// The task, which panics where `faults` say so.
pub(crate) async fn with(faults: Faults, name: &str, task: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = faults.panic_of(name) => {}
        () = task => {}
    }
}
