//! No lease ends before its last acknowledged deadline, none is renewed after its end, and none outlives it for long.

use std::collections::HashMap;
use std::time::Duration;

use goku::{Event, EventType, Expiry, LeaseId, LeaseRequest, SetRequest, Timestamp};

use super::timeline::Timeline;
use super::{Invariant, Report};
use crate::history::{Answer, History, Request};

/// How long after its deadline a lease may still be there once all faults are healed: far over what a healthy store
/// needs.
const OVERDUE_MAX: Duration = Duration::from_secs(5);

/// What is known of one lease.
#[derive(Default)]
struct Known {
    /// When it was given a deadline, by the time of the store, and which; none where it was given none.
    deadlines: Vec<(Timestamp, Option<Timestamp>)>,
    /// When it was seen alive.
    alive: Vec<Timestamp>,
    /// Whether a request may have ended it, or changed its deadline unseen.
    uncertain: bool,
    /// When it ended.
    ended: Option<(Timestamp, usize)>,
}

pub(super) fn check(history: &History, timeline: &Timeline<'_>, report: &mut Report) {
    let mut leases: HashMap<LeaseId, Known> = HashMap::new();
    collect_answers(history, &mut leases);
    collect_events(history, timeline, &mut leases);
    for (id, known) in &leases {
        if let Err(why) = check_lease(known) {
            report.add(Invariant::Leases, format!("lease {id}: {why}"));
        }
    }
    check_overdue(history, &leases, report);
}

/// How long after their deadlines leases ended.
pub(super) fn lateness(history: &History, timeline: &Timeline<'_>) -> Vec<Duration> {
    let mut leases: HashMap<LeaseId, Known> = HashMap::new();
    collect_answers(history, &mut leases);
    collect_events(history, timeline, &mut leases);
    let known = leases.values().filter(|known| !known.uncertain);
    known
        .filter_map(|known| {
            let (ended, _) = known.ended?;
            let deadline = last_deadlines(known, ended).into_iter().flatten().max()?;
            Some(ended.saturating_since(deadline))
        })
        .collect()
}

fn collect_answers(history: &History, leases: &mut HashMap<LeaseId, Known>) {
    for call in &history.calls {
        let changes = match &call.request {
            Request::Lease(request) => Some(*request),
            Request::GetLease(_) => None,
            _ => continue,
        };
        match (call.success(), changes) {
            (Some((_, Answer::Lease(lease))), changes) => {
                let known = leases.entry(lease.id).or_default();
                match changes {
                    Some(LeaseRequest::Expire(_)) => known.uncertain = true,
                    Some(_) => {
                        known.deadlines.push((lease.now, lease.expires_at));
                        known.alive.push(lease.now);
                    }
                    // A plain read may come late, but never sees a lease that had ended before it.
                    None => {}
                }
            }
            (_, Some(LeaseRequest::Update(id, _) | LeaseRequest::Expire(id))) if call.is_unknown() => {
                leases.entry(id).or_default().uncertain = true;
            }
            _ => {}
        }
    }
}

fn collect_events(history: &History, timeline: &Timeline<'_>, leases: &mut HashMap<LeaseId, Known>) {
    for (place, event) in timeline.log().iter().enumerate() {
        match event.event_type {
            EventType::Expire => {
                let known = leases.entry(event.lease_id).or_default();
                known.ended.get_or_insert((event.timestamp, place));
            }
            EventType::Set => {
                let Some(set) = set_of(history, timeline, place) else {
                    continue;
                };
                let known = leases.entry(event.lease_id).or_default();
                match set.expiry {
                    Expiry::Keep => {}
                    Expiry::Never => known.deadlines.push((event.timestamp, None)),
                    Expiry::At(deadline) => known.deadlines.push((event.timestamp, Some(deadline))),
                    Expiry::After(ttl) => {
                        let deadline = event.timestamp.saturating_add(ttl);
                        known.deadlines.push((event.timestamp, Some(deadline)));
                    }
                }
                if known.ended.is_some_and(|(_, ended)| ended < place) {
                    known.alive.push(Timestamp::MAX);
                }
            }
            EventType::Delete => {}
        }
    }
}

fn set_of<'h>(history: &'h History, timeline: &Timeline<'_>, place: usize) -> Option<&'h SetRequest> {
    let event: &Event = &timeline.log()[place];
    let call = &history.calls[timeline.caller(place)?];
    call.sets().into_iter().find(|set| set.value == event.value)
}

fn check_lease(known: &Known) -> Result<(), String> {
    let Some((ended, _)) = known.ended else {
        return Ok(());
    };
    if let Some(alive) = known.alive.iter().find(|alive| **alive > ended) {
        return Err(format!("used at {alive:?}, after its end at {ended:?}"));
    }
    if known.uncertain || known.deadlines.is_empty() {
        return Ok(());
    }
    let last = last_deadlines(known, ended);
    if last.iter().flatten().any(|deadline| *deadline <= ended) {
        return Ok(());
    }
    Err(format!("ended at {ended:?}, and its deadline was {last:?}"))
}

/// The deadlines that were given last before a time; several where they were given in the same millisecond.
fn last_deadlines(known: &Known, until: Timestamp) -> Vec<Option<Timestamp>> {
    let given = known.deadlines.iter().filter(|(at, _)| *at <= until);
    let Some(last) = given.clone().map(|(at, _)| *at).max() else {
        return Vec::new();
    };
    given
        .filter(|(at, _)| *at == last)
        .map(|(_, deadline)| *deadline)
        .collect()
}

fn check_overdue(history: &History, leases: &HashMap<LeaseId, Known>, report: &mut Report) {
    let now = history.last.status.time;
    for entry in &history.last.entries {
        let Some(known) = leases.get(&entry.lease_id).filter(|known| !known.uncertain) else {
            continue;
        };
        let last = last_deadlines(known, now);
        let latest = last.into_iter().try_fold(Timestamp::MIN, |latest, deadline| {
            deadline.map(|deadline| deadline.max(latest))
        });
        let renewed_unseen = history.calls.iter().any(|call| {
            call.is_unknown()
                && matches!(call.request, Request::Lease(LeaseRequest::KeepAlive(id)) if id == entry.lease_id)
        });
        if let Some(deadline) = latest
            && deadline > Timestamp::MIN
            && !renewed_unseen
            && now.saturating_since(deadline) > OVERDUE_MAX
        {
            report.add(
                Invariant::Leases,
                format!("{:?} lives at {now:?}, and its lease ended at {deadline:?}", entry.key),
            );
        }
    }
}
