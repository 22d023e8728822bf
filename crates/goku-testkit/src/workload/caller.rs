//! A caller that reads and writes what it pleases.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use goku::{
    Client, Compare, Condition, Entry, ErrorKind, Expiry, Key, LeaseId, LeaseRequest, ListRequest, Operation, Result,
    SessionId, SetLease, SetRequest, Txn, Write, WriteAnswer, WriteId,
};
use tokio::sync::watch;
use tokio::time::sleep;

use super::{Load, PREFIXES, Phase};
use crate::probe::prefix;
use crate::seed::Random;

/// Attempts at a write with a number before its caller gives up on it.
const ATTEMPTS_MAX: usize = 20;

/// Pause before a call is made again that failed for the store's sake.
const PAUSE: Duration = Duration::from_millis(20);

/// A large value: over what a store keeps beside its row.
const LARGE_BYTES: usize = 12_000;

pub(super) struct Caller {
    number: usize,
    /// Leases that it has chosen.
    chosen: i64,
    replicas: Vec<Arc<dyn Client>>,
    load: Load,
    random: Random,
    session: SessionId,
    writes: u64,
    values: u64,
    /// States that were seen, to make conditions of.
    seen: Vec<Entry>,
    leases: Vec<LeaseId>,
}

impl Caller {
    pub(super) fn new(number: usize, replicas: Vec<Arc<dyn Client>>, load: Load, mut random: Random) -> Caller {
        Caller {
            number,
            chosen: 0,
            replicas,
            load,
            session: SessionId::new(random.number()),
            random,
            writes: 0,
            values: 0,
            seen: Vec::new(),
            leases: Vec::new(),
        }
    }

    pub(super) async fn run(mut self, phase: watch::Receiver<Phase>) {
        while *phase.borrow() == Phase::Load {
            match self.step().await {
                Err(error) if error.kind().is_retryable() => sleep(PAUSE).await,
                _ => sleep(self.random.between(Duration::ZERO, self.load.pause_max)).await,
            }
        }
    }

    async fn step(&mut self) -> Result<()> {
        match self.random.below(100) {
            0..35 => {
                let set = self.set();
                let answer = self.write(Write::Set(set)).await?;
                self.see(answer.into_entry()?);
            }
            35..45 => {
                let key = self.key();
                let condition = self.condition(&key);
                let delete = goku::DeleteRequest { key, condition };
                let answer = self.write(Write::Delete(delete)).await?;
                self.see(answer.into_entry()?);
            }
            45..57 => {
                let txn = self.txn();
                self.write(Write::Txn(txn)).await?;
            }
            57..75 => {
                let key = self.key();
                let entry = self.replica().get(&key).await?;
                self.see(entry);
            }
            75..80 => {
                let listed = *self.random.choose(&PREFIXES);
                let request = ListRequest {
                    limit: self.random.one_in(2).then_some(5),
                    keys_only: self.random.one_in(2),
                    ..ListRequest::new(prefix(listed))
                };
                let listing = self.replica().list(request).await?;
                listing.try_collect::<Vec<_>>().await?;
            }
            _ => self.lease().await?,
        }
        Ok(())
    }

