//! A system that is ready to be called.

use std::process;
use std::sync::Arc;
use std::time::Instant;

use goku::{Client, Prefix};
use goku_grpc::GrpcClient;
use goku_load::{Load, Monitor};

use crate::Outcome;
use crate::cpu::{Processes, Role};
use crate::database::{Database, Databases};
use crate::figures::Sample;
use crate::options::Options;
use crate::server::ServerProcess;
use crate::system::System;

/// What all keys begin with.
const PREFIX: &str = "/bench/";

/// A system, and what loads are put on.
pub(crate) struct Target {
    pub(crate) system: System,
    target: goku_load::Target,
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
            target: goku_load::Target::new(clients, Prefix::new(PREFIX)?)?,
            processes,
            _server: server,
        })
    }

    /// Puts a load on it.
    pub(crate) async fn measure(&mut self, load: &Load, monitor: &Monitor) -> Outcome<Sample> {
        self.target.prepare(load, monitor).await?;
        let before = self.processes.used()?;
        let begun = Instant::now();
        let measured = self.target.run(load, monitor).await?;
        let cpu = self.processes.used()?.since(&before);
        Ok(Sample::new(&measured, cpu, begun.elapsed().as_secs_f64()))
    }
}

fn connect(server: &ServerProcess, numbered: bool) -> Outcome<Arc<dyn Client>> {
    Ok(Arc::new(GrpcClient::connect(&server.endpoint())?.retries(numbered)))
}
