//! Batches whose rows are written before their turn.

use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::faults::{WAITS_FOR_HEAD, hold_head, session_that, soon};
use super::speculative::{Sent, Speculative, some_changes_are_there};
use super::writing::no_transaction_is_open;
use super::*;
use crate::event::EventType;
use crate::id::EventId;
use crate::store::Prewrite;

/// A prewritten batch on its way, and what gives it its turn.
struct SentPrewritten {
    sent: Sent,
    timed: oneshot::Receiver<()>,
    turn: oneshot::Sender<()>,
}

impl Speculative {
    /// Sends the batch before its turn, for which it waits as long as may be.
    fn send_prewritten(&self, store: &Arc<MySqlStore>) -> SentPrewritten {
        self.send_prewritten_for(Duration::from_secs(60), store)
    }

    async fn write_as(&self, prewrite: bool, store: &Arc<MySqlStore>) -> Result<Option<Decision>, WriteError> {
        if prewrite {
            self.send_prewritten(store).end().await
        } else {
            self.write(store).await
        }
    }

    fn send_prewritten_for(&self, wait_max: Duration, store: &Arc<MySqlStore>) -> SentPrewritten {
        let (turn, has_turn) = oneshot::channel();
        let (timed, is_timed) = oneshot::channel();
        let prewrite = Prewrite {
            turn: Some(has_turn),
            wait_max,
            timed,
        };
        SentPrewritten {
            sent: self.send_as(store, Some(prewrite)),
            timed: is_timed,
            turn,
        }
    }
}

impl SentPrewritten {
    async fn has_its_time(&mut self) {
        soon("its time", &mut self.timed).await.unwrap();
    }

    async fn end(self) -> Result<Option<Decision>, WriteError> {
        // The batch may have failed before it waited.
        let _ = self.turn.send(());
        soon("its end", self.sent.outcome).await.unwrap()
    }
}

/// Waits until the rows of a prewritten batch are there that nobody else sees.
async fn rows_are_written(database: &Database, events: usize) {
    let mut observer = database.connect().await;
    observer
        .query_drop("set session transaction isolation level read uncommitted")
        .await
        .unwrap();
    let rows = async {
        loop {
            let count = "select count(*) from data join events on events.id = data.updated_ref";
            if observer.query_first::<usize, _>(count).await.unwrap() == Some(events) {
                return;
            }
        }
    };
    soon("the rows", rows).await;
}

#[tokio::test]
async fn a_prewritten_batch_leaves_what_one_under_the_lock_leaves() {
    let database = Database::create().await;
    let store = Arc::new(database.store().await);
    let speculative = Speculative::of_some_changes(&store).await;
    let mut prewrite = speculative.send_prewritten(&store);
    prewrite.has_its_time().await;
    rows_are_written(&database, 3).await;
    // Before its turn it has not begun, and nobody sees anything of it.
    assert!(prewrite.sent.begun.try_recv().is_err());
    assert_eq!(store.head().await.unwrap().0.last_event, EventId::new(2).unwrap());
    assert_eq!(get(&store, "a").await.unwrap().version.get(), 1);
    prewrite.turn.send(()).unwrap();
    let decision = prewrite.sent.outcome.await.unwrap().unwrap().unwrap();
    prewrite.sent.begun.await.unwrap();
    some_changes_are_there(&decision, &store, &database).await;
}

#[tokio::test]
async fn a_prewritten_batch_is_written_beside_the_one_before_it() {
    let database = Database::create().await;
    let store = Arc::new(database.store().await);
    write(&store, [set("k", "0")]).await;
    let first = Speculative::after(&store, &[], vec![set("k", "1")]).await;
    let second = Speculative::after(&store, &[&first], vec![set("l", "1"), set("m", "1")]).await;
    let mut first = first.send_prewritten(&store);
    first.has_its_time().await;
    let mut second = second.send_prewritten(&store);
    second.has_its_time().await;
    rows_are_written(&database, 3).await;
    let first = first.end().await.unwrap().unwrap();
    let second = second.end().await.unwrap().unwrap();
    assert_eq!(second.after, first.head.batch);
    assert!(second.head.last_time >= first.head.last_time);
    assert_eq!(store.head().await.unwrap().0, second.head);
}

