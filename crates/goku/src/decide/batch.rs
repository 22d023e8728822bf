//! A batch: the requests that commit together, decided in turn.

use super::members::Members;
use super::needs::Needs;
use super::request::{Answer, ExpiryOutcome, Request};
use super::session_row::SessionRow;
use super::settings::Configured;
use super::state::{Head, LeaseRow, Row, State};
use super::working::{Decided, Stop, Working};
use super::{configure, epoch, lease, session, txn, write};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::id::{LeaseId, Tag};
use crate::key::Key;
use crate::lease::LeaseRequest;
use crate::write::SessionId;

/// The requests that commit together.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) requests: Vec<Request>,
    /// A random number, new for each attempt: the batch's events carry it, and it tells the outcome of the commit.
    pub(crate) tag: Tag,
    /// The newest head that this engine has seen committed: a store without the last event of this head has lost it.
    pub(crate) seen: Head,
}

/// Decides a batch on the state that it meets, or tells what else must be loaded to do so.
pub(crate) type Decide<'d> = dyn FnMut(&State) -> Result<Decision, Box<Needs>> + Send + 'd;

/// The changes that a batch makes to the store.
#[derive(Clone, Debug)]
pub(crate) struct Decision {
    /// The tag of the batch before it.
    pub(crate) after: Tag,
    /// The head after it.
    pub(crate) head: Head,
    /// The rows of `data` to write, values included, in the order of their keys.
    pub(crate) rows: Vec<(Key, Row)>,
    /// The rows of `leases` to write.
    pub(crate) leases: Vec<(LeaseId, LeaseRow)>,
    /// The rows of `sessions` to write.
    pub(crate) sessions: Vec<(SessionId, SessionRow)>,
    /// The deadlines of the leases that ended as these had passed.
    pub(crate) expired: Vec<Timestamp>,
    /// The change of a setting.
    pub(crate) configured: Option<Configured>,
    /// The events to append, their ids following each other.
    pub(crate) events: Vec<Event>,
    /// The answers, one a request, in order.
    pub(crate) answers: Vec<Result<Answer>>,
    /// Whether anything but the last time given changes, so that there is something to commit.
    pub(crate) writes: bool,
}

impl Decision {
    /// A decision that changes nothing and answers nobody.
    #[cfg(any(test, feature = "faults"))]
    pub(crate) fn nothing(head: &Head) -> Decision {
        Decision {
            after: head.batch,
            head: *head,
            rows: Vec::new(),
            leases: Vec::new(),
            sessions: Vec::new(),
            expired: Vec::new(),
            configured: None,
            events: Vec::new(),
            answers: Vec::new(),
            writes: false,
        }
    }

    /// Whether this decision, as that of the batch with this tag, begins a new epoch: the salt of an epoch is the tag of its
    /// first batch.
    pub(crate) fn begins_epoch(&self, tag: Tag) -> bool {
        self.head.epoch.salt() == tag.get()
    }

    /// Moves the decision to the time at which it is applied.
    #[cfg(any(test, feature = "mysql", feature = "sim"))]
    pub(crate) fn move_to(&mut self, time: Timestamp) {
        self.head.last_time = time;
        for event in &mut self.events {
            event.timestamp = time;
        }
    }

    /// The keys among these that have no row among those to be written.
    pub(crate) fn not_written<'k>(&self, keys: &'k [Key]) -> impl Iterator<Item = &'k Key> {
        let is_written = |key: &Key| self.rows.binary_search_by(|(written, _)| written.cmp(key)).is_ok();
        keys.iter().filter(move |key| !is_written(key))
    }
}

