//! Streams, and the Sets that they are to deliver.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use goku::{Client, Event, EventStream, Prefix, Result, SetRequest, StreamFrom, StreamItem, StreamRequest};

use crate::keys::Keys;
use crate::load::Load;
use crate::recorder::Recorder;

/// What a value begins with: when it was sent, in nanoseconds since an instant that writers and streams share.
const STAMP_BYTES: usize = 8;

/// The series of a watch.
const ARRIVAL: usize = 0;
const SET: usize = 1;

/// A stream that tells how long its events were under way.
pub(crate) struct Watcher {
    number: usize,
    events: EventStream,
    recorder: Arc<Recorder>,
    base: Instant,
}

/// A caller that sets keys at a rate.
pub(crate) struct Writer {
    pub(crate) number: usize,
    pub(crate) client: Arc<dyn Client>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) keys: Keys,
    pub(crate) load: Load,
    pub(crate) prefixes: usize,
    pub(crate) sets_per_second: u32,
    pub(crate) base: Instant,
}

impl Watcher {
    /// Opens a stream from the head.
    pub(crate) async fn open(
        number: usize,
        prefix: Prefix,
        client: Arc<dyn Client>,
        recorder: Arc<Recorder>,
        base: Instant,
    ) -> Result<Watcher> {
        let request = StreamRequest::new(prefix).from(StreamFrom::Head);
        Ok(Watcher {
            number,
            events: client.stream(request).await?,
            recorder,
            base,
        })
    }

    /// Follows it until the run is over, or the stream is.
    pub(crate) async fn watch(mut self) {
        let over = self.recorder.clone();
        let mut over = std::pin::pin!(over.over());
        loop {
            let item = tokio::select! {
                item = self.events.next() => item,
                () = &mut over => return,
            };
            match item {
                Some(Ok(StreamItem::Event(event))) => self.arrived(&event),
                Some(Ok(StreamItem::Progress(_))) => {}
                Some(Err(error)) => return self.recorder.failed(self.number, &error),
                None => return,
            }
        }
    }

    fn arrived(&self, event: &Event) {
        let Some(stamp) = event
            .value
            .inline()
            .and_then(|value| value.first_chunk::<STAMP_BYTES>())
        else {
            return;
        };
        let Some(sent) = self.base.checked_add(Duration::from_nanos(u64::from_le_bytes(*stamp))) else {
            return;
        };
        if sent <= Instant::now() {
            let bytes = event.key.as_bytes().len() + event.value.bytes_in_memory();
            self.recorder.call(self.number, ARRIVAL, sent, 1, bytes);
        }
    }
}

impl Writer {
    /// Sets keys, spread over the prefixes, until the run is over.
    pub(crate) async fn work(self) {
        let callers = self.load.callers;
        let period = Duration::from_secs_f64(callers as f64 / f64::from(self.sets_per_second));
        // Evenly: each begins its period when the one before it has come so far.
        let offset = period.mul_f64(self.number as f64 / callers as f64);
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + offset, period);
        let in_prefix = (self.load.keys / self.prefixes).max(1);
        let mut turn = self.number;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.recorder.over() => return,
            }
            let key = self
                .keys
                .in_group(turn % self.prefixes, turn / self.prefixes % in_prefix);
            turn += callers;
            let begun = Instant::now();
            let set = async { self.client.set(SetRequest::new(key?, self.value(begun))).await };
            match set.await {
                Ok(_) => self.recorder.took(self.number, SET, begun),
                Err(error) => self.recorder.failed(self.number, &error),
            }
        }
    }

    fn value(&self, sent: Instant) -> Bytes {
        let nanos = u64::try_from((sent - self.base).as_nanos()).unwrap_or(u64::MAX);
        let mut value = nanos.to_le_bytes().to_vec();
        value.resize(self.load.value_bytes.max(STAMP_BYTES), b'v');
        value.into()
    }
}