#[tokio::test]
async fn a_prewritten_batch_whose_turn_does_not_come_leaves_nothing() {
    let database = Database::create().await;
    let store = Arc::new(database.store().await);
    let speculative = Speculative::after(&store, &[], vec![set("k", "1")]).await;
    let prewrite = speculative.send_prewritten(&store);
    drop(prewrite.turn);
    assert!(soon("its end", prewrite.sent.outcome).await.unwrap().unwrap().is_none());
    no_transaction_is_open(&database).await;
    // Nor does it wait for ever.
    let prewrite = speculative.send_prewritten_for(Duration::from_millis(10), &store);
    assert!(soon("its end", prewrite.sent.outcome).await.unwrap().unwrap().is_none());
    no_transaction_is_open(&database).await;
    assert!(get(&store, "k").await.is_none());
    assert_eq!(event_ids(&speculative.write(&store).await.unwrap().unwrap()), [1]);
}

#[tokio::test]
async fn a_prewritten_batch_that_others_overtook_leaves_nothing() {
    let database = Database::create().await;
    let store = Arc::new(database.store().await);
    let other = database.store().await;
    let before = Speculative::after(&store, &[], vec![set("k", "mine")]).await;
    write(&other, [set("k", "others")]).await;
    assert!(before.send_prewritten(&store).end().await.unwrap().is_none());
    no_transaction_is_open(&database).await;

    // After its rows, too.
    let between = Speculative::after(&store, &[], vec![set("k", "mine")]).await;
    let mut prewrite = between.send_prewritten(&store);
    prewrite.has_its_time().await;
    rows_are_written(&database, 1).await;
    let mut observer = database.connect().await;
    observer.query_drop("update head set batch = 1").await.unwrap();
    assert!(prewrite.end().await.unwrap().is_none());
    no_transaction_is_open(&database).await;
    let k = get(&store, "k").await.unwrap();
    assert_eq!((k.version.get(), k.value), (1, Some("others".into())));
}

#[tokio::test]
async fn a_prewritten_batch_is_not_written_where_a_key_that_it_assumes_absent_is_not() {
    let database = Database::create().await;
    let store = Arc::new(database.store().await);
    write(&store, [set("old", "1")]).await;
    let head = store.head().await.unwrap().0;
    let requests = vec![set("new", "1"), set("old", "2")];
    let speculative = Speculative::assuming(&store, requests).await;
    assert!(speculative.send_prewritten(&store).end().await.unwrap().is_none());
    assert_eq!(store.head().await.unwrap().0, head);
    no_transaction_is_open(&database).await;
    let speculative = Speculative::assuming(&store, vec![set("new", "1"), set("newer", "1")]).await;
    assert!(speculative.send_prewritten(&store).end().await.unwrap().is_some());
    assert_eq!(get(&store, "newer").await.unwrap().version.get(), 1);
}

/// The time of the log does not go back.
#[tokio::test]
async fn a_prewritten_batch_is_not_written_at_a_time_before_that_of_the_one_before_it() {
    let database = Database::create().await;
    let store = Arc::new(database.store().await);
    write(&store, [set("k", "1")]).await;
    let speculative = Speculative::after(&store, &[], vec![set("k", "2")]).await;
    let mut admin = database.connect().await;
    admin
        .query_drop("update head set last_time = last_time + 600000")
        .await
        .unwrap();
    assert!(speculative.send_prewritten(&store).end().await.unwrap().is_none());
    assert_eq!(get(&store, "k").await.unwrap().version.get(), 1);
    no_transaction_is_open(&database).await;
}

#[tokio::test]
async fn a_prewritten_batch_is_not_written_at_an_old_time() {
    let database = Database::create().await;
    let store = Arc::new(database.store().await);
    write(&store, [set("k", "1")]).await;
    let speculative = Speculative::after(&store, &[], vec![set("k", "2")]).await;
    let mut holder = hold_head(&database).await;
    let mut observer = database.connect().await;
    let prewrite = speculative.send_prewritten(&store);
    prewrite.turn.send(()).unwrap();
    soon("the batch", session_that(&mut observer, &database, WAITS_FOR_HEAD)).await;
    sleep(Duration::from_millis(1_100)).await;
    holder.query_drop("rollback").await.unwrap();
    assert!(!matches!(
        soon("its end", prewrite.sent.outcome).await.unwrap(),
        Ok(Some(_))
    ));
    no_transaction_is_open(&database).await;
    assert_eq!(get(&store, "k").await.unwrap().version.get(), 1);
}

