//! Reads of the head that come late undo nothing of what was known since.

use std::sync::Arc;
use std::time::Duration;

use goku::faults::{Fault, Faults, Step};
use goku::{Clock, Engine, EventType, Expiry, LeaseRequest, ManualClock, Timestamp};
use goku_testkit::probe::{Probe, set, soon, watch};

/// Two batches within a millisecond, the later of which raises no event: a read between them that came after both was
/// taken for the newer state, the deadline that the later batch gave was forgotten, and the lease never ended.
#[tokio::test]
async fn a_deadline_given_while_leases_expire_is_kept() {
    let faults = Faults::default();
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_000_000).unwrap()));
    faults.always(Step::Head, Fault::HoldAfter);
    let engine = Engine::builder().clock(clock.clone()).faults(faults.clone());
    let engine = engine.open("sqlite::memory:").await.unwrap();
    let store = Probe::new(Arc::new(engine.clone()));
    let opening = tokio::spawn({
        let store = store.clone();
        async move { store.watch(watch("")).await }
    });
    soon(
        "the first looks of the follower, lease expiry and the stream",
        faults.came(3),
    )
    .await;
    let lease = soon("a set", store.set(set("k", "v"))).await.unwrap().lease_id;

    // Lease expiry looks twice before it waits to be told of a deadline.
    faults.release();
    let mut events = soon("a stream", opening).await.unwrap();
    assert_eq!(events.event().await.event_type, EventType::Set);
    soon("the second look of lease expiry", faults.came(4)).await;
    let deadline = clock.now().saturating_add(Duration::from_secs(10));
    let given = LeaseRequest::Update(lease, Expiry::At(deadline));
    soon("a deadline", store.lease(given)).await.unwrap();
    faults.heal();

    clock.advance(Duration::from_secs(10));
    assert_eq!(events.event().await.event_type, EventType::Expire);
    engine.close().await;
}
