//! Faults to plant into a sound history, by which the checks are themselves checked.

use std::str::FromStr;
use std::time::Duration;

use goku::{ErrorKind, Event, EventType, LeaseRequest, StreamItem};

use super::Invariant;
use crate::history::{Answer, Call, History, Request};

/// A fault that a check must catch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// An acknowledged write is not in the log.
    LostAck,
    /// A read answers with a state that was gone before it began.
    StaleRead,
    /// A write that was answered before another began stands behind it.
    LateWrite,
    /// A conditional write was done though its condition was false.
    FalseCondition,
    /// A stream leaves an event out.
    SkippedEvent,
    /// A stream delivers an event twice.
    DoubledEvent,
    /// A stream delivers two events in the wrong order.
    ReorderedEvent,
    /// A stream that is still read lacks its last event.
    StalledStream,
    /// An id of the log is left out.
    GapInLog,
    /// A key is missing that the log leads to.
    LostRow,
    /// The head is behind the log.
    HeadBehind,
    /// A write whose outcome is unknown is done twice.
    DoubleApply,
    /// A write that failed was done.
    FailedApplied,
    /// A transaction whose outcome is unknown is done in part.
    TornTxn,
    /// A lease ends before its deadline.
    EarlyExpiry,
    /// A lease is renewed after its end.
    LateRenewal,
    /// A position names two events.
    ForeignPosition,
    /// A write fails after all faults were healed.
    NoRecovery,
}

impl Plant {
    /// All of them.
    pub const ALL: [Plant; 18] = [
        Plant::LostAck,
        Plant::StaleRead,
        Plant::LateWrite,
        Plant::FalseCondition,
        Plant::SkippedEvent,
        Plant::DoubledEvent,
        Plant::ReorderedEvent,
        Plant::StalledStream,
        Plant::GapInLog,
        Plant::LostRow,
        Plant::HeadBehind,
        Plant::DoubleApply,
        Plant::FailedApplied,
        Plant::TornTxn,
        Plant::EarlyExpiry,
        Plant::LateRenewal,
        Plant::ForeignPosition,
        Plant::NoRecovery,
    ];

    /// Its name, as a command line has it.
    pub fn name(self) -> &'static str {
        match self {
            Plant::LostAck => "lost-ack",
            Plant::StaleRead => "stale-read",
            Plant::LateWrite => "late-write",
            Plant::FalseCondition => "false-condition",
            Plant::SkippedEvent => "skipped-event",
            Plant::DoubledEvent => "doubled-event",
            Plant::ReorderedEvent => "reordered-event",
            Plant::StalledStream => "stalled-stream",
            Plant::GapInLog => "gap-in-log",
            Plant::LostRow => "lost-row",
            Plant::HeadBehind => "head-behind",
            Plant::DoubleApply => "double-apply",
            Plant::FailedApplied => "failed-applied",
            Plant::TornTxn => "torn-txn",
            Plant::EarlyExpiry => "early-expiry",
            Plant::LateRenewal => "late-renewal",
            Plant::ForeignPosition => "foreign-position",
            Plant::NoRecovery => "no-recovery",
        }
    }

    /// The invariant that it breaks.
    pub fn breaks(self) -> Invariant {
        match self {
            Plant::LostAck => Invariant::Acknowledged,
            Plant::StaleRead | Plant::LateWrite | Plant::FalseCondition => Invariant::Linearizable,
            Plant::SkippedEvent
            | Plant::DoubledEvent
            | Plant::ReorderedEvent
            | Plant::StalledStream
            | Plant::GapInLog => Invariant::Events,
            Plant::LostRow => Invariant::Tables,
            Plant::HeadBehind => Invariant::Head,
            Plant::DoubleApply | Plant::FailedApplied | Plant::TornTxn => Invariant::Unknown,
            Plant::EarlyExpiry | Plant::LateRenewal => Invariant::Leases,
            Plant::ForeignPosition => Invariant::Positions,
            Plant::NoRecovery => Invariant::Recovery,
        }
    }

    /// Puts it into a history; none where the history has no place for it.
    #[must_use]
    pub fn put_into(self, history: &mut History) -> Option<()> {
        match self {
            Plant::LostAck => {
                let place = place_of_last_set(history)?;
                history.last.log.remove(place);
            }
            Plant::StaleRead => return stale_read(history),
            Plant::LateWrite => return late_write(history),
            Plant::FalseCondition => {
                let set = history.calls.iter_mut().find_map(|call| match &mut call.request {
                    Request::Set(set) if matches!(call.returned, Some((_, Ok(_)))) => Some(set),
                    _ => None,
                })?;
                set.condition = goku::Condition::Ref(goku::EventId::new(i64::MAX).ok()?);
            }
            Plant::SkippedEvent => {
                longest_stream(history)?.remove(1);
            }
            Plant::DoubledEvent => {
                let items = longest_stream(history)?;
                items.insert(1, items[1].clone());
            }
            Plant::ReorderedEvent => longest_stream(history)?.swap(0, 1),
            Plant::StalledStream => {
                let stream = history.streams.iter_mut().find(|stream| stream.open)?;
                stream.items.pop()?;
            }
            Plant::GapInLog => {
                let place = history.last.log.len() / 2;
                (place > 0).then(|| history.last.log.remove(place))?;
            }
            Plant::LostRow => {
                history.last.entries.pop()?;
            }
            Plant::HeadBehind => {
                let head = &mut history.last.status.head.position.id;
                *head = goku::EventId::new(head.get() - 1).ok()?;
            }
            Plant::DoubleApply => return double_apply(history),
            Plant::FailedApplied => {
                let set = |call: &&mut Call| matches!(call.request, Request::Set(_)) && call.success().is_some();
                let call = history.calls.iter_mut().find(set)?;
                let (moment, _) = call.returned.take()?;
                call.returned = Some((moment, Err(ErrorKind::Unavailable)));
            }
            Plant::TornTxn => return torn_txn(history),
            Plant::EarlyExpiry => return early_expiry(history),
            Plant::LateRenewal => return late_renewal(history),
            Plant::ForeignPosition => {
                let items = longest_stream(history)?;
                let event = items.iter_mut().find_map(|(_, item)| match item {
                    StreamItem::Event(event) => Some(event),
                    StreamItem::Progress(_) => None,
                })?;
                event.timestamp = event.timestamp.saturating_add(Duration::from_millis(1));
            }
            Plant::NoRecovery => {
                let call = history.calls.iter_mut().rfind(|call| call.healed)?;
                let (moment, _) = call.returned.take()?;
                call.returned = Some((moment, Err(ErrorKind::Unavailable)));
            }
        }
        Some(())
    }
}

