//! The garbage collection of sessions and of changes of settings: removes what nobody uses any more.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::limits::{SESSION_IDLE_MAX, SETTING_CHANGES_AGE_MAX, SETTING_CHANGES_MAX};
use crate::store::Store;

/// Time between two looks; replicas on one database take turns by chance.
const INTERVAL: Duration = Duration::from_secs(60);

/// Sessions, or changes of settings, that one transaction removes.
const REMOVED_MAX: usize = 1_000;

/// Removes idle sessions and old changes of settings now and then until the engine stops.
pub(super) async fn run(store: Arc<dyn Store>, stop: CancellationToken) {
    let clean = async {
        loop {
            tokio::time::sleep(INTERVAL).await;
            if let Err(error) = step(&*store).await {
                tracing::debug!(
                    ?error,
                    "idle sessions and old changes of settings could not be removed, they will be"
                );
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = clean => {}
    }
}

async fn step(store: &dyn Store) -> Result<()> {
    let (_, now) = store.head().await?;
    let idle_since = now.saturating_sub(SESSION_IDLE_MAX);
    while store.forget_sessions(idle_since, REMOVED_MAX).await? == REMOVED_MAX {}
    let kept_since = now.saturating_sub(SETTING_CHANGES_AGE_MAX);
    while store
        .forget_setting_changes(kept_since, SETTING_CHANGES_MAX, REMOVED_MAX)
        .await?
        == REMOVED_MAX
    {}
    Ok(())
}

#[cfg(feature = "sqlite")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, Timestamp};
    use crate::decide::{Batch, Head, Request};
    use crate::error::ErrorKind;
    use crate::faults::{Fault, Faults, Faulty, Step};
    use crate::id::Tag;
    use crate::key::Key;
    use crate::request::SetRequest;
    use crate::store::guarded::Guarded;
    use crate::store::loads;
    use crate::store::sqlite::{Location, SqliteStore};
    use crate::store::tables::Sharing;
    use crate::write::{SessionId, WriteId};

    async fn write(store: &SqliteStore, session: u64, number: u64) -> Result<()> {
        let id = WriteId::new(SessionId::new(session), number);
        let set = Request::Set(SetRequest::new(Key::new("k").unwrap(), "v"));
        let requests = vec![Request::Once(id, Box::new(set))];
        let batch = Batch {
            requests,
            tag: Tag::new(1),
            seen: Head::default(),
        };
        loads::write(store, &batch).await.unwrap().answers.remove(0).map(drop)
    }

    #[tokio::test]
    async fn sessions_that_were_not_used_are_forgotten_and_the_others_kept() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(0).unwrap()));
        let store = SqliteStore::open(Location::Memory, clock.clone(), Sharing::Refused)
            .await
            .unwrap();
        for session in 0..REMOVED_MAX as u64 + 5 {
            write(&store, session, 1).await.unwrap();
        }
        clock.advance(SESSION_IDLE_MAX);
        write(&store, 7, 2).await.unwrap();
        step(&store).await.unwrap();
        write(&store, 8, 2).await.unwrap();

        clock.advance(Duration::from_millis(1));
        step(&store).await.unwrap();
        write(&store, 7, 3).await.unwrap();
        write(&store, 8, 3).await.unwrap();
        let forgotten = write(&store, 9, 2).await.unwrap_err();
        assert_eq!(forgotten.kind(), ErrorKind::SessionExpired);
    }

    #[tokio::test]
    async fn a_step_that_failed_is_made_up_for_by_the_next() {
        let kind = |result: Result<()>| result.err().map(|error| error.kind());
        for fault in Fault::ALL {
            let clock = Arc::new(ManualClock::new(Timestamp::from_millis(0).unwrap()));
            let store = SqliteStore::open(Location::Memory, clock.clone(), Sharing::Refused)
                .await
                .unwrap();
            let store = Arc::new(store);
            write(&store, 1, 1).await.unwrap();
            clock.advance(SESSION_IDLE_MAX + Duration::from_millis(1));
            let faults = Faults::default();
            faults.at(Step::ForgetSessions, 1, fault);
            let failing = Arc::new(Faulty::new(store.clone(), faults));
            // A held step fails by its time alone; the one after it has all the time that it takes.
            let hasty = Guarded::new(failing.clone(), Duration::from_millis(100), "memory");
            assert!(step(&hasty).await.is_err(), "{fault:?}");
            step(&*failing).await.unwrap();
            let forgotten = write(&store, 1, 2).await;
            assert_eq!(kind(forgotten), Some(ErrorKind::SessionExpired), "{fault:?}");
        }
    }
}
