//! What the clients of a store asked, were answered and were told by streams, and what the store held in the end.

mod recorder;

use std::collections::BTreeMap;

use goku::{
    DeleteRequest, Entry, ErrorKind, Event, EventId, Key, Lease, LeaseId, LeaseRequest, ListRequest, Operation,
    Outcome, SetRequest, Snapshot, Status, StreamFrom, StreamItem, StreamRequest, Txn, TxnAnswer, Write, WriteAnswer,
};

pub use recorder::Recorder;
pub use recorder::read_log;

/// A place in the order in which everything recorded happened, counted over all clients.
pub type Moment = u64;

/// Everything that was recorded, and what the store held afterwards.
#[derive(Clone, Debug)]
pub struct History {
    /// Every call, in the order in which they began.
    pub calls: Vec<Call>,
    /// Every stream that was opened, in that order.
    pub streams: Vec<Subscription>,
    /// What was found at the end, with all faults healed.
    pub last: Last,
    /// Writes with a number that were answered twice, and not the same.
    pub contradictions: Vec<String>,
}

/// What a store holds at the end.
#[derive(Clone, Debug)]
pub struct Last {
    /// Every event from the beginning.
    pub log: Vec<Event>,
    /// Of when the entries are.
    pub listed_at: Snapshot,
    /// Every key that exists.
    pub entries: Vec<Entry>,
    /// What the store tells of itself, read after all else.
    pub status: Status,
}

/// One call. All attempts at a write with a number are one.
#[derive(Clone, Debug)]
pub struct Call {
    /// Whose it was.
    pub client: usize,
    /// What was asked.
    pub request: Request,
    /// When it was asked.
    pub invoked: Moment,
    /// What it came to; none where the caller did not wait for it.
    pub returned: Option<(Moment, Result<Answer, ErrorKind>)>,
    /// Whether it was made after the last fault was healed, so that it must succeed.
    pub healed: bool,
}

/// What a client asks.
#[derive(Clone, Debug)]
pub enum Request {
    /// [`get`](goku::Client::get)
    Get(Key),
    /// [`list`](goku::Client::list), to its end
    List(ListRequest),
    /// [`set`](goku::Client::set)
    Set(SetRequest),
    /// [`delete`](goku::Client::delete)
    Delete(DeleteRequest),
    /// [`txn`](goku::Client::txn)
    Txn(Txn),
    /// [`lease`](goku::Client::lease)
    Lease(LeaseRequest),
    /// [`get_lease`](goku::Client::get_lease)
    GetLease(LeaseId),
}

/// What a client is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To a Get, a Set and a Delete.
    Entry(Entry),
    /// To a List.
    Listing(Snapshot, Vec<Entry>),
    /// To a Txn.
    Txn(TxnAnswer),
    /// To what concerns a lease.
    Lease(Lease),
}

impl From<Write> for Request {
    fn from(write: Write) -> Request {
        match write {
            Write::Set(request) => Request::Set(request),
            Write::Delete(request) => Request::Delete(request),
            Write::Txn(txn) => Request::Txn(txn),
            Write::Lease(request) => Request::Lease(request),
        }
    }
}

impl From<WriteAnswer> for Answer {
    fn from(answer: WriteAnswer) -> Answer {
        match answer {
            WriteAnswer::Entry(entry) => Answer::Entry(entry),
            WriteAnswer::Txn(answer) => Answer::Txn(answer),
            WriteAnswer::Lease(lease) => Answer::Lease(lease),
        }
    }
}

/// One stream.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Whose it was.
    pub client: usize,
    /// What was asked.
    pub request: StreamRequest,
    /// When it was asked.
    pub invoked: Moment,
    /// The head when it was opened, or why it was not.
    pub opened_at: Result<Snapshot, ErrorKind>,
    /// What it delivered, and when.
    pub items: Vec<(Moment, StreamItem)>,
    /// What it ended with; none where its reader went first.
    pub ended: Option<(Moment, ErrorKind)>,
    /// Whether it was still read when the history ended, so that it must have delivered everything.
    pub open: bool,
}

