//! A member's knowledge of its group: the members, and who holds which partition.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::StreamExt;

use super::assignment::assign;
use super::keys::{Keys, Meaning};
use super::settings::Settings;
use crate::client::Client;
use crate::cursor::ConsumerName;
use crate::error::Result;
use crate::event::{Event, EventType};
use crate::id::{EventId, LeaseId, Snapshot};
use crate::key::Key;
use crate::request::ListRequest;

/// A group as it is known up to some event.
#[derive(Clone, Debug)]
pub(super) struct View {
    name: ConsumerName,
    keys: Keys,
    pub(super) settings: Option<Settings>,
    /// Members by their leases, with their labels.
    pub(super) members: BTreeMap<LeaseId, String>,
    claims: BTreeMap<u32, Claim>,
}

/// A partition as it is known.
#[derive(Clone, Copy, Debug)]
struct Claim {
    /// The event by which it is known.
    at: EventId,
    holder: Option<LeaseId>,
}

impl View {
    /// The group as the store has it now, and the place of that in the log.
    pub(super) async fn read(client: &dyn Client, name: &ConsumerName) -> Result<(View, Snapshot)> {
        let keys = Keys::of(name);
        let mut entries = client.list(ListRequest::new(keys.prefix()?)).await?;
        let mut view = View {
            name: name.clone(),
            keys,
            settings: None,
            members: BTreeMap::new(),
            claims: BTreeMap::new(),
        };
        let at = entries.at();
        while let Some(entry) = entries.next().await {
            let entry = entry?;
            view.change(
                &entry.key,
                entry.updated_ref,
                Some((entry.inline_value()?, entry.lease_id)),
            )?;
        }
        Ok((view, at))
    }

    /// Takes in what has happened.
    pub(super) fn apply(&mut self, event: &Event) -> Result<()> {
        let state = match event.event_type {
            EventType::Set => Some((event.inline_value()?, event.lease_id)),
            EventType::Delete | EventType::Expire => None,
        };
        self.change(&event.key, event.id, state)
    }

    /// Takes in what the store had at some point: of later changes what is known stays.
    pub(super) fn replace(&mut self, newer: View, at: Snapshot) {
        let older = std::mem::replace(self, newer);
        let later = older.claims.into_iter().filter(|(_, claim)| claim.at > at.position.id);
        self.claims.extend(later);
    }

    /// A partition was claimed by `holder`, by the event `at`.
    pub(super) fn claimed(&mut self, partition: u32, at: EventId, holder: LeaseId) {
        self.know(partition, at, Some(holder));
    }

    /// The holder of a partition, and the event by which it holds it.
    pub(super) fn holder(&self, partition: u32) -> Option<(LeaseId, EventId)> {
        let claim = self.claims.get(&partition)?;
        Some((claim.holder?, claim.at))
    }

    /// The partitions that `member` holds, and by which events.
    pub(super) fn held_by(&self, member: LeaseId) -> impl Iterator<Item = (u32, EventId)> {
        let own = self
            .claims
            .iter()
            .filter(move |(_, claim)| claim.holder == Some(member));
        own.map(|(partition, claim)| (*partition, claim.at))
    }

    /// The partitions that `member` is to hold.
    pub(super) fn assigned(&self, partitions: u32, member: LeaseId) -> BTreeSet<u32> {
        let members = self.members.keys().copied().collect();
        let holders = self.claims.iter();
        let holders = holders.filter_map(|(partition, claim)| Some((*partition, claim.holder?)));
        let assigned = assign(partitions, &members, &holders.collect()).into_iter();
        assigned
            .filter(|(_, holder)| *holder == member)
            .map(|(partition, _)| partition)
            .collect()
    }

    fn change(&mut self, key: &Key, at: EventId, state: Option<(&Bytes, LeaseId)>) -> Result<()> {
        match self.keys.meaning(key) {
            Some(Meaning::Settings) => {
                let read = state.map(|(value, _)| Settings::read(&self.name, value));
                self.settings = read.transpose()?;
            }
            Some(Meaning::Member(lease)) => match state {
                Some((label, _)) => {
                    self.members.insert(lease, String::from_utf8_lossy(label).into_owned());
                }
                None => {
                    self.members.remove(&lease);
                }
            },
            Some(Meaning::Partition(number)) => self.know(number, at, state.map(|(_, lease)| lease)),
            None => {}
        }
        Ok(())
    }

    fn know(&mut self, partition: u32, at: EventId, holder: Option<LeaseId>) {
        let known = self.claims.get(&partition).map_or(EventId::ZERO, |claim| claim.at);
        if at > known {
            self.claims.insert(partition, Claim { at, holder });
        }
    }
}
