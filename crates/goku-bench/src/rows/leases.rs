//! Leases that end in the same second, Sets beside them, and keep-alives.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use goku::{
    Client, EventStream, EventType, EventTypes, Expiry, Key, Operation, Prefix, SetRequest, StreamFrom, StreamItem,
    StreamRequest, Timestamp, Txn,
};
use goku_load::{Monitor, Phase, Workload};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

use crate::Outcome;
use crate::goals::CALLERS;
use crate::lab::{self, Goku, Lab};
use crate::results::{Measure, Name, Row};
use crate::subject::Subject;

/// Keys with leases in one transaction, and transactions at the same time.
const SETS: usize = 100;
const WRITERS: usize = 32;

/// Callers that set other keys meanwhile, and their keys.
const SETTERS: usize = 64;
const SETTERS_KEYS: usize = SETTERS * 1_000;

/// Leases that are made in a second at least, and what is waited for anyway: Sets are measured before the deadline.
const LEASES_PER_SECOND: usize = 20_000;
const LEAD: Duration = Duration::from_secs(5);

/// How long before the deadline Sets are measured.
const BEFORE: Duration = Duration::from_secs(2);

/// Sets beside the expiry are measured for so long at least.
const DURING_MIN: Duration = Duration::from_secs(1);

/// How often Sets are counted.
const COUNT_INTERVAL: Duration = Duration::from_millis(20);

/// After so long without a lease that ends nobody waits any more.
const EXPIRY_MAX: Duration = Duration::from_secs(60);

/// How often one lease is kept alive.
const KEEP_ALIVES: u32 = 1_000;

pub(super) async fn measure(lab: &mut Lab) -> Outcome<()> {
    lab.begin(Row::Leases);
    let leases = lab.options.leases();
    let note = format!("{leases} leases, with a key each, are due at the same moment.");
    lab.results.note(Row::Leases, note);
    let mut stores = Vec::new();
    for subject in Subject::GOKU {
        stores.push((subject, lab.serve(&lab.database(subject, "leases").await?).await?));
    }
    for _ in 0..lab.options.runs() {
        for (subject, goku) in &stores {
            expire(lab, *subject, goku).await?;
            let workload = Workload::Lease {
                keep_alives: KEEP_ALIVES,
            };
            let load = lab.load(workload, CALLERS, CALLERS);
            let measured = lab::run(&mut goku.target()?, &load).await?;
            let kept = measured.series.iter().find(|series| series.name == "keep-alive");
            let rate = measured.per_second(kept.map_or(0, |series| series.latencies.len()));
            lab.add(Row::Leases, Name::new(Measure::KeepAliveRate, *subject), rate);
            lab.add_errors(Row::Leases, subject.name(), &measured);
        }
    }
    Ok(())
}

async fn expire(lab: &mut Lab, subject: Subject, goku: &Goku) -> Outcome<()> {
    let leases = lab.options.leases();
    let client = &goku.clients[0];
    let expired = StreamRequest {
        types: EventTypes::from_iter([EventType::Expire]),
        ..StreamRequest::new(Prefix::new("/lease/")?).from(StreamFrom::Head)
    };
    let events = client.stream(expired).await?;
    let lead = LEAD + Duration::from_secs(leases.div_ceil(LEASES_PER_SECOND) as u64);
    let due_in_store = client.status().await?.time.as_millis() + i64::try_from(lead.as_millis())?;
    grant(&goku.clients, leases, due_in_store, lab.options.value_bytes).await?;
    let asked = Instant::now();
    let now = client.status().await?.time.as_millis();
    let left = u64::try_from(due_in_store - now).unwrap_or(0);
    let due = asked + Duration::from_millis(left);
    if left < BEFORE.as_millis() as u64 {
        return Err(format!("making {leases} leases took longer than they live").into());
    }

    let monitor = Monitor::default();
    let mut target = goku.target()?;
    let mut load = lab.load(Workload::Set, SETTERS, SETTERS_KEYS);
    (load.warm_up, load.duration) = (Duration::ZERO, EXPIRY_MAX + lead);
    let setting = {
        let monitor = monitor.clone();
        tokio::spawn(async move { target.run(&load, &monitor).await })
    };
    let counting = tokio::spawn(count(monitor.clone()));
    let last = last_of(events, leases).await;
    // The Sets are counted for a second at least.
    sleep((due + DURING_MIN).saturating_duration_since(Instant::now())).await;
    monitor.stop();
    let measured = setting.await??;
    let counts = counting.await?;
    let last = last?;

    let rate = |from, to| counts.rate(from, to);
    for (measure, figure) in [
        (Measure::LeasesGone, lab::micros(last.saturating_duration_since(due))),
        (Measure::SetsBeforeLeases, rate(due - BEFORE, due)),
        (Measure::SetsBesideLeases, rate(due, last.max(due + DURING_MIN))),
    ] {
        lab.add(Row::Leases, Name::new(measure, subject), figure);
    }
    lab.add_errors(Row::Leases, subject.name(), &measured);
    Ok(())
}

