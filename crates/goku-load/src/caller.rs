//! A caller: one call after another.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use goku::{
    Client, Entry, Error, ErrorKind, Expiry, LeaseId, LeaseRequest, ListRequest, Operation, Result, SetRequest,
    StreamItem, StreamRequest, Txn,
};

use crate::keys::Keys;
use crate::load::Load;
use crate::recorder::Recorder;
use crate::workload::Workload;

/// How long a caller whose call failed waits for its next: where nobody answers, calls fail in no time.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(10);

/// Time to live of the leases that are granted: what is left of them after a run ends by itself.
const LEASE_TTL: Duration = Duration::from_secs(60);

/// Items of a stream or listing that are counted at once.
const ITEMS_AT_ONCE: usize = 64;

/// One caller of a run.
pub(crate) struct Caller {
    number: usize,
    client: Arc<dyn Client>,
    recorder: Arc<Recorder>,
    workload: Workload,
    keys: Keys,
    /// How many keys there are for all callers.
    key_count: usize,
    /// The numbers of its own keys.
    own: std::ops::Range<usize>,
    value: Bytes,
    /// Sets that it has made, in earlier runs too.
    sets: usize,
    random: u64,
    /// The lease that it keeps alive, and how often it did.
    lease: Option<(LeaseId, u32)>,
}

impl Caller {
    /// A caller that made so many Sets before.
    pub(crate) fn new(
        number: usize,
        load: &Load,
        keys: Keys,
        client: Arc<dyn Client>,
        recorder: Arc<Recorder>,
        sets: usize,
    ) -> Caller {
        Caller {
            number,
            client,
            recorder,
            workload: load.workload,
            keys,
            key_count: load.keys,
            own: part(number, load.callers, load.keys),
            value: vec![b'v'; load.value_bytes].into(),
            sets,
            // Any number but 0, and another one for each caller.
            random: 0x9e37_79b9_7f4a_7c15 ^ (number as u64 + 1),
            lease: None,
        }
    }

    /// Makes calls until the run is over; tells its number and the Sets that it has made by then.
    pub(crate) async fn work(mut self) -> (usize, usize) {
        while !self.recorder.is_over() {
            // A client that answers without waiting would never let go of its thread.
            tokio::task::consume_budget().await;
            if let Err(error) = self.call().await {
                self.recorder.failed(self.number, &error);
                tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
            }
        }
        (self.number, self.sets)
    }

    async fn call(&mut self) -> Result<()> {
        match self.workload {
            Workload::Set | Workload::Watch { .. } => self.set(0).await,
            Workload::Get => self.get().await,
            Workload::Mixed { get_percent } => match self.random_below(100) < usize::from(get_percent) {
                true => self.get().await,
                false => self.set(1).await,
            },
            Workload::List { limit } => self.list(limit).await,
            Workload::Replay => self.replay().await,
            Workload::Lease { keep_alives } => self.lease(keep_alives).await,
            Workload::Txn { sets } => self.txn(sets).await,
            Workload::Status => self.status().await,
        }
    }

    async fn set(&mut self, series: usize) -> Result<()> {
        let request = self.next_set()?;
        let bytes = request.key.as_bytes().len() + request.value.bytes_in_memory();
        let begun = Instant::now();
        self.client.set(request).await?;
        self.recorder.call(self.number, series, begun, 1, bytes);
        Ok(())
    }

    async fn get(&mut self) -> Result<()> {
        let number = self.random_below(self.key_count);
        let key = self.keys.key(number)?;
        let begun = Instant::now();
        let entry = self.client.get(&key).await?;
        self.recorder.call(self.number, 0, begun, 1, bytes_of(&entry));
        Ok(())
    }

    async fn txn(&mut self, sets: usize) -> Result<()> {
        let requests: Vec<_> = (0..sets).map(|_| self.next_set()).collect::<Result<_>>()?;
        let bytes = requests
            .iter()
            .map(|set| set.key.as_bytes().len() + set.value.bytes_in_memory());
        let bytes = bytes.sum();
        let txn = Txn {
            then: requests.into_iter().map(Operation::Set).collect(),
            ..Txn::default()
        };
        let begun = Instant::now();
        self.client.txn(txn).await?;
        self.recorder.call(self.number, 0, begun, sets, bytes);
        Ok(())
    }

    async fn status(&mut self) -> Result<()> {
        let begun = Instant::now();
        self.client.status().await?;
        self.recorder.call(self.number, 0, begun, 1, 0);
        Ok(())
    }

