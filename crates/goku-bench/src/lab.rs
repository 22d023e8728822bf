//! The lab: what all rows are measured with.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use goku::{Client, Engine, Prefix};
use goku_grpc::GrpcClient;
use goku_load::{Load, Measured, Monitor, Target, Workload};

use crate::Outcome;
use crate::database::{Database, Databases};
use crate::options::{Store, TableOptions};
use crate::process::Process;
use crate::results::{Name, Results, Row};
use crate::setting::Setting;
use crate::subject::Subject;

/// The part of a measurement's time that goes before it for warming up: its inverse.
const WARM_UP_DIVISOR: u32 = 4;

/// What all keys of a load begin with.
pub(crate) const PREFIX: &str = "/bench/";

/// The databases, the measures, and what was found.
pub(crate) struct Lab {
    pub(crate) options: TableOptions,
    pub(crate) databases: Databases,
    pub(crate) results: Results,
    setting: Setting,
    begun: Instant,
}

/// A `goku serve` that runs, and connections to it.
pub(crate) struct Goku {
    pub(crate) process: Process,
    pub(crate) endpoint: String,
    pub(crate) clients: Vec<Arc<dyn Client>>,
}

impl Lab {
    /// Starts the databases that are needed.
    pub(crate) async fn set_up(options: TableOptions, results: Results) -> Outcome<Lab> {
        let databases = Databases::start(Store::All).await?;
        let mut setting = Setting {
            value_bytes: options.value_bytes,
            connections: options.connections,
            runs: options.runs(),
            seconds: options.seconds().as_secs_f64().to_string(),
            keys: options.keys(),
            growth_keys: options.growth_keys(),
            leases: options.leases(),
            ..Setting::of_machine()?
        };
        if let Some(version) = databases.mariadb_version().await? {
            setting.versions.push(format!("MariaDB {version}"));
        }
        if let Some(etcd) = &options.etcd {
            setting.versions.push(crate::etcd::version(etcd).await?);
        }
        Ok(Lab {
            options,
            databases,
            results,
            setting,
            begun: Instant::now(),
        })
    }

    /// Begins a row.
    pub(crate) fn begin(&mut self, row: Row) {
        self.tell(&format!("{row:?}"));
        self.results.begin(row, self.setting.clone());
    }

    /// Adds a figure to a row that has begun.
    pub(crate) fn add(&mut self, row: Row, name: Name, figure: f64) {
        let callers = name.callers.map(|callers| format!(", {callers} callers"));
        self.tell(&format!(
            "  {:?}, {}{}: {figure:.0}",
            name.measure,
            name.subject.name(),
            callers.unwrap_or_default()
        ));
        self.results.add(row, name, figure);
    }

    /// Tells of calls that failed.
    pub(crate) fn add_errors(&mut self, row: Row, what: &str, measured: &Measured) {
        for (kind, failed) in &measured.errors {
            let note = format!("{what}: {} calls failed ({kind}: {})", failed.count, failed.message);
            self.tell(&note);
            self.results.note(row, note);
        }
    }

    /// Tells what goes on, on standard error.
    pub(crate) fn tell(&self, what: &str) {
        eprintln!("[{:>4} s] {what}", self.begun.elapsed().as_secs());
    }

    /// A load of the usual measures, with as many keys as callers use one after another.
    pub(crate) fn load(&self, workload: Workload, callers: usize, keys: usize) -> Load {
        Load {
            workload,
            callers,
            keys,
            value_bytes: self.options.value_bytes,
            warm_up: self.options.seconds() / WARM_UP_DIVISOR,
            duration: self.options.seconds(),
        }
    }

    /// Makes an empty database of this name, and tells its URL.
    pub(crate) async fn database(&self, subject: Subject, name: &'static str) -> Outcome<String> {
        let database = match subject {
            Subject::Sqlite => Database::SqliteFile(name),
            _ => Database::MariaDb(name),
        };
        self.databases.create(database).await
    }

    /// Starts `goku serve` on a store, with all connections.
    pub(crate) async fn serve(&self, url: &str) -> Outcome<Goku> {
        let program = self.options.program.as_ref();
        let program = program.ok_or("the program goku is missing: --program names it")?;
        Goku::start(program, url, self.options.connections).await
    }
}

impl Goku {
    async fn start(program: &std::path::Path, url: &str, connections: usize) -> Outcome<Goku> {
        let mut process = Process::start(program, &["serve", "--listen", "127.0.0.1:0", "--store", url])?;
        let line = process.first_line().await?;
        let endpoint = line.strip_prefix("listening on ");
        let endpoint = endpoint.ok_or_else(|| format!("goku serve said: {line}"))?.to_owned();
        let clients = (0..connections).map(|_| connect(&endpoint));
        Ok(Goku {
            clients: clients.collect::<Outcome<_>>()?,
            process,
            endpoint,
        })
    }

    /// What loads are put on.
    pub(crate) fn target(&self) -> Outcome<Target> {
        target(self.clients.clone(), PREFIX)
    }

    /// The same with keys of its own.
    pub(crate) fn target_at(&self, prefix: &str) -> Outcome<Target> {
        target(self.clients.clone(), prefix)
    }

    pub(crate) async fn stop(self) -> Outcome<()> {
        drop(self.clients);
        self.process.stop().await
    }
}

/// One more connection.
///
/// It does not number its writes: no peer does, and each would be compared with more than it does.
pub(crate) fn connect(endpoint: &str) -> Outcome<Arc<dyn Client>> {
    Ok(Arc::new(GrpcClient::connect(endpoint)?.retries(false)))
}

/// What loads are put on by these clients.
pub(crate) fn target(clients: Vec<Arc<dyn Client>>, prefix: &str) -> Outcome<Target> {
    Ok(Target::new(clients, Prefix::new(prefix)?)?)
}

/// A store in this process.
pub(crate) async fn embed(url: &str) -> Outcome<Engine> {
    Ok(Engine::open(url).await?)
}

/// Makes the keys that a load needs, puts it on, and tells what came of it.
pub(crate) async fn run(target: &mut Target, load: &Load) -> Outcome<Measured> {
    let monitor = Monitor::default();
    target.prepare(load, &monitor).await?;
    Ok(target.run(load, &monitor).await?)
}

/// A latency of a series, in microseconds; 0 where nothing was timed.
pub(crate) fn latency(measured: &Measured, series: &str, quantile: f64) -> f64 {
    let series = measured.series.iter().find(|found| found.name == series);
    series.map_or(0.0, |found| found.latencies.value_at_quantile(quantile) as f64)
}

/// In microseconds.
pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// The size of a file, in bytes.
pub(crate) fn file_bytes(file: &PathBuf) -> Outcome<u64> {
    Ok(fs::metadata(file)
        .map_err(|error| format!("{}: {error}", file.display()))?
        .len())
}
