//! The recorder: clients that behave as those that they wrap, and write everything down.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use goku::{
    Client, ConsumerName, Cursor, CursorMove, CursorsRequest, Entry, ErrorKind, Event, EventId, EventStream,
    HistoryRequest, Key, Lease, LeaseId, LeaseKeys, LeaseKeysRequest, LeasesRequest, ListRequest, Listing, Prefix,
    Result, Status, StreamItem, StreamRequest, Write, WriteAnswer, WriteId,
};

use super::{Answer, Call, History, Last, Moment, Request, Subscription};

/// How much of two answers is shown around where they differ.
const DIFFERENCE_CHARS: usize = 200;

/// Writes down what its clients do. Clones write into one history.
#[derive(Clone, Default)]
pub struct Recorder(Arc<Shared>);

#[derive(Default)]
struct Shared {
    moments: AtomicU64,
    clients: AtomicUsize,
    healed: AtomicBool,
    record: Mutex<Record>,
}

#[derive(Default)]
struct Record {
    calls: Vec<Call>,
    streams: Vec<Subscription>,
    /// The calls of writes with numbers.
    numbered: HashMap<WriteId, usize>,
    contradictions: Vec<String>,
}

/// A stream in its reader's hands.
struct Reading {
    recorder: Recorder,
    number: usize,
}

struct Recorded {
    inner: Arc<dyn Client>,
    number: usize,
    recorder: Recorder,
}

impl Recorder {
    /// A client that does what `inner` does.
    pub fn client(&self, inner: Arc<dyn Client>) -> Arc<dyn Client> {
        Arc::new(Recorded {
            inner,
            number: self.0.clients.fetch_add(1, Ordering::SeqCst),
            recorder: self.clone(),
        })
    }

    /// From now on every fault is healed, and writes must succeed.
    pub fn healed(&self) {
        self.0.healed.store(true, Ordering::SeqCst);
    }

    /// How many calls were answered, and how many of them with an error.
    pub fn answered(&self) -> (usize, usize) {
        let record = self.record();
        let answered = record.calls.iter().filter_map(|call| call.returned.as_ref());
        answered.fold((0, 0), |(all, failed), (_, outcome)| {
            (all + 1, failed + usize::from(outcome.is_err()))
        })
    }

    /// How many of the calls that were begun are such.
    pub fn count(&self, is_such: impl Fn(&Call) -> bool) -> usize {
        self.record().calls.iter().filter(|call| is_such(call)).count()
    }

    /// The streams that are read now: what they are of, and how far they have come.
    pub fn open_streams(&self) -> Vec<(Prefix, EventId)> {
        let record = self.record();
        let open = record.streams.iter().filter(|stream| stream.open);
        open.map(|stream| (stream.request.prefix.clone(), stream.position()))
            .collect()
    }

    /// What was written down, with what `store` holds now. Streams that are still read must have delivered all of it.
    pub async fn finish(&self, store: &dyn Client) -> Result<History> {
        let last = Last::read(store).await?;
        let record = self.record();
        Ok(History {
            calls: record.calls.clone(),
            streams: record.streams.clone(),
            last,
            contradictions: record.contradictions.clone(),
        })
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.record.lock().expect("nothing panics while it writes down")
    }

    fn moment(&self) -> Moment {
        self.0.moments.fetch_add(1, Ordering::SeqCst)
    }

    /// Begins another attempt at a write with a number, or the first.
    fn begin_once(&self, client: usize, id: WriteId, request: Request) -> usize {
        let known = self.record().numbered.get(&id).copied();
        known.unwrap_or_else(|| {
            let call = self.begin(client, request);
            self.record().numbered.insert(id, call);
            call
        })
    }

    /// Ends an attempt: what an earlier one left open only an answer can settle, not an attempt that came to nothing.
    fn end_once(&self, call: usize, outcome: Result<Answer>) {
        let moment = self.moment();
        let mut record = self.record();
        let call = &mut record.calls[call];
        let is_answer = match &outcome {
            Ok(_) => true,
            Err(error) => {
                let kind = error.kind();
                !kind.is_retryable() && !matches!(kind, ErrorKind::Config | ErrorKind::Internal)
            }
        };
        let was_open = call.is_unknown() && call.returned.is_some();
        match (&call.returned, &outcome) {
            (Some((_, Ok(first))), Ok(again)) if !are_same(first, again) => {
                let message = format!("{} of {:?}", difference(first, again), call.request);
                record.contradictions.push(message);
            }
            (Some((_, Ok(_))), _) => {}
            _ if was_open && !is_answer => {}
            _ => call.returned = Some((moment, outcome.map_err(|error| error.kind()))),
        }
    }

