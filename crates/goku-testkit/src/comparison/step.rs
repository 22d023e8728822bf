//! One step of a comparison, and its answer in a form that can be compared.

use std::time::Duration;

use futures::TryStreamExt;
use goku::{
    Client, DeleteRequest, Entry, ErrorKind, EventId, HistoryRequest, Key, Lease, LeaseId, LeaseKeys, LeaseKeysRequest,
    LeaseRequest, LeasesRequest, ListRequest, Result, SetRequest, Snapshot, Tag, Timestamp, Txn, TxnAnswer,
};

/// A call, or a passing of time.
#[derive(Clone, Debug)]
pub enum Step {
    /// Reads a key.
    Get(Key),
    /// Lists keys.
    List(ListRequest),
    /// Sets a key.
    Set(SetRequest),
    /// Deletes a key.
    Delete(DeleteRequest),
    /// Decides a transaction.
    Txn(Txn),
    /// Changes a lease.
    Lease(LeaseRequest),
    /// Reads a lease.
    GetLease(LeaseId),
    /// Lists leases.
    ListLeases(LeasesRequest),
    /// Lists the keys of a lease.
    LeaseKeys(LeaseKeysRequest),
    /// Reads the history of a key.
    History(HistoryRequest),
    /// Moves the clock, where there is one to move.
    Advance(Duration),
}

/// What a step answers.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    Entry(Entry),
    Entries(EventId, Vec<Entry>),
    Txn(TxnAnswer),
    Leases(Vec<Lease>),
    LeaseKeys(LeaseKeys),
    /// Places of events, of which the logs are compared, too.
    History(Vec<EventId>, Option<EventId>),
    Nothing,
}

/// Takes a step; of an error only the kind.
pub(super) async fn perform(client: &dyn Client, step: &Step) -> Result<Answer, ErrorKind> {
    answer(client, step).await.map_err(|error| error.kind())
}

async fn answer(client: &dyn Client, step: &Step) -> Result<Answer> {
    Ok(match step.clone() {
        Step::Get(key) => Answer::Entry(client.get(&key).await?),
        Step::List(request) => {
            let listing = client.list(request).await?;
            Answer::Entries(listing.at().position.id, listing.try_collect().await?)
        }
        Step::Set(request) => Answer::Entry(client.set(request).await?),
        Step::Delete(request) => Answer::Entry(client.delete(request).await?),
        Step::Txn(txn) => {
            let answer = client.txn(txn).await?;
            Answer::Txn(TxnAnswer {
                at: without_chance(answer.at),
                ..answer
            })
        }
        Step::Lease(request) => Answer::Leases(vec![client.lease(request).await?]),
        Step::GetLease(id) => Answer::Leases(vec![client.get_lease(id).await?]),
        Step::ListLeases(request) => Answer::Leases(client.list_leases(request).await?),
        Step::LeaseKeys(request) => Answer::LeaseKeys(client.lease_keys(request).await?),
        Step::History(request) => {
            let page = client.history(request).await?;
            Answer::History(page.events.iter().map(|event| event.id).collect(), page.rest)
        }
        Step::Advance(_) => Answer::Nothing,
    })
}

/// The snapshot without its random parts, and with its revision in the place of one.
fn without_chance(at: Snapshot) -> Snapshot {
    let mut plain = Snapshot::default();
    plain.position.id = at.position.id;
    // Which says as much and is compared.
    plain.position.tag = Tag::new(at.rev.unwrap_or_default().get().unsigned_abs());
    plain
}

impl Answer {
    /// The same without the time of the store, and without deadlines that were reckoned from it.
    pub(super) fn without_times(self) -> Answer {
        match self {
            Answer::Leases(leases) => Answer::Leases(leases.into_iter().map(without_times).collect()),
            other => other,
        }
    }
}

fn without_times(lease: Lease) -> Lease {
    Lease {
        now: Timestamp::default(),
        expires_at: match lease.ttl {
            Some(_) => lease.expires_at.map(|_| Timestamp::default()),
            None => lease.expires_at,
        },
        ..lease
    }
}
