//! Predictions for a batch, against what it finds.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::clock::Timestamp;
use crate::decide::tests::*;
use crate::decide::*;
use crate::lease::{Expiry, LeaseRequest};
use crate::request::{DeleteRequest, SetLease, SetRequest};

/// A store, the batches that were written to it, and what it was after each.
#[derive(Default)]
struct History {
    now: Tables,
    before: Vec<Tables>,
    speculation: Speculation,
    tags: u64,
}

impl History {
    fn batch(&mut self, requests: Vec<Request>, seen: Head) -> Batch {
        self.tags += 1;
        Batch {
            requests,
            tag: Tag::new(self.tags),
            seen,
        }
    }

    /// A batch of this engine.
    fn write(&mut self, requests: Vec<Request>) {
        if let Some(decision) = self.write_unseen(requests) {
            self.speculation.wrote(Changes::from(&decision));
        }
    }

    /// A batch of somebody else; none where it changes nothing.
    fn write_unseen(&mut self, requests: Vec<Request>) -> Option<Decision> {
        let batch = self.batch(requests, self.now.head);
        let decision = self.now.decide(&batch, self.time());
        if !decision.writes {
            return None;
        }
        self.before.push(self.now.clone());
        self.now.apply(decision.clone());
        Some(decision)
    }

    /// A batch of this engine that is predicted, from what is known and otherwise from a read as of now; as any other where
    /// that cannot be.
    fn write_predicted(&mut self, requests: Vec<Request>) {
        let seen = self.now.head;
        let state = self.predict(&requests, &seen, self.before.len(), &mut [].into_iter());
        let batch = self.batch(requests.clone(), seen);
        let time = self.time();
        match state.and_then(|state| decide_before(&batch, state, time, &self.now)) {
            Some(decision) => {
                assert_eq!(decision.after, seen.batch);
                let found = self.now.decide(&batch, time);
                assert_eq!(format!("{decision:?}"), format!("{found:?}"));
                if decision.writes {
                    self.before.push(self.now.clone());
                    self.speculation.wrote(Changes::from(&decision));
                    self.now.apply(decision);
                }
            }
            None => self.write(requests),
        }
    }

    /// A batch of this engine that is taken for written, and then was not.
    fn predict_in_vain(&mut self, requests: Vec<Request>) {
        let batch = self.batch(requests, self.now.head);
        let never_written = self.now.clone().decide(&batch, self.time());
        self.speculation.wrote(Changes::from(&never_written));
        self.speculation.forget();
    }

    /// The time of the next batch, a second after the one before, so that leases of some end with others.
    fn time(&self) -> Timestamp {
        at(self.before.len())
    }

    fn at(&self, time: usize) -> &Tables {
        self.before.get(time).unwrap_or(&self.now)
    }

    /// The prediction for requests, from known rows and otherwise from rows that are read.
    fn predict(
        &mut self,
        requests: &[Request],
        seen: &Head,
        head: usize,
        times: &mut impl Iterator<Item = usize>,
    ) -> Option<State> {
        if requests.iter().any(Request::depends_on_time) {
            return None;
        }
        let needs = first_needs(requests);
        if self.speculation.knows(&needs) {
            return self.speculation.predict_known(&needs, seen);
        }
        let unknown = self.speculation.lacks(&needs);
        let read = self.read(&unknown, head, times);
        let read = Some(read).filter(|_| needs.can_be_predicted())?;
        self.speculation.predict(read, &needs, seen)
    }

    /// Reads as a store does without a lock: the head, then each row as it was at one of `times`, counted from that of the
    /// head.
    fn read(&self, needs: &Needs, head: usize, times: &mut impl Iterator<Item = usize>) -> ReadAhead {
        let now = at(head);
        let mut state = State::new(self.at(head).head, now);
        let mut last = head;
        let mut tables = || {
            let time = head + times.next().unwrap_or(0);
            last = last.max(time);
            self.at(time)
        };
        for (key, with_value) in &needs.keys {
            let tables = tables();
            let row = tables.rows.get(key);
            if let Some(row) = row {
                state.put_lease(row.lease_id, tables.leases.get(&row.lease_id).cloned());
            }
            state.put_row(key.clone(), row.map(|row| loaded(row, *with_value)));
        }
        for id in &needs.leases {
            state.put_lease(*id, tables().leases.get(id).cloned());
        }
        for id in &needs.members {
            let rows = tables().rows.iter().filter(|(_, row)| row.lease_id == *id);
            let rows = rows.map(|(key, row)| (key.clone(), loaded(row, false)));
            state.put_members([*id], rows.collect());
        }
        for id in &needs.sessions {
            state.put_session(*id, tables().sessions.get(id).cloned());
        }
        let until = self.at(last).head.batch;
        ReadAhead { state, until }
    }
}

