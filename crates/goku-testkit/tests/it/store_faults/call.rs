//! A few calls of every kind on one engine, recorded, and what is left of them.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use goku::faults::{Faults, Step};
use goku::{
    Client, Compare, Condition, Engine, ErrorKind, EventId, Expiry, LeaseRequest, LeasesRequest, Operation, Position,
    Result, SessionId, StreamFrom, StreamItem, Txn, Write, WriteId,
};
use goku_testkit::check::{Violation, violations};
use goku_testkit::history::{Recorder, Subscription};
use goku_testkit::probe::{PATIENCE, delete, key, list, set, soon, version, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// How often what is waited for is looked at.
const POLL: Duration = Duration::from_millis(2);

/// How long the lease of the calls lives.
const TTL: Duration = Duration::from_millis(40);

/// Gets and Sets that are made at once.
const CROWD: usize = 12;

/// An engine that calls are made on.
pub(crate) struct Called {
    engine: Engine,
    faults: Faults,
    recorder: Recorder,
    client: Arc<dyn Client>,
    reading: JoinHandle<()>,
    /// How writes failed, but for what was decided.
    pub(crate) failures: Vec<ErrorKind>,
}

impl Called {
    pub(crate) fn new(engine: Engine, faults: Faults) -> Called {
        let recorder = Recorder::default();
        let client = recorder.client(Arc::new(engine.clone()));
        let reading = tokio::spawn(read_on(recorder.client(Arc::new(engine.clone()))));
        Called {
            engine,
            faults,
            recorder,
            client,
            reading,
            failures: Vec::new(),
        }
    }

    /// Makes calls of every kind.
    pub(crate) async fn call(&mut self) {
        let client = self.client.clone();
        self.wrote(client.set(set("a", "a1")).await);
        self.wrote(client.set(set("b", "b1").condition(Condition::Absent)).await);
        let txn = Txn {
            compare: vec![Compare::exists(key("a"))],
            then: vec![
                Operation::Set(set("c", "c1")),
                Operation::Delete(delete("b")),
                Operation::Get(key("a")),
            ],
            otherwise: vec![Operation::Set(set("c", "c2"))],
        };
        self.wrote(client.txn(txn).await);
        for (number, value) in [(1, "n1"), (1, "n1"), (2, "n2"), (1, "n1")] {
            let id = WriteId::new(SessionId::new(7), number);
            self.wrote(client.write(Some(id), Write::Set(set("n", value))).await);
        }
        let granted = self.wrote(client.lease(LeaseRequest::Grant(Expiry::After(TTL))).await);
        if let Some(lease) = granted {
            self.wrote(client.set(set("d", "d1").lease(lease.id)).await);
            self.wrote(client.lease(LeaseRequest::KeepAlive(lease.id)).await);
            self.read(client.get_lease(lease.id).await);
        }
        self.read(client.get(&key("a")).await);
        self.read(client.list(list("")).await);
        self.read(client.list_leases(LeasesRequest::default()).await);
        self.read(client.status().await);
        self.read(
            client
                .txn(Txn {
                    then: vec![Operation::Get(key("a")), Operation::List(list("n"))],
                    ..Txn::default()
                })
                .await,
        );
        self.wrote(
            client
                .set(set("a", "a2").condition(Condition::Version(version(1))))
                .await,
        );
        self.wrote(client.delete(delete("a")).await);
        self.crowd().await;
        self.stream().await;
        if let Some(lease) = granted {
            let gone = async {
                while self.engine.get_lease(lease.id).await.is_ok() {
                    sleep(POLL).await
                }
            };
            // Where it is held up, it is not waited for.
            let _ = timeout(5 * TTL, gone).await;
        }
    }

    /// Has more calls made until no fault of this step is left.
    pub(crate) async fn until_spent(&self, step: Step) {
        soon("the fault", async {
            while !self.faults.is_spent(step) {
                // How they end does not matter.
                drop(self.client.set(set("again", "again")).await);
                drop(self.client.status().await);
                sleep(POLL).await;
            }
        })
        .await;
    }

    /// Heals all faults, finds out whether everything works again, and judges what happened: by an engine that `successor`
    /// opens where there is one, once the engine itself writes again and tells its streams.
    pub(crate) async fn judge(mut self, successor: Option<impl Future<Output = Result<Engine>>>) -> Vec<Violation> {
        self.faults.heal();
        let deadline = Instant::now() + PATIENCE;
        let mut attempt = 0;
        let recovered = loop {
            match self.client.set(set("recover", format!("recover {attempt}"))).await {
                Ok(entry) => break entry.updated_ref,
                Err(error) => assert!(Instant::now() < deadline, "it takes no writes any more: {error:?}"),
            }
            attempt += 1;
            sleep(POLL).await;
        };
        self.delivers(recovered).await;
        if let Some(successor) = successor {
            self.reading.abort();
            self.engine.close().await;
            self.engine = successor.await.unwrap();
            self.client = self.recorder.client(Arc::new(self.engine.clone()));
            self.reading = tokio::spawn(read_on(self.recorder.client(Arc::new(self.engine.clone()))));
        }
        self.recorder.healed();
        let lease = LeaseRequest::Grant(Expiry::After(PATIENCE));
        let lease = self.client.lease(lease).await.unwrap();
        self.client.lease(LeaseRequest::KeepAlive(lease.id)).await.unwrap();
        self.client.lease(LeaseRequest::Expire(lease.id)).await.unwrap();
        let settled = async {
            while !self.has_no_deadlines().await {
                sleep(POLL).await;
            }
        };
        soon("all leases have ended", settled).await;
        let last = self.client.set(set("end", "end")).await.unwrap().updated_ref;
        self.delivers(last).await;
        let mut history = self.recorder.finish(&self.engine).await.unwrap();
        history.streams.iter_mut().for_each(forgive);
        self.reading.abort();
        self.engine.close().await;
        violations(&history)
    }

    /// Waits until a stream that is read has come as far as this event.
    async fn delivers(&self, event: EventId) {
        let delivered = async {
            while !self
                .recorder
                .open_streams()
                .iter()
                .any(|(_, position)| *position >= event)
            {
                sleep(POLL).await;
            }
        };
        soon("the stream delivers the last event", delivered).await;
    }

    async fn has_no_deadlines(&self) -> bool {
        let leases = self.engine.list_leases(LeasesRequest::default()).await.unwrap();
        leases.iter().all(|lease| lease.expires_at.is_none())
    }

    /// Writes and reads that share batches.
    async fn crowd(&mut self) {
        let client = &*self.client;
        let sets = (0..CROWD).map(|number| client.set(set(&format!("k{number}"), format!("k{number}"))));
        let keys: Vec<_> = (0..CROWD).map(|number| key(format!("k{number}"))).collect();
        let gets = keys.iter().map(|key| client.get(key));
        let (sets, gets) = tokio::join!(futures::future::join_all(sets), futures::future::join_all(gets));
        for set in sets {
            self.wrote(set);
        }
        for get in gets {
            self.read(get);
        }
    }

    /// A stream that begins in the past and ends at the head.
    async fn stream(&self) {
        let after = StreamFrom::Resume(Position::default());
        if let Ok(mut events) = self.client.stream(watch("").from(after).to_head()).await {
            while events.next().await.is_some_and(|item| item.is_ok()) {}
        }
    }

    /// Notes what a write came to. What is held is let go once somebody has been answered without it.
    fn wrote<T>(&mut self, outcome: Result<T>) -> Option<T> {
        let outcome = self.settle(outcome);
        match outcome {
            Ok(answer) => Some(answer),
            Err(ErrorKind::NotFound | ErrorKind::ConditionFailed | ErrorKind::LeaseNotFound) => None,
            Err(kind) => {
                self.failures.push(kind);
                None
            }
        }
    }

    /// Notes what a read came to.
    fn read<T>(&self, outcome: Result<T>) {
        drop(self.settle(outcome));
    }

    fn settle<T>(&self, outcome: Result<T>) -> Result<T, ErrorKind> {
        outcome.map_err(|error| {
            self.faults.release();
            error.kind()
        })
    }
}

/// Streams fail as their store does, which nothing but a fault that was asked for may be the reason of.
fn forgive(stream: &mut Subscription) {
    let is_asked_for = |kind| matches!(kind, ErrorKind::Internal | ErrorKind::Config);
    if stream.opened_at.is_err_and(is_asked_for) {
        stream.opened_at = Err(ErrorKind::Unavailable);
    }
    stream.ended = stream.ended.filter(|(_, kind)| !is_asked_for(*kind));
}

/// Reads a stream of everything, resumed where it ends, until it is aborted.
async fn read_on(client: Arc<dyn Client>) {
    let mut position = Position::default();
    loop {
        if let Ok(mut events) = client.stream(watch("").from(StreamFrom::Resume(position))).await {
            while let Some(Ok(item)) = events.next().await {
                if let StreamItem::Event(event) = item {
                    position = event.position();
                }
            }
        }
        sleep(POLL).await;
    }
}
