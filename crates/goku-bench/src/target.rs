//! A system that is ready to be called.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use goku::Client;
use goku_grpc::GrpcClient;

use crate::Outcome;
use crate::cpu::{Processes, Role};
use crate::database::{Database, Databases};
use crate::figures::Sample;
use crate::load::{Caller, Load};
use crate::options::Options;
use crate::server::ServerProcess;
use crate::system::System;

/// A system, its clients, and what its callers remember.
pub(crate) struct Target {
    pub(crate) system: System,
    clients: Vec<Arc<dyn Client>>,
    callers: Vec<Caller>,
    processes: Processes,
    _server: Option<ServerProcess>,
}

impl Target {
    /// Opens a system on an empty database, in this process or behind a server.
    pub(crate) async fn open(system: System, databases: &Databases, options: &Options) -> Outcome<Target> {
        let url = match system.database() {
            Some(database) => Some(databases.create(database).await?),
            None => None,
        };
        let mut processes = Processes::default();
        processes.add(Role::Client, process::id());
        if let (Some(Database::MariaDb(_)), Some(id)) = (system.database(), databases.mariadb_process()?) {
            processes.add(Role::Database, id);
        }
        let (clients, server) = if options.embedded {
            (vec![system.open(url.as_deref()).await?], None)
        } else {
            let server = ServerProcess::start(system, url.as_deref()).await?;
            processes.add(Role::Server, server.id()?);
            let clients = (0..options.connections).map(|_| connect(&server, options.numbered));
            (clients.collect::<Outcome<_>>()?, Some(server))
        };
        Ok(Target {
            system,
            clients,
            callers: Vec::new(),
            processes,
            _server: server,
        })
    }

    /// Puts a load on it.
    pub(crate) async fn measure(&mut self, load: &Load, progress: &Arc<AtomicU64>) -> Outcome<Sample> {
        load.prepare(&self.clients, &mut self.callers).await?;
        let before = self.processes.used()?;
        let begun = Instant::now();
        let calls_before = progress.load(Ordering::Relaxed);
        let measured = load.run(&self.clients, &mut self.callers, progress).await?;
        let calls = progress.load(Ordering::Relaxed) - calls_before;
        let cpu = self.processes.used()?.since(&before);
        Ok(Sample::new(&measured, cpu, calls, begun.elapsed().as_secs_f64()))
    }
}

fn connect(server: &ServerProcess, numbered: bool) -> Outcome<Arc<dyn Client>> {
    Ok(Arc::new(GrpcClient::connect(&server.endpoint())?.retries(numbered)))
}
