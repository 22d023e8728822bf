//! Where callers leave what they measure.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use goku::{Error, ErrorKind, Result};
use hdrhistogram::Histogram;
use tokio_util::sync::CancellationToken;

use crate::measured::{Failed, Measured, Series};
use crate::monitor::{Monitor, Phase};
use crate::workload::Workload;

/// Precision of the latencies: three digits.
const SIGNIFICANT_DIGITS: u8 = 3;

/// Parts that callers are spread over, so that they seldom wait for each other; each has histograms of up to 200 kB.
const SHARDS: usize = 16;

/// The samples of one run, and the time that it measures.
pub(crate) struct Recorder {
    workload: Workload,
    monitor: Monitor,
    over: CancellationToken,
    count: AtomicU64,
    bytes: AtomicU64,
    shards: Vec<Mutex<Shard>>,
}

struct Shard {
    /// One for each series of the workload, in microseconds.
    latencies: Vec<Histogram<u64>>,
    errors: BTreeMap<&'static str, Failed>,
}

impl Recorder {
    pub(crate) fn new(workload: Workload, monitor: Monitor) -> Result<Recorder> {
        let shards = (0..SHARDS).map(|_| Shard::new(workload).map(Mutex::new));
        Ok(Recorder {
            workload,
            monitor,
            over: CancellationToken::new(),
            count: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            shards: shards.collect::<Result<_>>()?,
        })
    }

    /// Begins the first phase of a run: before the first call.
    pub(crate) fn begin(&self, warm_up: Duration) {
        let phase = match warm_up {
            Duration::ZERO => Phase::Measuring,
            _ => Phase::WarmingUp,
        };
        self.monitor.begin(phase, 0);
    }

    /// Goes through the phases of a run, or as far as it is let; tells the time that was measured.
    pub(crate) async fn measure(&self, warm_up: Duration, duration: Duration) -> Duration {
        if !warm_up.is_zero() {
            self.pass(warm_up).await;
            self.monitor.begin(Phase::Measuring, 0);
        }
        let begun = Instant::now();
        self.pass(duration).await;
        let elapsed = begun.elapsed();
        // In this order, so that no caller begins a call that is not counted.
        self.over.cancel();
        self.monitor.begin(Phase::Ended, 0);
        elapsed
    }

    async fn pass(&self, duration: Duration) {
        tokio::select! {
            () = tokio::time::sleep(duration) => {}
            () = self.monitor.stopped() => {}
        }
    }

    /// Whether callers are to end.
    pub(crate) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Completes when callers are to end.
    pub(crate) async fn over(&self) {
        self.over.cancelled().await;
    }

    /// A call of a caller of this number was answered: it did so many units of so many bytes.
    pub(crate) fn call(&self, caller: usize, series: usize, begun: Instant, count: usize, bytes: usize) {
        self.monitor.done(count as u64);
        if self.is_measuring() {
            self.time(caller, series, begun);
            self.count(count, bytes);
        }
    }

    /// A part of a call is done, or a call whose units count one by one.
    pub(crate) fn took(&self, caller: usize, series: usize, begun: Instant) {
        if self.is_measuring() {
            self.time(caller, series, begun);
        }
    }

    /// So many units came, of so many bytes.
    pub(crate) fn did(&self, count: usize, bytes: usize) {
        self.monitor.done(count as u64);
        if self.is_measuring() {
            self.count(count, bytes);
        }
    }

    /// A call that failed.
    pub(crate) fn failed(&self, caller: usize, error: &Error) {
        self.monitor.failed();
        if self.monitor.phase() == Phase::WarmingUp {
            return;
        }
        let kind = error.kind();
        let mut shard = self.shard(caller);
        let failed = shard.errors.entry(kind.name()).or_insert_with(|| Failed {
            kind,
            count: 0,
            message: error.to_string(),
        });
        failed.count += 1;
    }

    /// All that was recorded in the time that was measured.
    pub(crate) fn measured(&self, elapsed: Duration) -> Result<Measured> {
        let mut all = Shard::new(self.workload)?;
        for shard in 0..SHARDS {
            all.add(&self.shard(shard))?;
        }
        let names = self.workload.series().iter();
        Ok(Measured {
            elapsed,
            unit: self.workload.unit(),
            count: self.count.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            series: names
                .zip(all.latencies)
                .map(|(name, latencies)| Series { name, latencies })
                .collect(),
            errors: all.errors,
        })
    }

    fn time(&self, caller: usize, series: usize, begun: Instant) {
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        // It grows as it needs to: every latency has a place.
        let _ = self.shard(caller).latencies[series].record(micros);
    }

    fn count(&self, count: usize, bytes: usize) {
        self.count.fetch_add(count as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn is_measuring(&self) -> bool {
        self.monitor.phase() == Phase::Measuring
    }

    fn shard(&self, caller: usize) -> MutexGuard<'_, Shard> {
        let shard = self.shards[caller % SHARDS].lock();
        // Samples are whole at any time.
        shard.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    fn new(workload: Workload) -> Result<Shard> {
        let latencies = workload.series().iter().map(|_| {
            Histogram::new(SIGNIFICANT_DIGITS)
                .map_err(|error| Error::new(ErrorKind::Internal, "no histogram").with_source(error))
        });
        Ok(Shard {
            latencies: latencies.collect::<Result<_>>()?,
            errors: BTreeMap::new(),
        })
    }

    fn add(&mut self, other: &Shard) -> Result<()> {
        for (sum, part) in self.latencies.iter_mut().zip(&other.latencies) {
            sum.add(part)
                .map_err(|error| Error::new(ErrorKind::Internal, "histograms do not add up").with_source(error))?;
        }
        for (kind, failed) in &other.errors {
            self.errors
                .entry(kind)
                .and_modify(|sum| sum.count += failed.count)
                .or_insert_with(|| failed.clone());
        }
        Ok(())
    }
}