fn at(batches: usize) -> Timestamp {
    Timestamp::from_millis(1_000 * (1 + batches as i64)).unwrap()
}

proptest! {
    #[test]
    fn what_is_foretold_is_what_the_store_was_at_one_moment(
        batches in prop::collection::vec((any_way(), any_numbered_requests()), 1..8),
        requests in any_foreseeable_requests(),
        head in 0_usize..8,
        newer in 0_usize..4,
        times in prop::collection::vec(0_usize..4, 0..8),
        later in 0_u64..4_000,
        assumes in any::<bool>(),
    ) {
        let mut history = History::default();
        if assumes {
            history.speculation.assume_at_once();
        }
        for (way, requests) in batches {
            match way {
                Way::Others => drop(history.write_unseen(requests)),
                Way::Locked => history.write(requests),
                Way::Foretold => history.write_predicted(requests),
                Way::InVain => history.predict_in_vain(requests),
            }
        }
        let head = head.min(history.before.len());
        let seen = history.at(head + newer).head;
        if let Some(state) = history.predict(&requests, &seen, head, &mut times.into_iter()) {
            let moments = history.before.iter().chain([&history.now]);
            let moment = moments.rev().find(|tables| tables.head.batch == state.head.batch);
            let mut moment = moment.expect("a batch that was written").clone();
            prop_assert_eq!(state.head, moment.head);
            prop_assert!(state.now >= state.head.last_time);
            let batch = history.batch(requests, state.head);
            let time = state.now.saturating_add(Duration::from_millis(later));
            if let Some(foreseen) = decide_before(&batch, state, time, &moment) {
                let found = moment.decide(&batch, time);
                prop_assert_eq!(format!("{foreseen:?}"), format!("{found:?}"));
            }
        }
    }
}

proptest! {
    /// The id of a lease that was chosen says nothing of when it was granted: taken for one that the counter has just given
    /// out, it would be remembered as a lease without a row, and keys that live by it would not find it any more.
    #[test]
    fn leases_that_were_chosen_are_foretold_as_they_are_found(
        batches in prop::collection::vec(prop::collection::vec(any_lease_work(), 1..3), 3..14),
        last in prop::collection::vec(any_lease_set(), 1..3),
        back in 0_usize..4,
        times in prop::collection::vec(0_usize..4, 0..4),
    ) {
        let mut history = History::default();
        for requests in batches {
            history.write_predicted(requests);
        }
        let head = history.before.len().saturating_sub(back);
        let seen = history.now.head;
        if let Some(state) = history.predict(&last, &seen, head, &mut times.into_iter()) {
            prop_assert_eq!(state.head, history.now.head);
            let (batch, time) = (history.batch(last, state.head), history.time());
            if let Some(foretold) = decide_before(&batch, state, time, &history.now) {
                let found = history.now.decide(&batch, time);
                prop_assert_eq!(format!("{foretold:?}"), format!("{found:?}"));
            }
        }
    }
}

fn any_lease_work() -> impl Strategy<Value = Request> {
    let chosen = prop::sample::select(vec![1, i64::MAX]).prop_map(|id| LeaseId::chosen(id).unwrap());
    prop_oneof![
        2 => chosen.prop_map(|id| Request::Lease(LeaseRequest::GrantAs(id, Expiry::Never))),
        8 => any_lease_set(),
        1 => any_delete().prop_map(Request::Delete),
    ]
}

fn any_lease_set() -> impl Strategy<Value = Request> {
    let id = || {
        prop::sample::select(vec![
            LeaseId::chosen(1),
            LeaseId::chosen(i64::MAX),
            LeaseId::new(1),
            LeaseId::new(3),
        ])
    };
    let lease = prop_oneof![
        2 => Just(SetLease::Own),
        1 => id().prop_map(|id| SetLease::MoveTo(id.unwrap())),
        5 => id().prop_map(|id| SetLease::Attach(id.unwrap())),
        1 => Just(SetLease::Detach),
        1 => Just(SetLease::Stay),
    ];
    let key = prop::sample::select(vec!["a", "b"]);
    (key, lease).prop_map(|(key, lease)| Request::Set(SetRequest { lease, ..set(key) }))
}

/// Among them the expiry of leases by name, whose keys the batches before may have changed.
fn any_foreseeable_requests() -> impl Strategy<Value = Vec<Request>> {
    let leases = prop::collection::vec(any_lease(), 1..4);
    let expiry = leases.prop_map(|leases| Request::ExpireIfDue(leases.into()));
    (any_numbered_requests(), prop::option::of(expiry)).prop_map(|(mut requests, expiry)| {
        requests.extend(expiry);
        requests
    })
}