impl Request {
    fn first_needs(&self, needs: &mut Needs) {
        match self {
            Request::Set(set) => {
                needs.key(&set.key, false);
                needs.leases.extend(set.lease.named());
            }
            Request::Delete(delete) => needs.key(&delete.key, false),
            Request::Txn(txn) => txn::first_needs(txn, needs),
            Request::Lease(request) => match request {
                LeaseRequest::Grant(_) => {}
                LeaseRequest::GrantAs(id, _) => needs
                    .leases
                    .extend([Some(*id), id.counted_twin()].into_iter().flatten()),
                LeaseRequest::Update(id, _) | LeaseRequest::KeepAlive(id) => drop(needs.leases.insert(*id)),
                LeaseRequest::Expire(id) => {
                    needs.leases.insert(*id);
                    needs.members.insert(*id);
                }
            },
            Request::Once(id, request) => {
                needs.sessions.insert(id.session);
                request.first_needs(needs);
            }
            Request::From(_, request) | Request::WhileFull(_, request) => request.first_needs(needs),
            Request::Checked(_, request) | Request::By(_, request) => request.first_needs(needs),
            // Only a look under the lock tells which leases are due, and settings change under it alone.
            Request::Probe | Request::Configure(_) => needs.due = Some(needs.due.unwrap_or(0)),
            Request::ExpireDue(limit) => needs.due = Some(needs.due.unwrap_or(0).max(*limit)),
            Request::ExpireIfDue(leases) => {
                needs.leases.extend(leases.iter());
                needs.members.extend(leases.iter());
            }
            Request::ExpirePiece(piece) => {
                needs.leases.insert(piece.lease);
                for key in &piece.keys {
                    needs.key(key, false);
                }
            }
        }
    }

    fn decide(&self, working: &mut Working<'_>) -> Decided<Answer> {
        match self {
            Request::Set(set) => write::set(working, set).map(Answer::Entry),
            Request::Delete(delete) => write::delete(working, delete).map(Answer::Entry),
            Request::Txn(txn) => txn::decide(working, txn).map(Answer::Txn),
            Request::Lease(request) => lease::decide(working, *request).map(Answer::Lease),
            Request::From(origin, request) => {
                working.origin = Some(origin.clone());
                request.decide(working)
            }
            Request::Once(_, request) | Request::WhileFull(_, request) => request.decide(working),
            Request::Checked(_, request) | Request::By(_, request) => request.decide(working),
            Request::Configure(change) => configure::decide(working, change).map(Answer::Configured),
            Request::Probe => Ok(Answer::Probed),
            Request::ExpireDue(_) => {
                working.state.due.as_ref().ok_or(Stop::Missing)?;
                let more = working
                    .head
                    .next_deadline
                    .is_some_and(|deadline| deadline <= working.state.now);
                Ok(Answer::ExpiredDue { more })
            }
            // The leases, like all that were loaded, have expired before the first request.
            Request::ExpireIfDue(leases) => Ok(Answer::ExpiredIfDue(expiry_outcome(working, leases))),
            // The keys of this lease have expired by then, too.
            Request::ExpirePiece(piece) => {
                let was_due = |row: &LeaseRow| row.is_due(working.state.now);
                let found = working.state.leases.get(&piece.lease).cloned().flatten();
                let is_due = found.as_ref().is_some_and(was_due);
                let is_of_it = |row: &Row| row.is_live() && row.lease_id == piece.lease;
                let rows = piece
                    .keys
                    .iter()
                    .filter_map(|key| working.state.rows.get(key)?.as_ref());
                Ok(Answer::ExpiredPiece {
                    more: working.known_lease(piece.lease).as_ref().is_some_and(was_due),
                    keys: if is_due {
                        rows.filter(|row| is_of_it(row)).count()
                    } else {
                        0
                    },
                })
            }
        }
    }
}

impl Batch {
    /// The rows to load first, before anything is known.
    pub(crate) fn first_needs(&self) -> Needs {
        let mut needs = first_needs(&self.requests);
        needs.tag_of = epoch::event_to_check(&self.seen);
        needs
    }