    fn begin(&self, client: usize, request: Request) -> usize {
        let healed = self.0.healed.load(Ordering::SeqCst);
        let mut record = self.record();
        record.calls.push(Call {
            client,
            request,
            invoked: self.moment(),
            returned: None,
            healed,
        });
        record.calls.len() - 1
    }

    fn end(&self, call: usize, outcome: Result<Answer>) {
        let moment = self.moment();
        self.record().calls[call].returned = Some((moment, outcome.map_err(|error| error.kind())));
    }
}

/// Whether two answers say the same. Where only one of them tells the revision of its snapshot the other is from a server that
/// does not know it: an earlier one, or one that kept the outcome of the write without it.
fn are_same(first: &Answer, again: &Answer) -> bool {
    let rev = |answer: &Answer| match answer {
        Answer::Listing(at, _) => at.rev,
        Answer::Txn(answer) => answer.at.rev,
        Answer::Entry(_) | Answer::Lease(_) => None,
    };
    let have_other_revs = rev(first).zip(rev(again)).is_some_and(|(first, again)| first != again);
    first == again && !have_other_revs
}

/// Two answers from where they differ on.
fn difference(first: &Answer, again: &Answer) -> String {
    let [first, again] = [first, again].map(|answer| format!("{answer:?}"));
    let same = first.chars().zip(again.chars()).take_while(|(one, other)| one == other);
    let at = same.count().saturating_sub(DIFFERENCE_CHARS / 2);
    let part = |text: &str| text.chars().skip(at).take(DIFFERENCE_CHARS).collect::<String>();
    format!("two answers, …{}… and …{}…,", part(&first), part(&again))
}

/// Reads the events of a prefix, from the beginning to the head.
pub async fn read_log(store: &dyn Client, prefix: Prefix) -> Result<Vec<Event>> {
    let request = StreamRequest::new(prefix).to_head();
    let mut items = store.stream(request).await?;
    let mut log = Vec::new();
    while let Some(item) = items.next().await {
        match item {
            Ok(StreamItem::Event(event)) => log.push(event),
            Ok(StreamItem::Progress(_)) => {}
            Err(error) if error.kind() == ErrorKind::HeadReached => break,
            Err(error) => return Err(error),
        }
    }
    Ok(log)
}

impl Last {
    /// Reads the log from its beginning to its head, then all keys, then the status.
    pub async fn read(store: &dyn Client) -> Result<Last> {
        let log = read_log(store, Prefix::default()).await?;
        let listing = store.list(ListRequest::default()).await?;
        let listed_at = listing.at();
        let entries = listing.try_collect().await?;
        let status = store.status().await?;
        Ok(Last {
            log,
            listed_at,
            entries,
            status,
        })
    }
}

impl Recorded {
    /// Writes down one call; one that is given up stays in the record as begun.
    async fn call<T>(
        &self,
        request: Request,
        call: impl Future<Output = Result<T>>,
        answer: impl FnOnce(&T) -> Answer,
    ) -> Result<T> {
        let number = self.recorder.begin(self.number, request);
        let outcome = call.await;
        let answered = outcome.as_ref().map(answer).map_err(Clone::clone);
        self.recorder.end(number, answered);
        outcome
    }
}

impl Reading {
    fn took(&self, item: &Result<StreamItem>) {
        let moment = self.recorder.moment();
        let mut record = self.recorder.record();
        let subscription = &mut record.streams[self.number];
        match item {
            Ok(item) => subscription.items.push((moment, item.clone())),
            Err(error) => {
                subscription.ended = Some((moment, error.kind()));
                subscription.open = false;
            }
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.recorder.record().streams[self.number].open = false;
    }
}

#[async_trait]
impl Client for Recorded {
    async fn get(&self, key: &Key) -> Result<Entry> {
        let call = self.inner.get(key);
        self.call(Request::Get(key.clone()), call, |entry| Answer::Entry(entry.clone()))
            .await
    }