/// Decides a batch that is applied at a later `time` to these tables; none where it needs more than was read, or its
/// preconditions do not hold then.
fn decide_before(batch: &Batch, state: State, time: Timestamp, tables: &Tables) -> Option<Decision> {
    let mut decision = batch.decide(&state).ok()?;
    decision.move_to(time);
    let preconditions = state.into_preconditions();
    let holds = preconditions.until.is_none_or(|until| time < until)
        && preconditions.absent.iter().all(|key| !tables.rows.contains_key(key));
    holds.then_some(decision)
}

/// The way in which a batch is written, and by whom.
#[derive(Clone, Copy, Debug)]
enum Way {
    Others,
    Locked,
    Foretold,
    /// Foretold, and then not written.
    InVain,
}

fn any_way() -> impl Strategy<Value = Way> {
    prop_oneof![
        2 => Just(Way::Others),
        3 => Just(Way::Locked),
        6 => Just(Way::Foretold),
        1 => Just(Way::InVain),
    ]
}

fn any_numbered_requests() -> impl Strategy<Value = Vec<Request>> {
    let numbered = (1_u64..3, 1_u64..4, any_set()).prop_map(|(id, number, set)| once(id, number, Request::Set(set)));
    prop::collection::vec(prop_oneof![4 => any_request(), 1 => numbered], 1..6)
}

/// A batch that follows another on a new key must take no more round trips than one on an old key.
#[test]
fn the_lease_of_a_key_that_the_batch_before_created_is_foretold_with_it() {
    let mut history = History::default();
    history.write(vec![Request::Set(set("a"))]);
    let requests = vec![Request::Set(set("a"))];
    let needs = first_needs(&requests);
    let read = history.read(&needs, 0, &mut [].into_iter());
    let state = history.speculation.predict(read, &needs, &history.now.head).unwrap();
    let batch = history.batch(requests, state.head);
    assert!(batch.decide(&state).is_ok());
}

/// A storm of leases must not hold up the batches that follow each other.
#[test]
fn the_keys_of_leases_that_are_due_are_foretold() {
    let mut history = History::default();
    history.write(vec![
        Request::Set(set("a").expiry(ttl(1_500))),
        Request::Set(set("b").expiry(ttl(1_500))),
        Request::Set(set("c").expiry(ttl(9_999))),
    ]);
    // The rows that are read lack these changes: one key has left the lease, another has joined it.
    history.write(vec![
        Request::Set(set("b").lease(lease(3))),
        Request::Set(set("d").lease(lease(1))),
    ]);
    history.write(vec![Request::ExpireIfDue([lease(1)].into())]);
    let requests = vec![Request::ExpireIfDue([lease(1), lease(2), lease(3)].into())];
    let needs = first_needs(&requests);
    let read = history.read(&needs, 1, &mut [].into_iter());
    let state = history.speculation.predict(read, &needs, &history.now.head).unwrap();
    let all = |names: &[&str]| Members::All(names.iter().copied().map(key).collect());
    assert_eq!(state.members[&lease(1)], all(&["a", "d"]));
    assert_eq!(state.members[&lease(2)], all(&[]));
    assert_eq!(state.members[&lease(3)], all(&["b", "c"]));
    let batch = history.batch(requests, state.head);
    let decision = batch.decide(&state).unwrap();
    // The first has expired already, the last is not due.
    assert!(matches!(&decision.answers[..], [Ok(Answer::ExpiredIfDue(outcome))] if outcome.due == 1));
    assert!(decision.events.is_empty());
    assert_eq!(
        decision.leases.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
        [lease(2)]
    );
}

#[test]
fn nothing_is_foretold_where_somebody_else_wrote() {
    let mut history = History::default();
    history.write(vec![Request::Set(set("a"))]);
    let needs = first_needs(&[Request::Set(set("a"))]);
    let predict = |history: &mut History, back: usize, seen: &Head| {
        let read = history.read(&needs, history.before.len() - back, &mut [].into_iter());
        history.speculation.predict(read, &needs, seen)
    };
    // As it is, and as of the head before the last batch.
    let seen = history.now.head;
    for back in [0, 1] {
        assert_eq!(predict(&mut history, back, &seen).unwrap().head, seen);
    }
    history.write_unseen(vec![Request::Set(set("a"))]);
    let seen = history.now.head;
    // Known rows, and an older read brought up to what this engine wrote, are not as of the newest head seen.
    assert!(history.speculation.knows(&needs));
    assert!(history.speculation.predict_known(&needs, &seen).is_none());
    assert!(predict(&mut history, 1, &seen).is_none());
    assert!(predict(&mut history, 0, &seen).is_some());
    // The newest head seen is of a batch that the store has lost.
    let mut lost = history.now.head;
    lost.batch = Tag::new(99);
    assert!(predict(&mut history, 0, &lost).is_none());
    assert!(history.speculation.predict_known(&needs, &lost).is_none());
}

