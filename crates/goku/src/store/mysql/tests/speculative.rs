//! Batches that were decided without a lock.

use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::faults::{COMMITS, HeldCommits, WAITS_FOR_HEAD, hold_head, session_that, soon};
use super::writing::no_transaction_is_open;
use super::*;
use crate::clock::Timestamp;
use crate::decide::{Preconditions, State, first_needs};
use crate::engine::pipeline::{Changes, Speculation};
use crate::event::EventType;
use crate::lease::Expiry;
use crate::observe::Stopwatch;
use crate::store::{Pipelined as _, Prewrite};

/// A batch with its decision.
pub(super) struct Speculative {
    batch: Arc<Batch>,
    decision: Decision,
    pub(super) preconditions: Preconditions,
}

/// A batch on its way, and what tells that it has begun.
pub(super) struct Sent {
    pub(super) outcome: JoinHandle<Result<Option<Decision>, WriteError>>,
    pub(super) begun: oneshot::Receiver<()>,
}

impl Speculative {
    /// Decides requests on what the store has now and what batches on their way make of it.
    pub(super) async fn after(
        store: &MySqlStore,
        on_their_way: &[&Speculative],
        requests: Vec<Request>,
    ) -> Speculative {
        let needs = first_needs(&requests);
        let read = store.read_ahead(&needs).await.unwrap().unwrap();
        let seen = read.state.head;
        let mut speculation = Speculation::default();
        for before in on_their_way {
            speculation.wrote(Changes::from(&before.decision));
        }
        let state = speculation.predict(read, &needs, &seen).unwrap();
        Speculative::on(state, requests)
    }

    /// Decides requests with all keys assumed to be absent.
    pub(super) async fn assuming(store: &MySqlStore, requests: Vec<Request>) -> Speculative {
        let mut speculation = Speculation::default();
        speculation.assume_at_once();
        let other = first_needs(&[set("other", "")]);
        let read = store.read_ahead(&other).await.unwrap().unwrap();
        let seen = read.state.head;
        speculation.predict(read, &other, &seen).unwrap();
        let state = speculation.predict_known(&first_needs(&requests), &seen).unwrap();
        Speculative::on(state, requests)
    }

    /// A batch of changes of all kinds, on keys that are there and keys that are not.
    pub(super) async fn of_some_changes(store: &MySqlStore) -> Speculative {
        write(store, [set("a", "1"), set("b", "1")]).await;
        let requests = vec![set("a", "2"), delete("b"), set("c", "1"), delete("none"), set("a", "3")];
        Speculative::after(store, &[], requests).await
    }

    /// A Set of `k`, whose lease ends so long after it was set, and when that is.
    pub(super) async fn beside_a_lease_of(ttl: Duration, store: &MySqlStore) -> (Speculative, Timestamp) {
        let ending = SetRequest::new(key("k"), "1").expiry(Expiry::After(ttl));
        loop {
            write(store, [Request::Set(ending.clone())]).await;
            let speculative = Speculative::after(store, &[], vec![set("k", "2")]).await;
            // Where this took longer than the lease lives, again.
            if let Some(until) = speculative.preconditions.until {
                return (speculative, until);
            }
        }
    }

    /// Moves the decision ahead, as if the clock of the database had gone back since; returns its time.
    pub(super) fn decided_ahead(&mut self) -> Timestamp {
        let decided = self.decision.head.last_time.saturating_add(Duration::from_secs(600));
        self.decision.move_to(decided);
        decided
    }

    fn on(state: State, requests: Vec<Request>) -> Speculative {
        let batch = batch_having_seen(state.head, requests);
        let decision = batch.decide(&state).unwrap();
        let preconditions = state.into_preconditions();
        Speculative {
            batch,
            decision,
            preconditions,
        }
    }

    fn send(&self, store: &Arc<MySqlStore>) -> Sent {
        self.send_as(store, None)
    }

