//! What loads are put on.

use std::sync::Arc;
use std::time::Instant;

use goku::{Client, Error, ErrorKind, Prefix, Result};
use tokio::task::JoinSet;

use crate::caller::Caller;
use crate::fill;
use crate::keys::Keys;
use crate::load::Load;
use crate::measured::Measured;
use crate::monitor::{Monitor, Phase};
use crate::recorder::Recorder;
use crate::watch::{Watcher, Writer};
use crate::workload::Workload;

/// A store, and the clients by which callers reach it.
///
/// Writes keys below its prefix only, and reads those. It removes none: see [`OwnPrefix`](crate::OwnPrefix).
pub struct Target {
    clients: Vec<Arc<dyn Client>>,
    keys: Keys,
    /// How many keys were made, from the first on.
    filled: usize,
    /// Sets of each caller, by its number, in all runs: the next run goes on with the next key.
    sets: Vec<usize>,
    /// What the times that values carry are counted from.
    base: Instant,
}

impl Target {
    /// A store that is reached by any of `clients`; callers and streams are spread over them evenly. `InvalidArgument`
    /// without a client, `InvalidKey` for a prefix of more than 231 bytes.
    pub fn new(clients: Vec<Arc<dyn Client>>, prefix: Prefix) -> Result<Target> {
        if clients.is_empty() {
            return Err(Error::new(ErrorKind::InvalidArgument, "a load needs a client"));
        }
        Ok(Target {
            clients,
            keys: Keys::new(prefix)?,
            filled: 0,
            sets: Vec::new(),
            base: Instant::now(),
        })
    }

    /// Makes the keys that the load reads, where they are missing. One that is there is left with the value that it has.
    ///
    /// Fails as the first call does that fails, and where the load is none ([`Load::check`]).
    pub async fn prepare(&mut self, load: &Load, monitor: &Monitor) -> Result<()> {
        load.check()?;
        if load.workload.reads_keys() && load.keys > self.filled && !monitor.is_stopped() {
            let value = vec![b'v'; load.value_bytes].into();
            fill::fill(&self.clients, &self.keys, load.keys, value, monitor).await?;
            if !monitor.is_stopped() {
                self.filled = load.keys;
            }
        }
        Ok(())
    }

    /// Puts the load on, and tells what came of it: for as long as the load says, or until the monitor is told to stop.
    /// A call that has begun is waited for.
    ///
    /// Calls that fail are counted. Fails itself where a stream of [`Workload::Watch`] cannot be opened, and where the
    /// load is none.
    pub async fn run(&mut self, load: &Load, monitor: &Monitor) -> Result<Measured> {
        load.check()?;
        let recorder = Arc::new(Recorder::new(load.workload, monitor.clone())?);
        let mut watchers = JoinSet::new();
        let mut callers = JoinSet::new();
        if let Workload::Watch {
            streams,
            prefixes,
            sets_per_second,
        } = load.workload
        {
            let opened = self.open(streams, prefixes, &recorder, monitor).await?;
            recorder.begin(load.warm_up);
            for watcher in opened {
                watchers.spawn(watcher.watch());
            }
            for number in 0..load.callers {
                watchers.spawn(self.writer(number, load, prefixes, sets_per_second, &recorder).work());
            }
        } else {
            recorder.begin(load.warm_up);
            self.sets.resize(self.sets.len().max(load.callers), 0);
            for number in 0..load.callers {
                callers.spawn(self.caller(number, load, &recorder).work());
            }
        }
        let elapsed = recorder.measure(load.warm_up, load.duration).await;
        while let Some(ended) = callers.join_next().await {
            let (number, sets) = ended.map_err(failed)?;
            self.sets[number] = sets;
        }
        while let Some(ended) = watchers.join_next().await {
            ended.map_err(failed)?;
        }
        recorder.measured(elapsed)
    }

    /// Opens streams, spread over clients and prefixes.
    async fn open(
        &self,
        streams: usize,
        prefixes: usize,
        recorder: &Arc<Recorder>,
        monitor: &Monitor,
    ) -> Result<Vec<Watcher>> {
        monitor.begin(Phase::Preparing, streams as u64);
        let mut opening = JoinSet::new();
        for number in 0..streams {
            let prefix = self.keys.group(number % prefixes)?;
            let (client, recorder) = (self.client(number), recorder.clone());
            opening.spawn(Watcher::open(number, prefix, client, recorder, self.base));
        }
        let mut watchers = Vec::with_capacity(streams);
        while let Some(opened) = opening.join_next().await {
            let opened = opened.map_err(failed)?;
            watchers.push(opened.map_err(|error| error.context("a stream could not be opened"))?);
            monitor.done(1);
        }
        Ok(watchers)
    }

    fn writer(
        &self,
        number: usize,
        load: &Load,
        prefixes: usize,
        sets_per_second: u32,
        recorder: &Arc<Recorder>,
    ) -> Writer {
        Writer {
            number,
            client: self.client(number),
            recorder: recorder.clone(),
            keys: self.keys.clone(),
            load: load.clone(),
            prefixes,
            sets_per_second,
            base: self.base,
        }
    }

    fn caller(&self, number: usize, load: &Load, recorder: &Arc<Recorder>) -> Caller {
        let client = self.client(number);
        Caller::new(
            number,
            load,
            self.keys.clone(),
            client,
            recorder.clone(),
            self.sets[number],
        )
    }

    fn client(&self, number: usize) -> Arc<dyn Client> {
        self.clients[number % self.clients.len()].clone()
    }
}

fn failed(error: tokio::task::JoinError) -> Error {
    Error::new(ErrorKind::Internal, "a caller failed").with_source(error)
}