impl FromStr for Plant {
    type Err = String;

    fn from_str(name: &str) -> Result<Plant, String> {
        Plant::ALL
            .into_iter()
            .find(|plant| plant.name() == name)
            .ok_or_else(|| {
                let names: Vec<_> = Plant::ALL.iter().map(|plant| plant.name()).collect();
                format!("no fault is called {name}: they are {}", names.join(", "))
            })
    }
}

fn place_of_last_set(history: &History) -> Option<usize> {
    let sets = history
        .calls
        .iter()
        .filter(|call| matches!(call.request, Request::Set(_)));
    let last = sets.flat_map(Call::events).max()?;
    history.last.log.iter().position(|event| event.id == last)
}

/// The items of the stream that delivered most, two at least.
fn longest_stream(history: &mut History) -> Option<&mut Vec<(u64, StreamItem)>> {
    let items = history.streams.iter_mut().map(|stream| &mut stream.items);
    items.max_by_key(|items| items.len()).filter(|items| {
        items.len() >= 3 && matches!(items[..2], [(_, StreamItem::Event(_)), (_, StreamItem::Event(_))])
    })
}

fn stale_read(history: &mut History) -> Option<()> {
    let log = history.last.log.clone();
    for call in history.calls.iter_mut().rev() {
        if let (Request::Get(_), Some((_, Ok(Answer::Entry(entry))))) = (&call.request, &mut call.returned) {
            let stale = log
                .iter()
                .rfind(|event| event.id < entry.updated_ref && event.key == entry.key && super::state::is_live(event));
            if let Some(stale) = stale {
                *entry = super::state::entry_of(stale);
                return Some(());
            }
        }
    }
    None
}

/// The first write that was answered is said to have begun after everything.
fn late_write(history: &mut History) -> Option<()> {
    let last = history
        .calls
        .iter()
        .filter_map(|call| call.success().map(|(moment, _)| moment))
        .max()?;
    let first = history
        .calls
        .iter_mut()
        .find(|call| matches!(call.request, Request::Set(_)) && call.success().is_some())?;
    first.invoked = last + 1;
    first.returned.as_mut()?.0 = last + 2;
    Some(())
}

/// The last Set is done once more, as a new event, and its row and the head agree.
fn double_apply(history: &mut History) -> Option<()> {
    let last = history.last.log.last()?.clone();
    let place = place_of_last_set(history)?;
    let first = history.last.log[place].clone();
    let again = Event {
        id: last.id.next(),
        rev: last.rev.next(),
        version: first.version.next(),
        prev_ref: first.id,
        timestamp: last.timestamp,
        ..first
    };
    history.last.log.push(again);
    Some(())
}

/// The last transaction of several Sets is unknown, and the log lacks the last of its events.
fn torn_txn(history: &mut History) -> Option<()> {
    let call = history
        .calls
        .iter_mut()
        .rfind(|call| matches!(call.request, Request::Txn(_)) && call.events().len() > 1)?;
    let last = call.events().into_iter().max()?;
    let (moment, _) = call.returned.take()?;
    call.returned = Some((moment, Err(ErrorKind::OutcomeUnknown)));
    history.last.log.retain(|event| event.id != last);
    Some(())
}

fn expired(history: &History) -> impl Iterator<Item = &Event> {
    let log = history.last.log.iter();
    log.filter(|event| event.event_type == EventType::Expire)
}

/// An answer had promised more time than the lease got.
fn early_expiry(history: &mut History) -> Option<()> {
    let ended: Vec<_> = expired(history).map(|event| event.lease_id).collect();
    for call in history.calls.iter_mut().rev() {
        if let (Request::Lease(request), Some((_, Ok(Answer::Lease(lease))))) = (&call.request, &mut call.returned)
            && !matches!(request, LeaseRequest::Expire(_))
            && ended.contains(&lease.id)
            && let Some(expires_at) = &mut lease.expires_at
        {
            *expires_at = expires_at.saturating_add(Duration::from_secs(3_600));
            return Some(());
        }
    }
    None
}

fn late_renewal(history: &mut History) -> Option<()> {
    let ended: Vec<_> = expired(history)
        .map(|event| (event.lease_id, event.timestamp))
        .collect();
    for call in history.calls.iter_mut().rev() {
        if let (Request::Lease(request), Some((_, Ok(Answer::Lease(lease))))) = (&call.request, &mut call.returned)
            && !matches!(request, LeaseRequest::Expire(_))
            && let Some((_, at)) = ended.iter().find(|(id, _)| *id == lease.id)
        {
            lease.now = at.saturating_add(Duration::from_secs(1));
            return Some(());
        }
    }
    None
}