    pub(super) fn send_as(&self, store: &Arc<MySqlStore>, prewrite: Option<Prewrite>) -> Sent {
        let (begin, begun) = oneshot::channel();
        let store = store.clone();
        let (decision, preconditions) = (self.decision.clone(), self.preconditions.clone());
        let outcome = tokio::spawn(async move {
            let mut watch = Stopwatch::start(tokio::time::Instant::now());
            store
                .write_speculative(decision, &preconditions, prewrite, begin, &mut watch)
                .await
        });
        Sent { outcome, begun }
    }

    pub(super) async fn write(&self, store: &Arc<MySqlStore>) -> Result<Option<Decision>, WriteError> {
        self.send(store).outcome.await.unwrap()
    }
}

/// The store is as such a [batch](Speculative::of_some_changes) leaves it when it is written under the lock.
pub(super) async fn some_changes_are_there(decision: &Decision, store: &MySqlStore, database: &Database) {
    assert_eq!(event_ids(decision), [3, 4, 5, 6]);
    assert_eq!(
        error_kinds(decision),
        [None, None, None, Some(ErrorKind::NotFound), None]
    );
    assert_eq!(store.head().await.unwrap().0, decision.head);
    let a = get(store, "a").await.unwrap();
    assert_eq!((a.version.get(), a.value), (3, Some("3".into())));
    assert!(get(store, "b").await.unwrap().deleted_ref.is_some());
    let events = store.events(all_events(decision.head.last_event)).await.unwrap().events;
    assert_eq!(events[2..], decision.events);
    no_transaction_is_open(database).await;
}

#[tokio::test]
async fn a_speculative_batch_leaves_what_one_under_the_lock_leaves() {
    let database = Database::create().await;
    let store = Arc::new(database.store().await);
    let speculative = Speculative::of_some_changes(&store).await;
    let sent = speculative.send(&store);
    let decision = sent.outcome.await.unwrap().unwrap().unwrap();
    sent.begun.await.unwrap();
    some_changes_are_there(&decision, &store, &database).await;
}

#[tokio::test]
async fn a_batch_that_others_overtook_leaves_nothing_and_locks_nothing() {
    let database = Database::create().await;
    let store = Arc::new(database.store().await);
    let other = database.store().await;
    let speculative = Speculative::after(&store, &[], vec![set("k", "mine")]).await;
    write(&other, [set("k", "others")]).await;
    let mut holder = hold_head(&database).await;
    let sent = speculative.send(&store);
    let mut observer = database.connect().await;
    soon("the batch", session_that(&mut observer, &database, WAITS_FOR_HEAD)).await;
    holder.query_drop("commit").await.unwrap();
    assert!(soon("its end", sent.outcome).await.unwrap().unwrap().is_none());
    assert_eq!(get(&store, "k").await.unwrap().value.unwrap(), "others");
    no_transaction_is_open(&database).await;
    // The connection goes on.
    let again = Speculative::after(&store, &[], vec![set("k", "mine")]).await;
    assert_eq!(event_ids(&again.write(&store).await.unwrap().unwrap()), [2]);
}

/// The number of other keys makes no difference, nor whether that one is written: the keys take more than one list.
#[tokio::test]
async fn a_batch_is_not_written_where_a_key_that_it_assumes_absent_is_not() {
    let database = Database::create().await;
    let store = Arc::new(database.store().await);
    write(&store, [set("old", "1"), set("gone", "1"), delete("gone")]).await;
    let head = store.head().await.unwrap().0;
    for last in [set("old", "2"), set("gone", "2"), delete("old"), delete("gone")] {
        let mut requests: Vec<_> = (0..600).map(|number| set(&format!("new/{number}"), "1")).collect();
        requests.push(last);
        let speculative = Speculative::assuming(&store, requests).await;
        assert_eq!(speculative.preconditions.absent.len(), 601);
        assert!(speculative.write(&store).await.unwrap().is_none());
        no_transaction_is_open(&database).await;
        assert_eq!(store.head().await.unwrap().0, head);
    }
    for last in [set("last", "1"), delete("never")] {
        let requests = vec![set(&format!("new/{last:?}"), "1"), last];
        let speculative = Speculative::assuming(&store, requests).await;
        assert!(speculative.write(&store).await.unwrap().is_some());
    }
    assert_eq!(get(&store, "last").await.unwrap().version.get(), 1);
}

