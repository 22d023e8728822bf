//! A database, replicas on it, and what stands between them.

use std::path::Path;

use goku_mariadbd::{Dialect, Installation, Options as ServerOptions};
use goku_testkit::{PrivateDatabase, Proxy, Replica};
use tempfile::TempDir;

use crate::options::{Engine, Options};

/// How many replicas run on one database server.
const REPLICAS: usize = 3;

/// Everything that can be disturbed.
pub(crate) struct Cluster {
    pub(crate) replicas: Vec<Replica>,
    /// One before the database for each replica; none where the database is a file.
    pub(crate) proxies: Vec<Proxy>,
    pub(crate) database: Database,
}

/// What the replicas run on.
pub(crate) enum Database {
    Server(Box<PrivateDatabase>),
    File(#[expect(dead_code, reason = "held until the end")] TempDir),
}

impl Cluster {
    pub(crate) async fn start(options: &Options, logs: &Path) -> Cluster {
        let log = |number: usize| logs.join(format!("replica-{number}.log"));
        if options.engine == Engine::Sqlite {
            let folder = TempDir::new_in(logs).unwrap();
            let store = format!("sqlite:{}", folder.path().join("goku.db").display());
            return Cluster {
                replicas: vec![Replica::start(&options.program, &store, &log(0)).await],
                proxies: Vec::new(),
                database: Database::File(folder),
            };
        }
        let database = PrivateDatabase::durable(server_options(options)).await;
        let mut cluster = Cluster {
            replicas: Vec::new(),
            proxies: Vec::new(),
            database: Database::Server(Box::new(database)),
        };
        for number in 0..REPLICAS {
            let proxy = Proxy::before(&cluster.server().url()).await;
            let replica = Replica::start(&options.program, proxy.url(), &log(number)).await;
            cluster.proxies.push(proxy);
            cluster.replicas.push(replica);
        }
        cluster
    }

    pub(crate) fn endpoints(&self) -> Vec<String> {
        self.replicas.iter().map(Replica::endpoint).collect()
    }

    /// The database server; only faults for one are injected where there is one.
    pub(crate) fn server(&self) -> &PrivateDatabase {
        match &self.database {
            Database::Server(server) => server,
            Database::File(_) => panic!("a file is no server"),
        }
    }

    /// Ends every fault that is left: all processes run, and all bytes flow.
    pub(crate) async fn heal(&self) {
        for proxy in &self.proxies {
            proxy.heal();
        }
        for replica in &self.replicas {
            replica.resume().await;
            replica.run().await;
        }
    }
}

fn server_options(options: &Options) -> ServerOptions {
    let unpacked = |name: &str, dialect| Installation::unpacked(&options.engines.join(name), dialect).unwrap();
    let installation = match options.engine {
        Engine::Mariadb11 => Some(unpacked("mariadb11", Dialect::MariaDb)),
        Engine::Mysql => Some(unpacked("mysql", Dialect::MySql)),
        Engine::Mariadb | Engine::Sqlite => None,
    };
    ServerOptions {
        installation,
        ..ServerOptions::default()
    }
}
