//! All rights of a caller, ready to be asked.

use super::demand::{Demand, Demands};
use super::name::AccessName;
use super::range_set::RangeSet;
use super::role::{Grant, Scope};
use super::verb::Verb;
use crate::consumer::RESERVED_PREFIX;
use crate::error::{Error, ErrorKind, Result};
use crate::key::KeyRange;

/// What is kept for a consumer, each below [`RESERVED_PREFIX`] and with the consumer's name after it.
const OF_CONSUMERS: [&str; 3] = ["dead/", "failing/", "group/"];

/// All that a caller may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rights {
    /// Whose they are; `None` for a caller that said nothing of who it is.
    identity: Option<AccessName>,
    /// Whether everything may be done, whatever else is said.
    everything: bool,
    read: RangeSet,
    watch: RangeSet,
    write: RangeSet,
    lease: RangeSet,
    consume: RangeSet,
    observe: bool,
    admin: bool,
}

impl Rights {
    /// The rights to do everything, as they are while no rights are asked for.
    pub(crate) fn everything(identity: Option<AccessName>) -> Rights {
        Rights {
            everything: true,
            ..Rights::of(identity, &[])
        }
    }

    /// The rights that these grants make together.
    pub(crate) fn of<'g>(identity: Option<AccessName>, grants: impl IntoIterator<Item = &'g Grant> + Clone) -> Rights {
        let with = |verb: Verb| {
            let grants = grants.clone().into_iter();
            grants
                .filter(move |grant| grant.verbs.contains(&verb))
                .map(|grant| &grant.scope)
        };
        let ranges = |verb: Verb| with(verb).map(Scope::range);
        // Whoever runs a consumer uses the keys that are kept for it.
        let and_of_consumers = |verb: Verb| {
            let kept = with(Verb::Consume).flat_map(|scope| OF_CONSUMERS.map(|kind| kept_for(kind, scope)));
            ranges(verb).chain(kept).collect()
        };
        Rights {
            identity,
            everything: false,
            read: and_of_consumers(Verb::Read),
            watch: and_of_consumers(Verb::Watch),
            write: and_of_consumers(Verb::Write),
            lease: ranges(Verb::Lease).collect(),
            consume: ranges(Verb::Consume).collect(),
            observe: with(Verb::Observe).next().is_some(),
            admin: with(Verb::Admin).next().is_some(),
        }
    }

    /// Whether rights are asked for: these are not those to do everything because nobody asks.
    pub(crate) fn are_asked_for(&self) -> bool {
        !self.everything
    }

    /// Whose rights these are.
    pub(crate) fn identity(&self) -> Option<&AccessName> {
        self.identity.as_ref()
    }

    /// Checks whether a request may be made: `PermissionDenied` where it may not.
    pub(crate) fn check(&self, request: &(impl Demands + ?Sized)) -> Result<()> {
        match self.everything {
            true => Ok(()),
            false => request.each(&mut |demand| self.check_one(&demand)),
        }
    }

    fn check_one(&self, demand: &Demand<'_>) -> Result<()> {
        let has = match demand {
            Demand::Key(verb, key) => self
                .of_verb(*verb)
                .is_some_and(|ranges| ranges.contains(key.as_bytes())),
            Demand::Range(verb, range) => self.of_verb(*verb).is_some_and(|ranges| ranges.covers(range)),
            Demand::Consumer(name) => self.consume.contains(name.as_str().as_bytes()),
            Demand::Observe => self.observe,
            Demand::Admin => self.admin,
            Demand::Leases => self.lease.is_everything(),
            Demand::GrantLease => !self.write.is_empty() || !self.lease.is_empty(),
            Demand::Anything => self.has_any(),
        };
        if has { Ok(()) } else { Err(self.denied(demand)) }
    }

    /// Whether the rights are those of whoever has this lease as its own: `identity` is `None` for a lease of nobody.
    pub(crate) fn owns(&self, owner: Option<&str>) -> bool {
        self.everything || owner.is_some_and(|owner| self.identity.as_ref().is_some_and(|name| name.as_str() == owner))
    }

    /// Whether a lease with these keys may be read, renewed and ended.
    pub(crate) fn covers_lease<'k>(&self, mut keys: impl Iterator<Item = &'k [u8]>) -> bool {
        self.everything || keys.all(|key| self.write.contains(key) || self.lease.contains(key))
    }

    /// Whether every lease may be read, renewed and ended.
    pub(crate) fn covers_all_leases(&self) -> bool {
        self.everything || self.lease.is_everything()
    }

    fn has_any(&self) -> bool {
        let ranges = [&self.read, &self.watch, &self.write, &self.lease, &self.consume];
        self.observe || self.admin || ranges.iter().any(|ranges| !ranges.is_empty())
    }

    fn of_verb(&self, verb: Verb) -> Option<&RangeSet> {
        match verb {
            Verb::Read => Some(&self.read),
            Verb::Watch => Some(&self.watch),
            Verb::Write => Some(&self.write),
            Verb::Lease => Some(&self.lease),
            Verb::Consume => Some(&self.consume),
            Verb::Observe | Verb::Admin => None,
        }
    }

    /// The error for whoever may not do what it asks for. It says nothing of what there is.
    fn denied(&self, demand: &Demand<'_>) -> Error {
        let message = format!("permission denied: {} may not {demand}", self.who());
        Error::new(ErrorKind::PermissionDenied, message)
    }

    /// The error for whoever may not use a lease.
    pub(crate) fn denied_lease(&self, lease: impl std::fmt::Display) -> Error {
        let message = format!(
            "permission denied: {} may not use lease {lease}: it belongs to another identity, and not all of its keys may \
             be written",
            self.who()
        );
        Error::new(ErrorKind::PermissionDenied, message)
    }

    fn who(&self) -> String {
        match &self.identity {
            Some(name) => format!("{:?}", name.as_str()),
            None => "a caller without credentials".to_owned(),
        }
    }
}

/// The range of the keys of one kind that are kept for consumers whose names are in a scope.
fn kept_for(kind: &str, scope: &Scope) -> KeyRange {
    let below = |name: &[u8], end: &[u8]| [RESERVED_PREFIX.as_bytes(), kind.as_bytes(), name, end].concat();
    match scope {
        Scope::Prefix(prefix) => Scope::Prefix(below(prefix, b"")).range(),
        Scope::Key(name) => Scope::Prefix(below(name, b"/")).range(),
    }
}