    /// Decides the batch, or returns what else must be loaded to do so.
    ///
    /// First every lease expires that the batch met and whose deadline has passed; then each request is decided on what the
    /// earlier ones left. A request that fails changes nothing and fails alone.
    pub(crate) fn decide(&self, state: &State) -> Result<Decision, Box<Needs>> {
        let mut working = Working::new(state, self.tag);
        let lost = epoch::is_lost(&self.seen, state);
        if lost {
            working.head = epoch::begin(&self.seen, &working.head, self.tag);
        }
        if let Some(due) = &state.due {
            working.head.next_deadline = due.next_deadline;
        }
        require_leases_of_rows(&mut working);
        let pieces: Vec<_> = self.requests.iter().filter_map(Request::piece).collect();
        // Rows that the expiry misses are in the needs; the requests are gone through all the same to collect theirs.
        drop(lease::expire_due(&mut working, &pieces));
        let answers = self
            .requests
            .iter()
            .map(|request| answer(request, &mut working))
            .collect();
        if !working.needs.is_empty() {
            return Err(Box::new(working.needs));
        }
        let writes = !(working.events.is_empty() && working.leases.is_empty() && working.sessions.is_empty())
            || working.configured.is_some()
            || working.head.next_deadline != state.head.next_deadline
            || lost;
        let last_tag = working.snapshot().position.tag;
        Ok(Decision {
            after: state.head.batch,
            head: Head {
                last_tag,
                batch: if writes { self.tag } else { state.head.batch },
                ..working.head
            },
            rows: working.rows.into_iter().collect(),
            leases: working.leases.into_iter().collect(),
            sessions: working.sessions.into_iter().collect(),
            expired: working.expired,
            configured: working.configured,
            events: working.events,
            answers,
            writes,
        })
    }
}

/// The rows that these requests need first, whatever the store holds.
pub(crate) fn first_needs<'r>(requests: impl IntoIterator<Item = &'r Request>) -> Needs {
    let mut needs = Needs::default();
    for request in requests {
        request.first_needs(&mut needs);
    }
    needs
}

/// Counts what became of these leases, after all that were loaded and due have expired as far as they could.
fn expiry_outcome(working: &Working<'_>, leases: &[LeaseId]) -> ExpiryOutcome {
    let state = working.state;
    let is_due = |row: LeaseRow| row.is_due(state.now);
    let mut outcome = ExpiryOutcome::default();
    for id in leases {
        if !state.leases.get(id).cloned().flatten().is_some_and(is_due) {
            continue;
        }
        outcome.due += 1;
        if !working.known_lease(*id).is_some_and(is_due) {
            continue;
        }
        match state.members.get(id) {
            Some(Members::Many) => outcome.large.push(*id),
            _ => outcome.left += 1,
        }
    }
    outcome
}

fn answer(request: &Request, working: &mut Working<'_>) -> Result<Answer> {
    match request {
        Request::Checked(settings, request) => match *settings == working.head.settings {
            true => answer(request, working),
            false => Ok(Answer::OtherSettings),
        },
        Request::By(rights, request) => {
            working.rights = Some(rights.clone());
            let answer = answer(request, working);
            working.rights = None;
            answer
        }
        Request::Once(id, request) => session::once(working, *id, request, |working| answer(request, working)),
        Request::WhileFull(leases, request) => {
            working.full = leases.to_vec();
            let answer = answer(request, working);
            working.full.clear();
            answer
        }
        request => answer_anew(request, working),
    }
}

fn answer_anew(request: &Request, working: &mut Working<'_>) -> Result<Answer> {
    working.begin();
    match request.decide(working) {
        Ok(answer) => Ok(answer),
        Err(stop) => {
            working.roll_back();
            match stop {
                Stop::Failed(error) => Err(error),
                Stop::Missing => Err(Error::new(ErrorKind::Internal, "a row was not loaded")),
            }
        }
    }
}

/// Requires the lease of each live row: only the lease's own row tells whether its deadline has passed.
fn require_leases_of_rows(working: &mut Working<'_>) {
    let state = working.state;
    let live = state.rows.values().flatten().filter(|row| row.is_live());
    working
        .needs
        .leases
        .extend(live.map(|row| row.lease_id).filter(|id| !state.leases.contains_key(id)));
}