#[tokio::test]
async fn a_batch_that_fails_its_condition_does_not_keep_the_head_locked() {
    let database = Database::create().await;
    let store = database.store().await;
    write(&store, [set("k", "1")]).await;
    // The statements of such a batch, on a connection that then stands still with its transaction open.
    let mut stalled = database.connect().await;
    stalled
        .query_drop("set session transaction isolation level read committed")
        .await
        .unwrap();
    stalled.query_drop("begin").await.unwrap();
    stalled
        .query_drop("update head set last_rev = 99 where id = 1 and batch = 0")
        .await
        .unwrap();
    assert_eq!(event_ids(&write(&store, [set("k", "2")]).await), [2]);
    stalled.query_drop("rollback").await.unwrap();
}

#[tokio::test]
async fn batches_that_are_on_their_way_together_follow_each_other() {
    let database = Database::create().await;
    let store = Arc::new(database.store().await);
    write(&store, [set("k", "0")]).await;
    let mut holder = hold_head(&database).await;
    let mut observer = database.connect().await;
    let first = Speculative::after(&store, &[], vec![set("k", "1")]).await;
    let mut sent = vec![first.send(&store)];
    let waiting = soon("the first", session_that(&mut observer, &database, WAITS_FOR_HEAD)).await;
    let second = Speculative::after(&store, &[&first], vec![set("k", "2"), set("l", "1")]).await;
    sent.push(second.send(&store));
    let others = format!("{WAITS_FOR_HEAD} and id <> {waiting}");
    soon("the second", session_that(&mut observer, &database, &others)).await;
    assert!(sent.iter_mut().all(|sent| sent.begun.try_recv().is_err()));
    holder.query_drop("rollback").await.unwrap();
    let mut ids = Vec::new();
    for sent in sent {
        ids.extend(event_ids(
            &soon("the end", sent.outcome).await.unwrap().unwrap().unwrap(),
        ));
    }
    assert_eq!(ids, [2, 3, 4]);
    assert_eq!(get(&store, "k").await.unwrap().version.get(), 3);
}

#[tokio::test]
async fn what_follows_a_batch_that_was_not_written_is_not_written() {
    let database = Database::create().await;
    let store = Arc::new(database.store().await);
    write(&store, [set("k", "0")]).await;
    let first = Speculative::after(&store, &[], vec![set("k", "1")]).await;
    let second = Speculative::after(&store, &[&first], vec![set("k", "2")]).await;
    assert!(second.write(&store).await.unwrap().is_none());
    assert!(first.write(&store).await.unwrap().is_some());
    assert!(second.write(&store).await.unwrap().is_some());
    assert_eq!(get(&store, "k").await.unwrap().version.get(), 3);
}

/// Lets a batch wait for the lock of the head until that time of the store.
async fn write_held_until(
    time: Timestamp,
    speculative: &Speculative,
    store: &Arc<MySqlStore>,
    database: &Database,
) -> Result<Option<Decision>, WriteError> {
    let mut holder = hold_head(database).await;
    let mut observer = database.connect().await;
    let sent = speculative.send(store);
    soon("the batch", session_that(&mut observer, database, WAITS_FOR_HEAD)).await;
    while store.head().await.unwrap().1 < time {
        sleep(Duration::from_millis(10)).await;
    }
    holder.query_drop("rollback").await.unwrap();
    soon("the end", sent.outcome).await.unwrap()
}

#[tokio::test]
async fn a_batch_that_waits_until_a_lease_has_ended_is_not_written() {
    let database = Database::create().await;
    let store = Arc::new(database.store().await);
    let (speculative, until) = Speculative::beside_a_lease_of(Duration::from_secs(1), &store).await;
    let outcome = write_held_until(until, &speculative, &store, &database).await;
    // On a machine that stands still the wait for the lock may have ended first.
    assert!(!matches!(outcome, Ok(Some(_))));
    no_transaction_is_open(&database).await;
    // Its key vanishes first.
    let decision = write(&store, [set("k", "2")]).await;
    assert_eq!(decision.events[0].event_type, EventType::Expire);
    assert_eq!(decision.events.len(), 2);
}

