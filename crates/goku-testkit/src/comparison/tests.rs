//! Would the comparison notice? Each flaw is one that a store might have.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use goku::{
    Client, Condition, DeleteRequest, Entry, EventStream, EventType, Expiry, History, HistoryRequest, Key, Lease,
    LeaseId, LeaseKeys, LeaseKeysRequest, LeaseRequest, LeasesRequest, ListRequest, Listing, ManualClock,
    OperationAnswer, Result, SetLease, SetRequest, Status, StreamItem, StreamRequest, Txn, TxnAnswer, Value, Write,
    WriteAnswer, WriteId,
};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngSeed, TestRunner};

use super::{Comparison, Divergence, Time, Ttl, start, steps};
use crate::model::ModelClient;

/// What is wrong with a store.
#[derive(Clone, Copy, Debug)]
enum Flaw {
    None,
    /// A Set that says nothing of a deadline clears it, as in the original.
    SetClearsDeadline,
    SetIgnoresVersion,
    SetIgnoresRef,
    SetForgetsThatTheKeyMustHaveBeenDeleted,
    SetIgnoresLease,
    DeleteIgnoresCondition,
    DeleteExpiresLease,
    GrantForgetsTimeToLive,
    KeepAliveDoesNothing,
    UpdateDoesNothing,
    ExpireKeepsKeys,
    ListForgetsLast,
    ListIgnoresStart,
    TxnIsNotAtomic,
    TxnTakesTheOtherBranch,
    EventLosesValue,
    ExpiryIsTakenForDeletion,
    EventIsDeliveredTwice,
}

/// The model with a flaw.
struct Flawed {
    client: ModelClient,
    flaw: Flaw,
}

impl Flawed {
    async fn set(&self, mut request: SetRequest) -> Result<Entry> {
        match (self.flaw, request.condition) {
            (Flaw::SetClearsDeadline, _) if request.expiry == Expiry::Keep => request.expiry = Expiry::Never,
            (Flaw::SetIgnoresLease, _) => request.lease = SetLease::Own,
            (Flaw::SetIgnoresVersion, Condition::Version(_)) => request.condition = Condition::Any,
            (Flaw::SetIgnoresRef, Condition::Ref(_)) => request.condition = Condition::Any,
            (Flaw::SetForgetsThatTheKeyMustHaveBeenDeleted, Condition::AbsentAt(version)) => {
                request.condition = Condition::Version(version);
            }
            _ => {}
        }
        self.client.set(request).await
    }

    async fn delete(&self, mut request: DeleteRequest) -> Result<Entry> {
        if let Flaw::DeleteIgnoresCondition = self.flaw {
            request.condition = Condition::Any;
        }
        let entry = self.client.delete(request).await?;
        if let Flaw::DeleteExpiresLease = self.flaw {
            self.client.lease(LeaseRequest::Expire(entry.lease_id)).await?;
        }
        Ok(entry)
    }

    async fn txn(&self, mut txn: Txn) -> Result<TxnAnswer> {
        match self.flaw {
            Flaw::TxnIsNotAtomic => return self.piecemeal(txn).await,
            Flaw::TxnTakesTheOtherBranch => std::mem::swap(&mut txn.then, &mut txn.otherwise),
            _ => {}
        }
        self.client.txn(txn).await
    }

    async fn lease(&self, request: LeaseRequest) -> Result<Lease> {
        match (self.flaw, request) {
            (Flaw::GrantForgetsTimeToLive, LeaseRequest::Grant(Expiry::After(ttl))) => {
                let at = self.client.status().await?.time.saturating_add(ttl);
                self.client.lease(LeaseRequest::Grant(Expiry::At(at))).await
            }
            (Flaw::KeepAliveDoesNothing, LeaseRequest::KeepAlive(id)) => self.client.get_lease(id).await,
            (Flaw::UpdateDoesNothing, LeaseRequest::Update(id, _)) => self.client.get_lease(id).await,
            (Flaw::ExpireKeepsKeys, LeaseRequest::Expire(id)) => {
                self.client.lease(LeaseRequest::Update(id, Expiry::Never)).await
            }
            (_, request) => self.client.lease(request).await,
        }
    }

    /// The operations as requests of their own.
    async fn piecemeal(&self, txn: Txn) -> Result<TxnAnswer> {
        let compared = Txn {
            compare: txn.compare,
            ..Txn::default()
        };
        let mut answer = self.client.txn(compared).await?;
        let branch = if answer.succeeded { txn.then } else { txn.otherwise };
        for operation in branch {
            let one = Txn {
                then: vec![operation],
                ..Txn::default()
            };
            let one = self.client.txn(one).await?;
            answer.rev = one.rev.or(answer.rev);
            answer.at = one.at;
            answer.answers.extend(one.answers);
        }
        Ok(answer)
    }

    fn mend(flaw: Flaw, item: StreamItem) -> Vec<StreamItem> {
        let StreamItem::Event(mut event) = item else {
            return vec![item];
        };
        match flaw {
            Flaw::EventLosesValue => event.value = Value::default(),
            Flaw::ExpiryIsTakenForDeletion if event.event_type == EventType::Expire => {
                event.event_type = EventType::Delete;
            }
            Flaw::EventIsDeliveredTwice if event.id.get() % 5 == 0 => {
                return vec![StreamItem::Event(event.clone()), StreamItem::Event(event)];
            }
            _ => {}
        }
        vec![StreamItem::Event(event)]
    }
}

#[async_trait]
impl Client for Flawed {
    async fn get(&self, key: &Key) -> Result<Entry> {
        self.client.get(key).await
    }