impl History {
    /// How much there is of what, in a line for each.
    pub fn summary(&self) -> String {
        let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
        for call in &self.calls {
            let outcome = match &call.returned {
                None => "given up",
                Some((_, Ok(_))) => "ok",
                Some((_, Err(kind))) => kind.name(),
            };
            *outcomes.entry(outcome).or_default() += 1;
        }
        let unknown = self
            .calls
            .iter()
            .filter(|call| call.is_unknown() && !call.sets().is_empty());
        let is_applied = |call: &&Call| {
            let sets = call.sets();
            let mut log = self.last.log.iter();
            log.any(|event| sets.iter().any(|set| set.value == event.value))
        };
        let (applied, not): (Vec<_>, Vec<_>) = unknown.partition(is_applied);
        let delivered: usize = self.streams.iter().map(|stream| stream.items.len()).sum();
        format!(
            "{} calls: {outcomes:?}\n{} events, {} streams, {delivered} items delivered\n\
             unknown outcomes of Sets: {} applied, {} not",
            self.calls.len(),
            self.last.log.len(),
            self.streams.len(),
            applied.len(),
            not.len()
        )
    }
}

impl Call {
    /// When it was answered, and what, where it succeeded.
    pub fn success(&self) -> Option<(Moment, &Answer)> {
        match &self.returned {
            Some((moment, Ok(answer))) => Some((*moment, answer)),
            _ => None,
        }
    }

    /// Why it failed, where it did.
    pub fn failure(&self) -> Option<(Moment, ErrorKind)> {
        match &self.returned {
            Some((moment, Err(kind))) => Some((*moment, *kind)),
            _ => None,
        }
    }

    /// Whether nobody can tell from the outside if it was done.
    pub fn is_unknown(&self) -> bool {
        match self.returned {
            None => true,
            Some((_, Ok(_))) => false,
            // Where it was applied, what it answered is still not known.
            Some((_, Err(kind))) => kind.outcome() != Outcome::NotApplied,
        }
    }

    /// The places in the log that its answer names as its own, in order.
    pub fn events(&self) -> Vec<EventId> {
        let Some((_, answer)) = self.success() else {
            return Vec::new();
        };
        match (&self.request, answer) {
            (Request::Set(_) | Request::Delete(_), Answer::Entry(entry)) => vec![entry.updated_ref],
            (Request::Txn(_), Answer::Txn(answer)) => {
                let written = answer.answers.iter().filter_map(|answer| match answer {
                    goku::OperationAnswer::Set(entry) => Some(entry.updated_ref),
                    goku::OperationAnswer::Delete(entry) => entry.as_ref().map(|entry| entry.updated_ref),
                    goku::OperationAnswer::Get(_) | goku::OperationAnswer::List(_) => None,
                });
                written.collect()
            }
            _ => Vec::new(),
        }
    }

    /// The Sets that it asks for, those of both branches of a transaction.
    pub fn sets(&self) -> Vec<&SetRequest> {
        match &self.request {
            Request::Set(set) => vec![set],
            Request::Txn(txn) => sets_of(&txn.then).chain(sets_of(&txn.otherwise)).collect(),
            _ => Vec::new(),
        }
    }
}

/// The Sets among operations.
pub fn sets_of(operations: &[Operation]) -> impl Iterator<Item = &SetRequest> {
    operations.iter().filter_map(|operation| match operation {
        Operation::Set(set) => Some(set),
        _ => None,
    })
}

impl Subscription {
    /// Where it started; none where it was never opened.
    pub fn start(&self) -> Option<EventId> {
        let opened_at = self.opened_at.ok()?;
        Some(match self.request.from {
            StreamFrom::Beginning => EventId::ZERO,
            StreamFrom::After(id) => id,
            StreamFrom::Resume(position) => position.id,
            StreamFrom::Head => opened_at.position.id,
        })
    }

    /// How far it has come.
    pub fn position(&self) -> EventId {
        let last = self.items.last().map(|(_, item)| match item {
            StreamItem::Event(event) => event.id,
            StreamItem::Progress(at) => at.position.id,
        });
        last.or(self.start()).unwrap_or(EventId::ZERO)
    }

    /// The events that it delivered.
    pub fn events(&self) -> impl Iterator<Item = (Moment, &Event)> {
        self.items.iter().filter_map(|(moment, item)| match item {
            StreamItem::Event(event) => Some((*moment, event)),
            StreamItem::Progress(_) => None,
        })
    }
}