/// Sets keys that each live by a lease of their own until this time of the store.
async fn grant(clients: &[Arc<dyn Client>], leases: usize, due_ms: i64, value_bytes: usize) -> Outcome<()> {
    let value = Bytes::from(vec![b'v'; value_bytes]);
    let due = Timestamp::from_millis(due_ms)?;
    let mut tasks: JoinSet<goku::Result<()>> = JoinSet::new();
    for writer in 0..WRITERS {
        let (client, value) = (clients[writer % clients.len()].clone(), value.clone());
        tasks.spawn(async move {
            for first in (writer * SETS..leases).step_by(WRITERS * SETS) {
                let sets = (first..leases.min(first + SETS)).map(|number| {
                    let set = SetRequest::new(Key::new(format!("/lease/{number}"))?, value.clone());
                    Ok(Operation::Set(SetRequest {
                        expiry: Expiry::At(due),
                        ..set
                    }))
                });
                client
                    .txn(Txn {
                        then: sets.collect::<goku::Result<_>>()?,
                        ..Txn::default()
                    })
                    .await?;
            }
            Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

/// When the last of so many events came.
async fn last_of(mut events: EventStream, count: usize) -> Outcome<Instant> {
    let mut left = count;
    loop {
        let item = timeout(EXPIRY_MAX, events.next()).await;
        match item.map_err(|_| format!("{left} of {count} leases did not end"))? {
            Some(Ok(StreamItem::Event(_))) => left -= 1,
            Some(Ok(StreamItem::Progress(_))) => {}
            Some(Err(error)) => return Err(error.into()),
            None => return Err("the stream of what expires ended".into()),
        }
        if left == 0 {
            return Ok(Instant::now());
        }
    }
}

/// How many Sets there had been, at times.
struct Counts(Vec<(Instant, u64)>);

/// Counts until the load has ended.
async fn count(monitor: Monitor) -> Counts {
    let mut counts = Counts(Vec::new());
    let mut ticks = interval(COUNT_INTERVAL);
    while !monitor.is_stopped() {
        ticks.tick().await;
        let seen = monitor.seen();
        if seen.phase == Phase::Measuring {
            counts.0.push((Instant::now(), seen.done));
        }
    }
    counts
}

impl Counts {
    /// Sets a second between two instants.
    fn rate(&self, from: Instant, to: Instant) -> f64 {
        let mut within = self.0.iter().filter(|(at, _)| *at >= from && *at <= to);
        let (Some(first), Some(last)) = (within.next(), within.next_back()) else {
            return 0.0;
        };
        (last.1 - first.1) as f64 / (last.0 - first.0).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_its_time_only() {
        let begun = Instant::now();
        let at = |millis| begun + Duration::from_millis(millis);
        let counts = Counts(vec![(at(0), 0), (at(1_000), 50), (at(2_000), 150), (at(3_000), 160)]);
        assert_eq!(counts.rate(at(1_000), at(2_500)), 100.0);
        assert_eq!(counts.rate(at(0), at(3_000)), 160.0 / 3.0);
        assert_eq!(counts.rate(at(2_500), at(3_000)), 0.0);
    }
}
