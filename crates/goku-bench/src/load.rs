//! The load: callers that each make one call after another.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::ValueEnum;
use goku::{Client, Key, Result, SetRequest};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use crate::Outcome;

/// Keys that one caller sets, in turn.
const KEYS_PER_CALLER: u64 = 1_000;

/// Keys that a caller sets before it gets, where it has none.
const KEYS_TO_GET: u64 = 16;

/// Precision of the latencies: three digits.
const SIGNIFICANT_DIGITS: u8 = 3;

/// A call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Operation {
    /// Sets the caller's keys, `/bench/<caller>/<n>`, one after another.
    Set,
    /// Gets keys that the caller has set, at random.
    Get,
    /// Asks for the status: next to nothing is sent either way.
    Status,
}

/// How a load is put on.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) operation: Operation,
    pub(crate) callers: usize,
    pub(crate) value: Bytes,
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Measured {
    /// Calls that succeeded.
    pub(crate) calls: u64,
    pub(crate) calls_per_second: f64,
    /// Of the calls that succeeded, in microseconds.
    pub(crate) latencies: Histogram<u64>,
    /// Calls that failed, by kind and message.
    pub(crate) errors: BTreeMap<String, u64>,
}

/// One caller, and what it remembers from one load to the next.
#[derive(Debug)]
pub(crate) struct Caller {
    number: usize,
    sets: u64,
    random: u64,
}

/// What one caller saw.
#[derive(Default)]
struct Samples {
    micros: Vec<u32>,
    errors: BTreeMap<String, u64>,
}

impl Load {
    /// Makes as many callers as are needed, each with keys to get.
    pub(crate) async fn prepare(&self, clients: &[Arc<dyn Client>], callers: &mut Vec<Caller>) -> Outcome<()> {
        callers.extend((callers.len()..self.callers).map(Caller::new));
        if self.operation != Operation::Get {
            return Ok(());
        }
        let mut tasks = JoinSet::new();
        for mut caller in callers.drain(..) {
            let (client, value) = (client_of(&caller, clients), self.value.clone());
            tasks.spawn(async move { caller.fill(&*client, &value).await.map(|()| caller) });
        }
        while let Some(caller) = tasks.join_next().await {
            callers.push(caller?.map_err(|error| format!("a key to get later could not be set: {error:?}"))?);
        }
        callers.sort_by_key(|caller| caller.number);
        Ok(())
    }

    /// Puts the load on, spread evenly over the clients, and counts the calls that end in `progress`.
    pub(crate) async fn run(
        &self,
        clients: &[Arc<dyn Client>],
        callers: &mut Vec<Caller>,
        progress: &Arc<AtomicU64>,
    ) -> Outcome<Measured> {
        let idle = callers.split_off(self.callers);
        let begin = Instant::now() + self.warm_up;
        let end = begin + self.duration;
        let mut tasks = JoinSet::new();
        for mut caller in callers.drain(..) {
            let (client, progress) = (client_of(&caller, clients), progress.clone());
            let (operation, value) = (self.operation, self.value.clone());
            tasks.spawn(async move {
                let samples = caller.work(&*client, operation, &value, begin..end, &progress).await;
                (caller, samples)
            });
        }
        let mut measured = Measured {
            calls: 0,
            calls_per_second: 0.0,
            latencies: Histogram::new(SIGNIFICANT_DIGITS)?,
            errors: BTreeMap::new(),
        };
        while let Some(ended) = tasks.join_next().await {
            let (caller, samples) = ended?;
            callers.push(caller);
            measured.add(samples)?;
        }
        measured.calls_per_second = measured.calls as f64 / self.duration.as_secs_f64();
        callers.sort_by_key(|caller| caller.number);
        callers.extend(idle);
        Ok(measured)
    }
}

impl Measured {
    fn add(&mut self, samples: Samples) -> Outcome<()> {
        self.calls += samples.micros.len() as u64;
        for micros in samples.micros {
            self.latencies.record(micros.into())?;
        }
        for (error, count) in samples.errors {
            *self.errors.entry(error).or_default() += count;
        }
        Ok(())
    }
}

impl Caller {
    fn new(number: usize) -> Caller {
        Caller {
            number,
            sets: 0,
            random: 0x9e37_79b9_7f4a_7c15 ^ (number as u64 + 1),
        }
    }

    /// Sets some keys where there are none.
    async fn fill(&mut self, client: &dyn Client, value: &Bytes) -> Result<()> {
        if self.sets == 0 {
            for _ in 0..KEYS_TO_GET {
                self.call(client, Operation::Set, value).await?;
            }
        }
        Ok(())
    }

    /// Makes calls until the end, and tells of those that began and ended within the window.
    async fn work(
        &mut self,
        client: &dyn Client,
        operation: Operation,
        value: &Bytes,
        window: std::ops::Range<Instant>,
        progress: &AtomicU64,
    ) -> Samples {
        let mut samples = Samples::default();
        loop {
            let begun = Instant::now();
            if begun >= window.end {
                return samples;
            }
            let outcome = self.call(client, operation, value).await;
            let ended = Instant::now();
            progress.fetch_add(1, Ordering::Relaxed);
            if begun < window.start || ended > window.end {
                continue;
            }
            match outcome {
                Ok(()) => {
                    let micros = u32::try_from((ended - begun).as_micros()).unwrap_or(u32::MAX);
                    samples.micros.push(micros);
                }
                Err(error) => {
                    *samples
                        .errors
                        .entry(format!("{:?}: {error}", error.kind()))
                        .or_default() += 1
                }
            }
        }
    }

    async fn call(&mut self, client: &dyn Client, operation: Operation, value: &Bytes) -> Result<()> {
        match operation {
            Operation::Set => {
                let key = self.key(self.sets % KEYS_PER_CALLER)?;
                self.sets += 1;
                client.set(SetRequest::new(key, value.clone())).await.map(drop)
            }
            Operation::Get => {
                let known = self.sets.clamp(1, KEYS_PER_CALLER);
                let number = self.next_random() % known;
                let key = self.key(number)?;
                client.get(&key).await.map(drop)
            }
            Operation::Status => client.status().await.map(drop),
        }
    }

    fn key(&self, number: u64) -> Result<Key> {
        Key::new(format!("/bench/{}/{number}", self.number))
    }

    /// Marsaglia's xorshift: which key is got only has to be spread.
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

/// Callers are spread over the clients evenly, however many they are.
fn client_of(caller: &Caller, clients: &[Arc<dyn Client>]) -> Arc<dyn Client> {
    clients[caller.number % clients.len()].clone()
}