#[test]
fn batches_that_were_not_written_are_forgotten() {
    let mut history = History::default();
    history.write(vec![Request::Set(set("a"))]);
    history.predict_in_vain(vec![Request::Set(set("a"))]);
    let needs = first_needs(&[Request::Set(set("a"))]);
    assert!(!history.speculation.knows(&needs));
    let read = history.read(&needs, 1, &mut [].into_iter());
    let predicted = history.speculation.predict(read, &needs, &history.now.head).unwrap();
    assert_eq!(predicted.head, history.now.head);
}

/// Rows that a batch met or wrote are known after it: keys that are there, gone and new, leases and sessions.
#[test]
fn what_batches_met_is_known_until_somebody_else_writes() {
    let mut history = History::default();
    history.write(vec![Request::Set(set("old")), Request::Set(set("gone"))]);
    let mut requests = vec![once(1, 1, Request::Set(set("old"))), Request::Set(set("new"))];
    requests.push(Request::Delete(DeleteRequest::new(key("gone"))));
    requests.push(Request::Delete(DeleteRequest::new(key("never"))));
    history.speculation.forget();
    let needs = first_needs(&requests);
    assert_eq!(history.speculation.lacks(&needs), needs);
    history.write_predicted(requests);
    assert!(history.speculation.knows(&needs));
    // The value of a key is not kept.
    let mut values = Needs::default();
    values.key(&key("old"), true);
    values.key(&key("new"), false);
    assert_eq!(history.speculation.lacks(&values).keys, [(key("old"), true)].into());
    // A batch that follows one of somebody else, decided under the lock.
    history.write_unseen(vec![Request::Set(set("new"))]);
    history.write(vec![Request::Set(set("other"))]);
    assert!(!history.speculation.knows(&first_needs(&[Request::Set(set("new"))])));
    assert!(
        history
            .speculation
            .lacks(&first_needs(&[Request::Set(set("old"))]))
            .keys
            .contains_key(&key("old"))
    );
}

/// A batch written beside the ones before it must share no row with them.
#[test]
fn a_batch_overlaps_those_that_write_a_row_of_its_own() {
    let mut history = History::default();
    history.write(vec![
        Request::Set(set("b")),
        Request::Set(set("d").expiry(ttl(60_000))),
        Request::Set(set("f")),
    ]);
    history.write(vec![Request::Set(set("c"))]);
    let overlaps = |history: &mut History, last: usize, request: Request| {
        let batch = history.batch(vec![request], history.now.head);
        let decision = history.now.clone().decide(&batch, history.time());
        history.speculation.overlaps(last, &decision)
    };
    for (name, last) in [("b", 2), ("d", 2), ("f", 2), ("c", 1)] {
        assert!(overlaps(&mut history, last, Request::Set(set(name))), "{name}");
        assert!(!overlaps(&mut history, last - 1, Request::Set(set(name))), "{name}");
    }
    for name in ["a", "ba", "e", "g"] {
        assert!(!overlaps(&mut history, 2, Request::Set(set(name))), "{name}");
    }
    let renewal = Request::Lease(LeaseRequest::KeepAlive(lease(2)));
    assert!(overlaps(&mut history, 2, renewal.clone()));
    assert!(!overlaps(&mut history, 1, renewal));
    // A batch that is not remembered may overlap with anything.
    assert!(overlaps(&mut history, 3, Request::Set(set("a"))));
    history.speculation.forget();
    assert!(overlaps(&mut history, 1, Request::Set(set("a"))));
    assert!(!overlaps(&mut history, 0, Request::Set(set("a"))));
}

/// A mistake costs the batch, however many keys it has.
#[test]
fn keys_are_assumed_absent_after_batches_of_new_keys_however_many_they_have() {
    let mut history = History::default();
    let new = |batch: usize| (0..100).map(move |number| Request::Set(set(&format!("{batch}/{number}"))));
    let unknown = first_needs(&[Request::Set(set("unknown"))]);
    for batch in 0..31 {
        history.write(new(batch).collect());
    }
    assert!(!history.speculation.knows(&unknown));
    history.write(new(31).collect());
    assert!(history.speculation.knows(&unknown));
    history.speculation.assumed_wrongly();
    history.write(new(32).collect());
    assert!(!history.speculation.knows(&unknown));
}