    async fn list(&mut self, limit: Option<usize>) -> Result<()> {
        let start = match limit {
            None => None,
            Some(_) => {
                let number = self.random_below(self.key_count);
                Some(self.keys.key(number)?)
            }
        };
        let request = ListRequest {
            start,
            limit,
            ..ListRequest::new(self.keys.prefix().clone())
        };
        let mut pass = Pass::begin(&self.recorder, self.number);
        let mut listing = self.client.list(request).await?;
        while let Some(entry) = listing.next().await {
            if !pass.got(bytes_of(&entry?)) {
                return Ok(());
            }
        }
        pass.end();
        Ok(())
    }

    async fn replay(&mut self) -> Result<()> {
        let request = StreamRequest::new(self.keys.prefix().clone()).to_head();
        let mut pass = Pass::begin(&self.recorder, self.number);
        let mut stream = self.client.stream(request).await?;
        while let Some(item) = stream.next().await {
            let event = match item {
                Ok(StreamItem::Event(event)) => event,
                Ok(StreamItem::Progress(_)) => continue,
                Err(error) if error.kind() == ErrorKind::HeadReached => {
                    pass.end();
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            if !pass.got(event.key.as_bytes().len() + event.value.bytes_in_memory()) {
                return Ok(());
            }
        }
        Err(Error::new(ErrorKind::Internal, "a stream ended without an error"))
    }

    async fn lease(&mut self, keep_alives: u32) -> Result<()> {
        // Taken: a lease whose call failed is left to end by itself.
        let (request, series, next) = match self.lease.take() {
            None => (LeaseRequest::Grant(Expiry::After(LEASE_TTL)), 1, Some(0)),
            Some((id, kept)) if kept < keep_alives => (LeaseRequest::KeepAlive(id), 0, Some(kept + 1)),
            Some((id, _)) => (LeaseRequest::Expire(id), 2, None),
        };
        let begun = Instant::now();
        let lease = self.client.lease(request).await?;
        self.recorder.call(self.number, series, begun, 1, 0);
        self.lease = next.map(|kept| (lease.id, kept));
        Ok(())
    }

    /// A Set of its next key.
    fn next_set(&mut self) -> Result<SetRequest> {
        let key = self.keys.key(self.own.start + self.sets % self.own.len())?;
        self.sets += 1;
        Ok(SetRequest::new(key, self.value.clone()))
    }

    fn random_below(&mut self, end: usize) -> usize {
        (self.next_random() % end as u64) as usize
    }

    /// Marsaglia's xorshift: which key is read only has to be spread.
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

/// One pass over a listing or a log, of which every item counts when it comes: a pass may take longer than a run.
struct Pass<'a> {
    recorder: &'a Recorder,
    caller: usize,
    begun: Instant,
    has_first: bool,
    items: usize,
    bytes: usize,
}

impl Pass<'_> {
    fn begin(recorder: &Recorder, caller: usize) -> Pass<'_> {
        Pass {
            recorder,
            caller,
            begun: Instant::now(),
            has_first: false,
            items: 0,
            bytes: 0,
        }
    }

    /// One more item of so many bytes; whether to go on.
    fn got(&mut self, bytes: usize) -> bool {
        if !self.has_first {
            self.has_first = true;
            self.recorder.took(self.caller, 1, self.begun);
        }
        self.items += 1;
        self.bytes += bytes;
        if self.items < ITEMS_AT_ONCE {
            return true;
        }
        self.count();
        !self.recorder.is_over()
    }

    /// All of it was read.
    fn end(self) {
        self.recorder.took(self.caller, 0, self.begun);
    }

    fn count(&mut self) {
        self.recorder.did(self.items, self.bytes);
        (self.items, self.bytes) = (0, 0);
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.count();
    }
}

fn bytes_of(entry: &Entry) -> usize {
    entry.key.as_bytes().len() + entry.value.bytes_in_memory()
}

/// The part of `all` that belongs to one of `parts`: as large as the others', and never empty.
fn part(number: usize, parts: usize, all: usize) -> std::ops::Range<usize> {
    let start = number * all / parts;
    let end = (number + 1) * all / parts;
    start..end.max(start + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_are_somebodys() {
        let parts: Vec<_> = (0..3).map(|number| part(number, 3, 10)).collect();
        assert_eq!(parts, [0..3, 3..6, 6..10]);
        let shared: Vec<_> = (0..3).map(|number| part(number, 3, 2)).collect();
        assert_eq!(shared, [0..1, 0..1, 1..2]);
    }
}
