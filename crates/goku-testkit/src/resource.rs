//! Something outside of goku that consumers have effects on, and that checks who they are by.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use goku::Event;
use goku::consumer::{Delivery, Holding};
use tokio::time::Instant;

/// One effect of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The partition that it is of.
    pub partition: u32,
    /// The token of who holds the partition, or believes so.
    pub token: u64,
    /// Who that is.
    pub holder: String,
    /// The event's key.
    pub key: String,
    /// The event's id.
    pub event: i64,
}

impl Effect {
    /// That of a delivery, by `holder`, which holds its partition so.
    pub fn of(delivery: &Delivery, holding: &Holding, holder: &str) -> Effect {
        Effect {
            partition: holding.partition().number(),
            token: holding.token().get(),
            holder: holder.to_owned(),
            key: delivery.key().to_string(),
            event: delivery.id().get(),
        }
    }
}

/// A resource that refuses the effects of older holders, and repeated ones, and remembers what it was told.
#[derive(Debug, Default)]
pub struct Resource(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The newest token of each partition.
    tokens: BTreeMap<u32, u64>,
    /// The events of each key, in the order in which they had their effects.
    applied: BTreeMap<String, Vec<i64>>,
    tenures: BTreeMap<(u32, u64), Tenure>,
    refused: usize,
    repeated: usize,
    violations: Vec<String>,
}

/// The time in which a partition was held by one token.
#[derive(Clone, Debug)]
pub struct Tenure {
    /// Who held it.
    pub holder: String,
    /// When its first effect came.
    pub first: Instant,
}

impl Resource {
    /// Takes an effect; false where it comes from an older holder.
    pub fn apply(&self, effect: Effect) -> bool {
        let mut state = self.state();
        let Effect {
            partition,
            token,
            holder,
            key,
            event,
        } = effect;
        let newest = state.tokens.entry(partition).or_default();
        if token < *newest {
            state.refused += 1;
            return false;
        }
        *newest = token;
        let tenure = state.tenures.entry((partition, token)).or_insert_with(|| Tenure {
            holder: holder.clone(),
            first: Instant::now(),
        });
        if tenure.holder != holder {
            let violation = format!(
                "partition {partition} is held with token {token} by both {} and {holder}",
                tenure.holder
            );
            state.violations.push(violation);
        }
        let applied = state.applied.entry(key).or_default();
        if applied.last().is_some_and(|last| event <= *last) {
            state.repeated += 1;
        } else {
            applied.push(event);
        }
        true
    }

    /// How many events had their effects.
    pub fn applied(&self) -> usize {
        self.state().applied.values().map(Vec::len).sum()
    }

    /// How many effects came again.
    pub fn repeated(&self) -> usize {
        self.state().repeated
    }

    /// How many effects of older holders were refused.
    pub fn refused(&self) -> usize {
        self.state().refused
    }

    /// Who held each partition with which token.
    pub fn tenures(&self) -> BTreeMap<(u32, u64), Tenure> {
        self.state().tenures.clone()
    }

    /// What is not as a group promises, where `log` are all events that were to be handled: each of them, in the order of its
    /// key, and each token one holder's.
    pub fn violations(&self, log: &[Event]) -> Vec<String> {
        let state = self.state();
        let mut expected: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
        for event in log {
            expected
                .entry(event.key.text().unwrap())
                .or_default()
                .push(event.id.get());
        }
        let mut violations = state.violations.clone();
        for (key, events) in &expected {
            let applied = state.applied.get(*key).map_or(&[][..], Vec::as_slice);
            if applied != events {
                violations.push(format!("{key}: the effects are {applied:?}, the events {events:?}"));
            }
        }
        let unexpected = state.applied.keys().filter(|key| !expected.contains_key(key.as_str()));
        violations.extend(unexpected.map(|key| format!("{key}: effects without events")));
        violations
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // It is whole at any moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effect(partition: u32, token: u64, key: &str, event: i64) -> Effect {
        Effect {
            partition,
            token,
            holder: format!("holder {token}"),
            key: key.into(),
            event,
        }
    }

    #[test]
    fn an_older_holder_is_refused() {
        let resource = Resource::default();
        assert!(resource.apply(effect(0, 5, "k", 1)));
        assert!(resource.apply(effect(0, 6, "k", 1)));
        assert!(!resource.apply(effect(0, 5, "k", 2)));
        assert!(resource.apply(effect(1, 5, "l", 2)));
        assert_eq!((resource.applied(), resource.repeated(), resource.refused()), (2, 1, 1));
    }

    #[test]
    fn a_token_of_two_holders_is_told() {
        let resource = Resource::default();
        resource.apply(effect(0, 5, "k", 1));
        resource.apply(Effect {
            holder: "another".into(),
            ..effect(0, 5, "k", 1)
        });
        assert!(resource.violations(&[]).iter().any(|text| text.contains("by both")));
    }
}
