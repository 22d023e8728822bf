//! `goku serve`.

use std::sync::Arc;

use clap::Args;
use goku::ErrorKind;
use goku_grpc::Operations;
use goku_server::{Reloader, Revision, Server, telemetry};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::task::AbortOnDropHandle;

use crate::cli::signal::EndSignals;
use crate::configuration::ServeOptions;
use crate::exit::{self, Failure, Outcome};
use crate::output::Output;
use crate::supervisor::Supervisor;

use super::invocation::Invocation;

/// Run a server
///
/// Serves until SIGINT or SIGTERM; then streams end and running requests finish, for at most 10 s. A second signal, a second
/// later or more, ends the server at once, with exit code 1. Exit code 8 asks a supervisor to start it again. SIGHUP has it
/// read its configuration again. Under systemd it tells when it is ready and feeds the watchdog (Type=notify, WatchdogSec=).
#[derive(Debug, Args)]
#[command(after_help = "\
Stores:
  sqlite:PATH
      a file, made where it does not exist; one server at a time
  sqlite::memory:
      nothing is kept when the server ends
  mysql://user:password@host:port/database
      MySQL or MariaDB, for any number of servers; tables are made at first
  mysql://user:password@host:port,host:port/database
      several, up to 16: the one that takes writes is used, a primary among
      replicas that are read only or a node of a Galera cluster

Options: each flag is a variable and a key of the file that --config names, as
--log-filter, GOKU_LOG_FILTER and `filter` in the table [log]. Flags count before
variables, variables before the file. `goku config print --origin` shows what
applies and where it comes from, `goku config check` what is wrong with a file.

Log: standard error. Lines that cannot be written, or that nobody reads, are lost
and counted; they hold up nothing. A password is safer in --store-file than on the
command line, where other users of the machine see it.")]
pub(super) struct Serve {
    #[command(flatten)]
    pub(super) options: ServeOptions,
}

impl Serve {
    pub(super) async fn run(self, invocation: Invocation, output: &mut Output) -> Outcome {
        let Revision { config, values } = invocation.revision(self.options)?;
        telemetry::init(&config.log);
        let mut signals = EndSignals::new()?;
        let hangups = signal(SignalKind::hangup())?;
        let server = tokio::select! {
            server = Server::start_reloadable(Revision { config, values }, Arc::new(invocation)) => server?,
            () = signals.next() => return Ok(()),
        };
        if let Err(error) = output.serving(&server) {
            // Clients matter more than whoever started it and does not listen any more.
            tracing::warn!(%error, "cannot tell where it listens: {}", server.listening_on());
        }
        if let Some(reloader) = server.reloader() {
            tokio::spawn(reload_at(hangups, reloader));
        }

        let supervisor = Supervisor::of_this_process();
        supervisor.ready(&server).await;
        let _fed = AbortOnDropHandle::new(tokio::spawn(supervisor.clone().feed_watchdog(server.liveness())));

        let end = async {
            signals.next().await;
            supervisor.stopping().await;
            tracing::info!("draining: running requests finish; a second signal ends at once");
            tokio::spawn(async move {
                signals.next().await;
                tracing::warn!("ended without draining");
                telemetry::flush();
                std::process::exit(i32::from(exit::ERROR));
            });
        };
        server.run(end).await.map_err(|error| match error.kind() {
            ErrorKind::Internal => Failure::Broken(error),
            _ => Failure::from(error),
        })?;
        tracing::info!("stopped");
        Ok(())
    }
}

/// Reads the configuration again at each signal.
async fn reload_at(mut hangups: Signal, reloader: Arc<Reloader>) {
    while hangups.recv().await.is_some() {
        // The reloader has told the log of a failure.
        let _ = reloader.reload().await;
    }
}
