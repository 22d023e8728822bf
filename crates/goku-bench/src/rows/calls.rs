//! Set and Get over gRPC: goku, what it is compared with, and an empty call.

use std::collections::BTreeMap;

use goku_load::{Load, Measured, Target, Workload};

use crate::Outcome;
use crate::database::Database;
use crate::etcd::Etcd;
use crate::lab::{self, Goku, Lab};
use crate::results::{Measure, Name, Row};
use crate::server::ServerProcess;
use crate::subject::Subject;
use crate::system::System;

/// Keys that one caller sets, in turn.
const KEYS_PER_CALLER: usize = 1_000;

/// Keys that are got, at random.
const KEYS_TO_GET: usize = 10_000;

/// What the keys that are got begin with.
const GET_PREFIX: &str = "/get/";

/// What answers over the network, in the order of the turns.
const SUBJECTS: [Subject; 5] = [
    Subject::Sqlite,
    Subject::Mariadb,
    Subject::TransactionPerWrite,
    Subject::Etcd,
    Subject::NoStore,
];

/// A system that answers.
struct Peer {
    subject: Subject,
    way: Way,
}

enum Way {
    /// By the load generator in this process.
    Here {
        sets: Target,
        gets: Target,
        _server: Server,
    },
    Etcd(Etcd),
}

enum Server {
    Goku { _goku: Goku },
    Other { _process: ServerProcess },
}

/// What was measured of one call.
struct Sample {
    rate: f64,
    p50: f64,
    p99: f64,
    errors: BTreeMap<String, u64>,
}

pub(super) async fn measure(lab: &mut Lab) -> Outcome<()> {
    lab.begin(Row::Calls);
    let mut peers = Vec::new();
    for subject in SUBJECTS {
        peers.extend(open(lab, subject).await?);
    }
    for _ in 0..lab.options.runs() {
        for callers in lab.options.callers() {
            for workload in [Workload::Set, Workload::Get, Workload::Status] {
                for peer in peers.iter_mut().filter(|peer| peer.answers(workload)) {
                    measure_one(lab, peer, workload, callers).await?;
                }
            }
        }
    }
    Ok(())
}

async fn measure_one(lab: &mut Lab, peer: &mut Peer, workload: Workload, callers: usize) -> Outcome<()> {
    let keys = match workload {
        Workload::Get => KEYS_TO_GET,
        _ => callers * KEYS_PER_CALLER,
    };
    let sample = peer.measure(&lab.load(workload, callers, keys)).await?;
    let [rate, p50, p99] = measures(workload);
    let subject = peer.subject;
    for (measure, figure) in [(rate, sample.rate), (p50, sample.p50), (p99, sample.p99)] {
        lab.add(Row::Calls, Name::of(measure, subject, callers), figure);
    }
    for (error, count) in sample.errors {
        let what = format!("{workload}, {}, {callers} callers", subject.name());
        let note = format!("{what}: {count} calls failed ({error})");
        lab.tell(&note);
        lab.results.note(Row::Calls, note);
    }
    Ok(())
}

fn measures(workload: Workload) -> [Measure; 3] {
    match workload {
        Workload::Set => [Measure::SetRate, Measure::SetP50, Measure::SetP99],
        Workload::Get => [Measure::GetRate, Measure::GetP50, Measure::GetP99],
        _ => [Measure::EmptyRate, Measure::EmptyP50, Measure::EmptyP99],
    }
}

/// Starts a system on an empty store; none where its programs are not there.
async fn open(lab: &mut Lab, subject: Subject) -> Outcome<Option<Peer>> {
    let way = match subject {
        Subject::Sqlite | Subject::Mariadb => {
            let goku = lab.serve(&lab.database(subject, "calls").await?).await?;
            Way::Here {
                sets: goku.target()?,
                gets: goku.target_at(GET_PREFIX)?,
                _server: Server::Goku { _goku: goku },
            }
        }
        Subject::TransactionPerWrite => {
            let url = lab.databases.create(Database::MariaDb("transactions")).await?;
            other(lab, System::TransactionPerWrite, Some(&url)).await?
        }
        Subject::NoStore => other(lab, System::NoStore, None).await?,
        Subject::RawGroupCommit => return Ok(None),
        Subject::Etcd => {
            let (Some(server), Some(load)) = (&lab.options.etcd, &lab.options.etcd_load) else {
                let note = "etcd was not there to be measured".to_owned();
                lab.tell(&note);
                lab.results.note(Row::Calls, note);
                return Ok(None);
            };
            let data = lab.databases.folder().join("etcd");
            Way::Etcd(Etcd::start(server, load, &data, lab.options.connections).await?)
        }
    };
    Ok(Some(Peer { subject, way }))
}

async fn other(lab: &Lab, system: System, url: Option<&str>) -> Outcome<Way> {
    let process = ServerProcess::start(system, url).await?;
    let clients = (0..lab.options.connections).map(|_| lab::connect(&process.endpoint()));
    let clients: Vec<_> = clients.collect::<Outcome<_>>()?;
    Ok(Way::Here {
        sets: lab::target(clients.clone(), lab::PREFIX)?,
        gets: lab::target(clients, GET_PREFIX)?,
        _server: Server::Other { _process: process },
    })
}

impl Peer {
    fn answers(&self, workload: Workload) -> bool {
        (workload == Workload::Status) == (self.subject == Subject::NoStore)
    }

    async fn measure(&mut self, load: &Load) -> Outcome<Sample> {
        match &mut self.way {
            Way::Here { sets, gets, .. } => {
                let target = if load.workload.reads_keys() { gets } else { sets };
                Ok(Sample::of(&lab::run(target, load).await?))
            }
            Way::Etcd(etcd) => {
                let report = etcd.measure(load).await?;
                Ok(Sample {
                    rate: report.calls_per_second,
                    p50: report.p50_us,
                    p99: report.p99_us,
                    errors: report.errors,
                })
            }
        }
    }
}

impl Sample {
    fn of(measured: &Measured) -> Sample {
        let name = measured.series.first().map_or("", |series| series.name);
        let errors = measured.errors.iter();
        Sample {
            rate: measured.rate(),
            p50: lab::latency(measured, name, 0.5),
            p99: lab::latency(measured, name, 0.99),
            errors: errors
                .map(|(kind, failed)| (format!("{kind}: {}", failed.message), failed.count))
                .collect(),
        }
    }
}