    /// Reads the listing to its end at once.
    async fn list(&self, request: ListRequest) -> Result<Listing> {
        let call = async {
            let listing = self.inner.list(request.clone()).await?;
            let at = listing.at();
            Ok((at, listing.try_collect::<Vec<Entry>>().await?))
        };
        let (at, entries) = self
            .call(Request::List(request.clone()), call, |(at, entries)| {
                Answer::Listing(*at, entries.clone())
            })
            .await?;
        Ok(Listing::new(at, stream::iter(entries.into_iter().map(Ok))))
    }

    async fn write(&self, id: Option<WriteId>, write: Write) -> Result<WriteAnswer> {
        let request = write.clone().into();
        let to_answer = |answer: &WriteAnswer| answer.clone().into();
        let Some(id) = id else {
            return self.call(request, self.inner.write(None, write), to_answer).await;
        };
        let call = self.recorder.begin_once(self.number, id, request);
        let outcome = self.inner.write(Some(id), write).await;
        let answered = outcome.as_ref().map(to_answer).map_err(Clone::clone);
        self.recorder.end_once(call, answered);
        outcome
    }

    async fn get_lease(&self, id: LeaseId) -> Result<Lease> {
        let call = self.inner.get_lease(id);
        self.call(Request::GetLease(id), call, |lease| Answer::Lease(*lease))
            .await
    }

    async fn list_leases(&self, request: LeasesRequest) -> Result<Vec<Lease>> {
        self.inner.list_leases(request).await
    }

    async fn lease_keys(&self, request: LeaseKeysRequest) -> Result<LeaseKeys> {
        self.inner.lease_keys(request).await
    }

    async fn history(&self, request: HistoryRequest) -> Result<goku::History> {
        self.inner.history(request).await
    }

    async fn stream(&self, request: StreamRequest) -> Result<EventStream> {
        let recorder = self.recorder.clone();
        let invoked = recorder.moment();
        let opened = self.inner.stream(request.clone()).await;
        let number = {
            let mut record = recorder.record();
            record.streams.push(Subscription {
                client: self.number,
                request,
                invoked,
                opened_at: opened
                    .as_ref()
                    .map(EventStream::opened_at)
                    .map_err(|error| error.kind()),
                items: Vec::new(),
                ended: None,
                open: opened.is_ok(),
            });
            record.streams.len() - 1
        };
        let opened = opened?;
        let opened_at = opened.opened_at();
        let reading = Reading { recorder, number };
        let items = opened.inspect(move |item| reading.took(item));
        Ok(EventStream::new(opened_at, items))
    }

    async fn status(&self) -> Result<Status> {
        self.inner.status().await
    }

    async fn move_cursors(&self, moves: Vec<CursorMove>) -> Result<Vec<Result<Cursor>>> {
        self.inner.move_cursors(moves).await
    }

    async fn list_cursors(&self, request: CursorsRequest) -> Result<Vec<Cursor>> {
        self.inner.list_cursors(request).await
    }

    async fn delete_cursors(&self, consumer: &ConsumerName) -> Result<u64> {
        self.inner.delete_cursors(consumer).await
    }
}

#[cfg(test)]
mod tests {
    use goku::{Epoch, EventId, Position, Revision, Snapshot, Tag, TxnAnswer};

    use super::*;

    #[test]
    fn answers_are_the_same_whether_or_not_a_server_tells_the_revision_of_its_snapshot() {
        let answer = |succeeded, rev: Option<i64>| {
            Answer::Txn(TxnAnswer {
                succeeded,
                rev: None,
                at: Snapshot {
                    epoch: Epoch::new(1, 2),
                    position: Position {
                        id: EventId::ZERO,
                        tag: Tag::new(3),
                    },
                    rev: rev.map(|rev| Revision::new(rev).unwrap()),
                },
                answers: Vec::new(),
            })
        };
        assert!(are_same(&answer(true, Some(4)), &answer(true, Some(4))));
        assert!(are_same(&answer(true, Some(4)), &answer(true, None)));
        assert!(!are_same(&answer(true, Some(4)), &answer(true, Some(5))));
        assert!(!are_same(&answer(true, Some(4)), &answer(false, Some(4))));
        let shown = difference(&answer(true, Some(4)), &answer(false, Some(4)));
        assert!(shown.contains("true") && shown.contains("false"), "{shown}");
    }
}