#[tokio::test]
async fn a_prewritten_batch_is_not_written_after_a_lease_that_it_met_has_ended() {
    let database = Database::create().await;
    let store = Arc::new(database.store().await);
    let (speculative, until) = Speculative::beside_a_lease_of(Duration::from_millis(500), &store).await;
    while store.head().await.unwrap().1 < until {
        sleep(Duration::from_millis(10)).await;
    }
    assert!(speculative.send_prewritten(&store).end().await.unwrap().is_none());
    no_transaction_is_open(&database).await;
    // The lease's key vanishes first.
    let decision = write(&store, [set("k", "2")]).await;
    assert_eq!(decision.events[0].event_type, EventType::Expire);
}

/// Each of the two has what the other waits for: one the rows, the other the head.
#[tokio::test]
async fn of_a_prewritten_batch_and_one_of_others_that_wait_for_each_other_neither_waits_long() {
    let database = Database::create().await;
    let store = Arc::new(database.store().await);
    let other = Arc::new(database.store().await);
    write(&store, [set("k", "1")]).await;
    let prewrite = Speculative::after(&store, &[], vec![set("k", "early"), set("l", "early")]).await;
    let next = Speculative::after(&store, &[&prewrite], vec![set("m", "early")]).await;
    let mut sent = prewrite.send_prewritten(&store);
    sent.has_its_time().await;
    rows_are_written(&database, 2).await;
    let others = {
        let other = other.clone();
        tokio::spawn(async move { loads::write(&*other, batch([set("k", "others")])).await })
    };
    let mut observer = database.connect().await;
    soon(
        "the other batch",
        session_that(&mut observer, &database, "info like 'insert into events%'"),
    )
    .await;
    let prewrite = sent.end().await.unwrap();
    match soon("the other's end", others).await.unwrap() {
        Ok(decision) => {
            assert!(prewrite.is_none());
            assert_eq!(event_ids(&decision), [2]);
        }
        Err(WriteError::Retry(_)) => {
            assert_eq!(event_ids(&prewrite.unwrap()), [2, 3]);
            // A batch that would come before it again makes way.
            assert!(next.send_prewritten(&store).end().await.unwrap().is_none());
            assert_eq!(event_ids(&write(&other, [set("k", "others")]).await), [4]);
        }
        outcome => panic!("{outcome:?}"),
    }
    no_transaction_is_open(&database).await;
    assert_eq!(get(&store, "k").await.unwrap().value.unwrap(), "others");
}

/// Some keys are known to be there beside those that are assumed absent, one of which is set twice.
#[tokio::test]
async fn rows_of_keys_that_are_assumed_absent_are_written_beside_others() {
    let database = Database::create().await;
    let store = Arc::new(database.store().await);
    // The key that is read before all others are assumed.
    write(&store, [set("other", "1"), set("there", "1")]).await;
    let requests = |new: &str| {
        let new = format!("{new}/");
        let sets = (0..20).map(|number| set(&format!("{new}{number}"), "1"));
        sets.chain([set("other", "2"), set(&format!("{new}3"), "2")])
            .collect::<Vec<_>>()
    };
    for (times, new, prewrite) in [(1, "early", true), (2, "in turn", false)] {
        let speculative = Speculative::assuming(&store, requests(new)).await;
        assert_eq!(speculative.preconditions.absent.len(), 20);
        let decision = speculative.write_as(prewrite, &store).await.unwrap().unwrap();
        assert_eq!(store.head().await.unwrap().0, decision.head);
        assert_eq!(get(&store, "other").await.unwrap().version.get(), 1 + times);
        for (number, version) in [(0, 1), (3, 2), (19, 1)] {
            let row = get(&store, &format!("{new}/{number}")).await.unwrap();
            assert_eq!(row.version.get(), version);
            assert_eq!(row.value.unwrap(), version.to_string());
        }
        // A key that is assumed absent is there.
        let head = store.head().await.unwrap().0;
        let mut requests = requests("never");
        requests.push(set("there", "2"));
        let speculative = Speculative::assuming(&store, requests).await;
        assert!(speculative.write_as(prewrite, &store).await.unwrap().is_none());
        assert_eq!(store.head().await.unwrap().0, head);
        assert!(get(&store, "never/0").await.is_none());
        no_transaction_is_open(&database).await;
    }
}

#[tokio::test]
async fn a_prewritten_batch_is_written_where_the_clock_has_gone_back() {
    let database = Database::create().await;
    let store = Arc::new(database.store().await);
    write(&store, [set("k", "1")]).await;
    let mut speculative = Speculative::after(&store, &[], vec![set("k", "2")]).await;
    let decided = speculative.decided_ahead();
    let written = speculative.send_prewritten(&store).end().await.unwrap().unwrap();
    assert_eq!(written.head.last_time, decided);
    assert_eq!(store.head().await.unwrap().0, written.head);
}
