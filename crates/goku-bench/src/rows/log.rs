//! The whole of a large store: its log from the beginning, and all its keys.

use std::time::{Duration, Instant};

use futures::StreamExt;
use goku::{Client, ErrorKind, ListRequest, Prefix, StreamItem, StreamRequest};
use goku_load::{Monitor, Workload};
use tokio::time::interval;

use crate::Outcome;
use crate::lab::{self, Goku, Lab};
use crate::results::{Measure, Name, Row};
use crate::subject::Subject;

/// How often a server's memory is looked at.
const MEMORY_INTERVAL: Duration = Duration::from_millis(5);

/// What was read, and how long that took.
struct Reading {
    first: Duration,
    whole: Duration,
    count: usize,
}

pub(super) async fn measure(lab: &mut Lab, rows: &[Row]) -> Outcome<()> {
    for row in rows {
        lab.begin(*row);
    }
    let mut stores = Vec::new();
    for subject in Subject::GOKU {
        let url = lab.database(subject, "log").await?;
        let goku = lab.serve(&url).await?;
        lab.tell(&format!("filling {}", subject.name()));
        let load = lab.load(Workload::Get, 1, lab.options.keys());
        goku.target()?.prepare(&load, &Monitor::default()).await?;
        goku.stop().await?;
        stores.push((subject, url));
    }
    for _ in 0..lab.options.runs() {
        for row in rows {
            for (subject, url) in &stores {
                match row {
                    Row::List => list_all(lab, *subject, url).await?,
                    _ => replay_all(lab, *subject, url).await?,
                }
            }
        }
    }
    Ok(())
}

async fn replay_all(lab: &mut Lab, subject: Subject, url: &str) -> Outcome<()> {
    // A server that has nothing in memory.
    let goku = lab.serve(url).await?;
    let over_grpc = replay(&*goku.clients[0], lab::PREFIX).await?;
    goku.stop().await?;
    let engine = lab::embed(url).await?;
    let embedded = replay(&engine, lab::PREFIX).await;
    engine.close().await;
    for (measure, reading) in [
        (Measure::ReplayRate, over_grpc),
        (Measure::EmbeddedReplayRate, embedded?),
    ] {
        reading.is_whole(lab.options.keys())?;
        lab.add(Row::Replay, Name::new(measure, subject), reading.rate());
    }
    Ok(())
}

async fn list_all(lab: &mut Lab, subject: Subject, url: &str) -> Outcome<()> {
    let goku = lab.serve(url).await?;
    // What the first call of a process costs once is not this one's.
    let few = ListRequest {
        limit: Some(100),
        ..ListRequest::new(Prefix::new(lab::PREFIX)?)
    };
    list(&*goku.clients[0], few).await?;
    let before = goku.process.resident_bytes()?;
    let all = ListRequest::new(Prefix::new(lab::PREFIX)?);
    let (reading, most) = with_memory(&goku, list(&*goku.clients[0], all)).await?;
    goku.stop().await?;
    reading.is_whole(lab.options.keys())?;
    for (measure, figure) in [
        (Measure::ListFirst, lab::micros(reading.first)),
        (Measure::ListRate, reading.rate()),
        (Measure::ListMemory, most.saturating_sub(before) as f64),
    ] {
        lab.add(Row::List, Name::new(measure, subject), figure);
    }
    Ok(())
}

/// Does something, and tells the most memory that the server had meanwhile.
async fn with_memory<T>(goku: &Goku, step: impl Future<Output = Outcome<T>>) -> Outcome<(T, u64)> {
    let mut step = std::pin::pin!(step);
    let mut ticks = interval(MEMORY_INTERVAL);
    let mut most = 0;
    loop {
        tokio::select! {
            ended = &mut step => return Ok((ended?, most.max(goku.process.resident_bytes()?))),
            _ = ticks.tick() => most = most.max(goku.process.resident_bytes()?),
        }
    }
}

/// Reads the log of a prefix from its beginning to its head.
async fn replay(client: &dyn Client, prefix: &str) -> Outcome<Reading> {
    let begun = Instant::now();
    let request = StreamRequest::new(Prefix::new(prefix)?).to_head();
    let mut events = client.stream(request).await?;
    let (mut first, mut count) = (Duration::ZERO, 0);
    while let Some(item) = events.next().await {
        match item {
            Ok(StreamItem::Event(_)) => {
                count += 1;
                if count == 1 {
                    first = begun.elapsed();
                }
            }
            Ok(StreamItem::Progress(_)) => {}
            Err(error) if error.kind() == ErrorKind::HeadReached => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Reading {
        first,
        whole: begun.elapsed(),
        count,
    })
}

/// How long a replay of a prefix takes.
pub(super) async fn replay_time(client: &dyn Client, prefix: &str) -> Outcome<Duration> {
    Ok(replay(client, prefix).await?.whole)
}

async fn list(client: &dyn Client, request: ListRequest) -> Outcome<Reading> {
    let begun = Instant::now();
    let mut entries = client.list(request).await?;
    let (mut first, mut count) = (Duration::ZERO, 0);
    while let Some(entry) = entries.next().await {
        entry?;
        count += 1;
        if count == 1 {
            first = begun.elapsed();
        }
    }
    Ok(Reading {
        first,
        whole: begun.elapsed(),
        count,
    })
}

impl Reading {
    fn rate(&self) -> f64 {
        self.count as f64 / self.whole.as_secs_f64()
    }

    /// A part of what there is would be read sooner.
    fn is_whole(&self, keys: usize) -> Outcome<()> {
        if self.count == keys {
            return Ok(());
        }
        Err(format!("{} of {keys} were read", self.count).into())
    }
}
