//! A database, replicas on it, and what stands between them and their clients.

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};

use goku_mariadbd::{Dialect, Installation, Options as ServerOptions};
use goku_testkit::galera::list;
use goku_testkit::{FakeClock, GaleraDatabase, PrivateDatabase, Proxy, Replica};
use tempfile::TempDir;

use crate::options::{Engine, Options};

/// How many replicas run on one database server.
const REPLICAS: usize = 3;

/// How far the clocks of two of them are from the right time, in seconds: none of it may matter.
const CLOCK_ERRORS: [i64; REPLICAS] = [30, 0, -30];

/// Everything that can be disturbed.
pub(crate) struct Cluster {
    pub(crate) replicas: Vec<Replica>,
    /// One before the database for each replica, before each node of it for one replica after the other; none where the
    /// database is a file.
    pub(crate) proxies: Vec<Proxy>,
    /// One before each replica, for some of its clients.
    pub(crate) fronts: Vec<Proxy>,
    pub(crate) database: Database,
    /// That of the store, where it can be set wrong.
    clock: Option<FakeClock>,
    /// How far it is ahead, in seconds.
    clock_ahead: AtomicI64,
    /// Those of the replicas on a server.
    replica_clocks: Vec<FakeClock>,
}

/// What the replicas run on.
pub(crate) enum Database {
    Server(Box<PrivateDatabase>),
    Nodes(Box<GaleraDatabase>),
    File(#[expect(dead_code, reason = "held until the end")] TempDir),
}

impl Cluster {
    pub(crate) async fn start(options: &Options, logs: &Path) -> Cluster {
        let mut cluster = match options.engine {
            Engine::Sqlite => Cluster::on_file(options, logs).await,
            Engine::Galera => Cluster::on_nodes(options, logs).await,
            _ => Cluster::on_server(options, logs).await,
        };
        for replica in &cluster.replicas {
            replica.ready().await;
            cluster.fronts.push(Proxy::before_endpoint(&replica.endpoint()).await);
        }
        cluster
    }

    /// One replica, whose clock is that of the store.
    async fn on_file(options: &Options, logs: &Path) -> Cluster {
        let clock = FakeClock::find(&options.engines);
        let environment = clock.as_ref().map(FakeClock::environment).unwrap_or_default();
        let folder = TempDir::new_in(logs).unwrap();
        let store = format!("sqlite:{}", folder.path().join("goku.db").display());
        let replica = Replica::start_in(&options.program, &store, &log(logs, 0), environment).await;
        Cluster {
            replicas: vec![replica],
            clock,
            ..Cluster::empty(Database::File(folder))
        }
    }

    async fn on_server(options: &Options, logs: &Path) -> Cluster {
        // MySQL asks for the time so often that a fake one slows it down too much.
        let clock = FakeClock::find(&options.engines).filter(|_| options.engine != Engine::Mysql);
        let database = start_server(options, clock.as_ref()).await;
        let mut cluster = Cluster {
            clock,
            ..Cluster::empty(Database::Server(Box::new(database)))
        };
        for (number, error) in CLOCK_ERRORS.into_iter().enumerate() {
            let proxy = Proxy::before(&cluster.server().url()).await;
            let clock = FakeClock::find(&options.engines).inspect(|clock| clock.set(error));
            let environment = clock.as_ref().map(FakeClock::environment).unwrap_or_default();
            let replica = Replica::start_in(&options.program, proxy.url(), &log(logs, number), environment).await;
            cluster.proxies.push(proxy);
            cluster.replicas.push(replica);
            cluster.replica_clocks.extend(clock);
        }
        cluster
    }

    fn empty(database: Database) -> Cluster {
        Cluster {
            replicas: Vec::new(),
            proxies: Vec::new(),
            fronts: Vec::new(),
            database,
            clock: None,
            clock_ahead: AtomicI64::new(0),
            replica_clocks: Vec::new(),
        }
    }

    async fn on_nodes(options: &Options, logs: &Path) -> Cluster {
        let found = GaleraDatabase::options(&options.engines.join("galera"));
        let found = found.expect("Galera is not there: `cargo xtask engines` installs or unpacks it");
        let database = GaleraDatabase::start(found.impatient()).await;
        let nodes: Vec<_> = (0..database.nodes()).map(|node| database.url_of(node)).collect();
        let mut cluster = Cluster::empty(Database::Nodes(Box::new(database)));
        for number in 0..CLOCK_ERRORS.len() {
            let mut urls = Vec::new();
            for node in &nodes {
                let proxy = Proxy::before(node).await;
                urls.push(proxy.url().to_owned());
                cluster.proxies.push(proxy);
            }
            let replica = Replica::start(&options.program, &list(&urls), &log(logs, number)).await;
            cluster.replicas.push(replica);
        }
        cluster
    }

    /// The cluster of database servers; only faults for one are injected where there is one.
    pub(crate) fn nodes(&self) -> &GaleraDatabase {
        match &self.database {
            Database::Nodes(nodes) => nodes,
            _ => panic!("one server is no cluster"),
        }
    }

    /// The URLs of the replicas.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        self.replicas.iter().map(Replica::endpoint).collect()
    }

    /// The URLs of the replicas behind what stands before them.
    pub(crate) fn disturbed_endpoints(&self) -> Vec<String> {
        self.fronts.iter().map(|front| front.url().to_owned()).collect()
    }

    /// The database server; only faults for one are injected where there is one.
    pub(crate) fn server(&self) -> &PrivateDatabase {
        match &self.database {
            Database::Server(server) => server,
            Database::Nodes(_) | Database::File(_) => panic!("there is no single server"),
        }
    }

    /// Whether the clock of the store can be set wrong.
    pub(crate) fn has_clock(&self) -> bool {
        self.clock.is_some()
    }

    /// Sets the clock of the store further ahead by so many seconds, or back.
    pub(crate) fn move_clock(&self, seconds: i64) {
        let ahead = self.clock_ahead.fetch_add(seconds, Ordering::SeqCst) + seconds;
        if let Some(clock) = &self.clock {
            clock.set(ahead);
        }
    }

    /// Ends every fault that is left: all processes run, and all bytes flow.
    pub(crate) async fn heal(&self) {
        for proxy in self.proxies.iter().chain(&self.fronts) {
            proxy.heal();
        }
        if let Database::Nodes(nodes) = &self.database {
            nodes.heal().await;
        }
        for replica in &self.replicas {
            replica.resume().await;
            replica.run().await;
        }
    }
}

fn log(logs: &Path, number: usize) -> std::path::PathBuf {
    logs.join(format!("replica-{number}.log"))
}

/// A server of its own, whose commits are on disk before anybody sees them.
pub(crate) async fn start_server(options: &Options, clock: Option<&FakeClock>) -> PrivateDatabase {
    PrivateDatabase::durable(server_options(options, clock)).await
}

fn server_options(options: &Options, clock: Option<&FakeClock>) -> ServerOptions {
    let unpacked = |name: &str, dialect| Installation::unpacked(&options.engines.join(name), dialect);
    let installation = match options.engine {
        Engine::Mariadb11 => unpacked("mariadb11", Dialect::MariaDb),
        Engine::Mysql => unpacked("mysql", Dialect::MySql),
        Engine::Mariadb | Engine::Galera | Engine::Sqlite => Installation::find(),
    }
    .unwrap();
    let environment = clock.map(FakeClock::environment).unwrap_or_default();
    ServerOptions {
        installation: Some(installation.in_environment(environment)),
        ..ServerOptions::default()
    }
}