    async fn list(&self, mut request: ListRequest) -> Result<Listing> {
        if let Flaw::ListIgnoresStart = self.flaw {
            request.start = None;
        }
        let listing = self.client.list(request).await?;
        let at = listing.at();
        let mut entries: Vec<_> = listing.collect().await;
        if let Flaw::ListForgetsLast = self.flaw {
            entries.pop();
        }
        Ok(Listing::new(at, futures::stream::iter(entries)))
    }

    async fn write(&self, _: Option<WriteId>, write: Write) -> Result<WriteAnswer> {
        match write {
            Write::Set(request) => self.set(request).await.map(WriteAnswer::Entry),
            Write::Delete(request) => self.delete(request).await.map(WriteAnswer::Entry),
            Write::Txn(txn) => self.txn(txn).await.map(WriteAnswer::Txn),
            Write::Lease(request) => self.lease(request).await.map(WriteAnswer::Lease),
        }
    }

    async fn get_lease(&self, id: LeaseId) -> Result<Lease> {
        self.client.get_lease(id).await
    }

    async fn list_leases(&self, request: LeasesRequest) -> Result<Vec<Lease>> {
        self.client.list_leases(request).await
    }

    async fn lease_keys(&self, request: LeaseKeysRequest) -> Result<LeaseKeys> {
        self.client.lease_keys(request).await
    }

    async fn history(&self, request: HistoryRequest) -> Result<History> {
        self.client.history(request).await
    }

    async fn stream(&self, request: StreamRequest) -> Result<EventStream> {
        let flaw = self.flaw;
        let stream = self.client.stream(request).await?;
        let opened_at = stream.opened_at();
        let items = stream.flat_map(move |item| {
            futures::stream::iter(match item {
                Ok(item) => Flawed::mend(flaw, item).into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            })
        });
        Ok(EventStream::new(opened_at, items))
    }

    async fn status(&self) -> Result<Status> {
        self.client.status().await
    }
}

/// Runs random steps against the flawed model until they show the flaw.
async fn first_divergence(flaw: Flaw, runs: usize) -> Option<Divergence> {
    let mut runner = TestRunner::new(Config {
        rng_seed: RngSeed::Fixed(7),
        ..Config::default()
    });
    for _ in 0..runs {
        let steps = steps(Ttl::Seconds, 20..40).new_tree(&mut runner).unwrap().current();
        let clock = Arc::new(ManualClock::new(start()));
        let client = ModelClient::new(clock.clone());
        let flawed = Arc::new(Flawed { client, flaw });
        let comparison = Comparison::start(flawed, Time::Manual(clock)).await;
        let compared = comparison.patience(Duration::from_millis(200)).run(&steps).await;
        if let Err(divergence) = compared {
            return Some(divergence);
        }
    }
    None
}

/// A comparison that a wrong store passes is worth nothing.
#[tokio::test]
async fn every_flaw_is_noticed() {
    for flaw in [
        Flaw::SetClearsDeadline,
        Flaw::SetIgnoresVersion,
        Flaw::SetIgnoresRef,
        Flaw::SetForgetsThatTheKeyMustHaveBeenDeleted,
        Flaw::SetIgnoresLease,
        Flaw::DeleteIgnoresCondition,
        Flaw::DeleteExpiresLease,
        Flaw::GrantForgetsTimeToLive,
        Flaw::KeepAliveDoesNothing,
        Flaw::UpdateDoesNothing,
        Flaw::ExpireKeepsKeys,
        Flaw::ListForgetsLast,
        Flaw::ListIgnoresStart,
        Flaw::TxnIsNotAtomic,
        Flaw::TxnTakesTheOtherBranch,
        Flaw::EventLosesValue,
        Flaw::ExpiryIsTakenForDeletion,
        Flaw::EventIsDeliveredTwice,
    ] {
        assert!(first_divergence(flaw, 60).await.is_some(), "{flaw:?} goes unnoticed");
    }
}

#[tokio::test]
async fn the_model_agrees_with_itself() {
    if let Some(divergence) = first_divergence(Flaw::None, 60).await {
        panic!("{divergence}");
    }
}

/// The random steps reach what they are made for: without it, agreement would say little.
#[tokio::test]
async fn random_steps_reach_the_rules() {
    let mut runner = TestRunner::new(Config {
        rng_seed: RngSeed::Fixed(7),
        ..Config::default()
    });
    let (mut expired, mut shared, mut recreated, mut written) = (0, 0, 0, 0);
    for _ in 0..60 {
        let steps = steps(Ttl::Seconds, 20..40).new_tree(&mut runner).unwrap().current();
        let clock = Arc::new(ManualClock::new(start()));
        let client = ModelClient::new(clock.clone());
        for step in &steps {
            match step {
                super::Step::Advance(by) => clock.advance(*by),
                other => {
                    let answer = super::perform(&client, other).await;
                    if let Ok(super::step::Answer::Txn(answer)) = answer {
                        let writes = |answer: &OperationAnswer| matches!(answer, OperationAnswer::Set(_));
                        written += answer.answers.iter().filter(|answer| writes(answer)).count();
                    }
                }
            }
        }
        let model = client.model();
        let log = model.log();
        expired += log.iter().filter(|event| event.event_type == EventType::Expire).count();
        recreated += log.iter().filter(|event| event.created_version.get() > 1).count();
        shared += log.windows(2).filter(|pair| pair[0].rev == pair[1].rev).count();
    }
    for (what, count) in [
        ("keys that expired", expired),
        ("events of keys created again", recreated),
        ("events that share a revision", shared),
        ("sets in transactions", written),
    ] {
        assert!(count > 50, "{what}: {count}");
    }
}