    /// Does a write with a number, again until it is answered, or without.
    async fn write(&mut self, write: Write) -> Result<WriteAnswer> {
        if self.random.one_in(2) {
            let replica = self.replica();
            return match write {
                Write::Set(set) => replica.set(set).await.map(WriteAnswer::Entry),
                Write::Delete(delete) => replica.delete(delete).await.map(WriteAnswer::Entry),
                Write::Txn(txn) => replica.txn(txn).await.map(WriteAnswer::Txn),
                Write::Lease(lease) => replica.lease(lease).await.map(WriteAnswer::Lease),
            };
        }
        self.writes += 1;
        let id = WriteId::new(self.session, self.writes);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let outcome = self.replica().write(Some(id), write.clone()).await;
            let again = match &outcome {
                // An answer may be lost on its way: sent again, the write is not done again.
                Ok(_) => self.random.one_in(20),
                Err(error) => error.kind().is_transient(),
            };
            if !again || attempts == ATTEMPTS_MAX {
                return outcome;
            }
            sleep(PAUSE).await;
        }
    }

    async fn lease(&mut self) -> Result<()> {
        let ttl = self.random.between(Duration::from_millis(200), self.load.ttl_max);
        let known = (!self.leases.is_empty()).then(|| *self.random.choose(&self.leases));
        let (request, id) = match (self.random.below(10), known) {
            (0, _) if self.load.format_2 => (LeaseRequest::GrantAs(self.chosen_lease(), Expiry::After(ttl)), None),
            (0 | 1, _) | (_, None) => (LeaseRequest::Grant(Expiry::After(ttl)), None),
            (2, Some(id)) => (LeaseRequest::Expire(id), Some(id)),
            (3, Some(id)) => (LeaseRequest::Update(id, Expiry::After(ttl)), Some(id)),
            (4, Some(id)) => {
                self.replica().get_lease(id).await?;
                return Ok(());
            }
            (_, Some(id)) => (LeaseRequest::KeepAlive(id), Some(id)),
        };
        match (self.write(Write::Lease(request)).await, id) {
            (Ok(answer), None) => {
                let id = answer.into_lease()?.id;
                self.leases.push(id);
                let set = SetRequest::new(self.key(), self.value()).lease(id);
                self.write(Write::Set(set)).await.map(drop)
            }
            (Err(error), Some(id)) if error.kind() == ErrorKind::LeaseNotFound => {
                self.leases.retain(|known| *known != id);
                Ok(())
            }
            (outcome, _) => outcome.map(drop),
        }
    }

    fn set(&mut self) -> SetRequest {
        let key = self.key();
        let condition = self.condition(&key);
        let set = SetRequest::new(key, self.value()).condition(condition);
        match self.random.below(20) {
            0 => set.ttl(self.random.between(Duration::from_millis(50), self.load.ttl_max)),
            1 => set.expiry(Expiry::Never),
            2 if !self.leases.is_empty() => set.lease(*self.random.choose(&self.leases)),
            3 if !self.leases.is_empty() => SetRequest {
                lease: SetLease::Attach(*self.random.choose(&self.leases)),
                ..set
            },
            4 if self.load.format_2 => SetRequest {
                lease: SetLease::Detach,
                ..set
            },
            _ => set,
        }
    }

    /// A lease that nobody else chooses, which may be shown by a number that the store gives out as well.
    fn chosen_lease(&mut self) -> LeaseId {
        self.chosen += 1;
        let number = self.number as i64 + 1_000 * self.chosen;
        LeaseId::chosen(number).expect("the number is above 0")
    }

    fn txn(&mut self) -> Txn {
        let compared = self.key();
        let compare = match self.random.below(3) {
            0 => Compare::exists(compared),
            1 => Compare::absent(compared),
            _ => Compare::version(compared, 1 + self.random.below(9).cast_signed()),
        };
        Txn {
            compare: vec![compare],
            then: self.branch(),
            otherwise: self.branch(),
        }
    }

    /// Operations on keys that differ, one Set at least.
    fn branch(&mut self) -> Vec<Operation> {
        let mut keys: Vec<Key> = Vec::new();
        for _ in 0..4 {
            let key = self.key();
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        let operations = keys.into_iter().enumerate().map(|(number, key)| {
            let kind = if number == 0 { 0 } else { self.random.below(4) };
            match kind {
                0 | 1 => Operation::Set(SetRequest::new(key, self.value())),
                2 => Operation::Delete(goku::DeleteRequest::new(key)),
                _ => Operation::Get(key),
            }
        });
        operations.collect()
    }

    fn condition(&mut self, key: &Key) -> Condition {
        let seen = self.seen.iter().rev().find(|entry| entry.key == *key);
        match (self.random.below(10), seen) {
            (0 | 1, Some(entry)) => Condition::Version(entry.version),
            (2, Some(entry)) => Condition::Ref(entry.updated_ref),
            (3, _) => Condition::Absent,
            _ => Condition::Any,
        }
    }

    fn key(&mut self) -> Key {
        let prefix = *self.random.choose(&PREFIXES);
        let number = self.random.below(self.load.keys / PREFIXES.len() as u64);
        // Some keys are no text.
        let is_text = number % 4 < 3 || !self.load.format_2;
        let mark: &[u8] = if is_text { b"k" } else { b"k\xff" };
        let key = [prefix.as_bytes(), mark, number.to_string().as_bytes()].concat();
        Key::from_bytes(key).expect("the key has a few bytes")
    }

    /// A value that nobody else sets.
    fn value(&mut self) -> Bytes {
        self.values += 1;
        let mut value = format!("{}-{} ", self.number, self.values).into_bytes();
        let length = match self.random.below(30) {
            0 => LARGE_BYTES,
            _ => 16,
        };
        value.resize(length.max(value.len()), b'.');
        value.into()
    }

    fn see(&mut self, entry: Entry) {
        self.seen.push(entry);
        if self.seen.len() > 64 {
            self.seen.remove(0);
        }
    }

    fn replica(&mut self) -> Arc<dyn Client> {
        self.random.choose(&self.replicas).clone()
    }
}