/// Leases that were due by the time of the decision have ended.
#[tokio::test]
async fn a_batch_is_not_written_at_a_time_before_that_at_which_it_was_decided() {
    let database = Database::create().await;
    let store = Arc::new(database.store().await);
    write(&store, [set("k", "1")]).await;
    let mut speculative = Speculative::after(&store, &[], vec![set("k", "2")]).await;
    let decided = speculative.decided_ahead();
    let written = speculative.write(&store).await.unwrap().unwrap();
    assert_eq!(
        (written.head.last_time, written.events[0].timestamp),
        (decided, decided)
    );
    assert_eq!(store.head().await.unwrap().0, written.head);
}

#[tokio::test]
async fn a_batch_has_the_time_at_which_it_got_its_lock() {
    let database = Database::create().await;
    let store = Arc::new(database.store().await);
    write(&store, [set("k", "1")]).await;
    let (written, long_after) = loop {
        let speculative = Speculative::after(&store, &[], vec![set("k", "2"), set("l", "1")]).await;
        let now = store.head().await.unwrap().1;
        let long_after = now.saturating_add(Duration::from_millis(1_500));
        match write_held_until(long_after, &speculative, &store, &database).await {
            // On a machine that stands still the wait for the lock may have ended first.
            Err(WriteError::Retry(_)) => {}
            outcome => break (outcome.unwrap().unwrap(), long_after),
        }
    };
    assert!(written.head.last_time >= long_after);
    assert_eq!(store.head().await.unwrap().0, written.head);
    let events = store.events(all_events(written.head.last_event)).await.unwrap().events;
    assert_eq!(events[1..], written.events);
}

#[tokio::test]
async fn a_batch_that_was_found_not_applied_cannot_be_applied_later() {
    let database = Database::create().await;
    let store = Arc::new(database.store().await);
    write(&store, [set("k", "1")]).await;
    // Its packet may still be on the way when its connection is given up.
    let late = Speculative::after(&store, &[], vec![set("k", "2")]).await;
    assert!(!resolve(&store, &late.batch).await.unwrap());
    assert!(late.write(&store).await.unwrap().is_none());
    let again = Speculative::after(&store, &[], vec![set("k", "2")]).await;
    again.write(&store).await.unwrap().unwrap();
    assert!(resolve(&store, &again.batch).await.unwrap());
}

#[tokio::test]
async fn a_speculative_batch_whose_session_is_killed_at_the_commit_is_resolved() {
    let database = Database::on_own_server(&[]).await;
    let store = Arc::new(database.store().await);
    write(&store, [set("k", "1")]).await;
    let speculative = Speculative::after(&store, &[], vec![set("k", "2")]).await;
    let mut observer = database.connect().await;
    let held = HeldCommits::new(&database).await;
    let sent = speculative.send(&store);
    let session = soon("the commit", session_that(&mut observer, &database, COMMITS)).await;
    observer.query_drop(format!("kill {session}")).await.unwrap();
    assert!(matches!(sent.outcome.await.unwrap(), Err(WriteError::Unknown { .. })));
    // The commit may be let go before the session finds that it was killed.
    held.release().await;
    let applied = soon("the answer", resolve(&store, &speculative.batch)).await.unwrap();
    assert_eq!(get(&store, "k").await.unwrap().version.get(), 1 + i64::from(applied));
    assert!(applied || speculative.write(&store).await.unwrap().is_none());
}

#[tokio::test]
async fn a_batch_too_large_for_a_packet_is_not_written_speculatively() {
    let database = Database::on_own_server(&["--max-allowed-packet=1M"]).await;
    let store = Arc::new(database.store().await);
    let large = Speculative::after(&store, &[], vec![set("k", vec![b'v'; 600_000])]).await;
    assert!(large.write(&store).await.unwrap().is_none());
    write(&store, [set("k", vec![b'v'; 600_000])]).await;
}
