//! Batches on tables in memory: what no single request can show.

mod large_leases;
mod large_values;
mod settings;

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::clock::Timestamp;
use crate::error::{ErrorKind, Result};
use crate::event::Event;
use crate::id::{EventId, LeaseId, Revision, Tag, Version};
use crate::key::{Key, Prefix};
use crate::lease::{Expiry, LeaseRequest};
use crate::limits::{OUTCOME_BYTES_MAX, SESSION_BYTES_MAX, SESSION_OUTCOMES_MAX};
use crate::request::{Condition, DeleteRequest, ListRequest, SetLease, SetRequest};
use crate::txn::{Compare, Operation, OperationAnswer, Txn};
use crate::write::{SessionId, WriteId};

/// The tables of a store, loaded from and written to as SQL would.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tables {
    pub(crate) head: Head,
    pub(crate) rows: BTreeMap<Key, Row>,
    pub(crate) leases: BTreeMap<LeaseId, LeaseRow>,
    pub(crate) sessions: BTreeMap<SessionId, SessionRow>,
    pub(crate) events: Vec<Event>,
    /// Loads that batches needed.
    loads: usize,
}

impl Tables {
    pub(crate) fn run(&mut self, requests: Vec<Request>, now: i64) -> Vec<Result<Answer>> {
        let seen = self.head;
        self.run_having_seen(seen, requests, now)
    }

    pub(crate) fn run_having_seen(&mut self, seen: Head, requests: Vec<Request>, now: i64) -> Vec<Result<Answer>> {
        let batch = Batch {
            requests,
            tag: Tag::new(7),
            seen,
        };
        let decision = self.decide(&batch, Timestamp::from_millis(now).unwrap());
        self.apply(decision)
    }

    /// The decision on a batch under the lock.
    pub(crate) fn decide(&mut self, batch: &Batch, now: Timestamp) -> Decision {
        let mut state = State::new(self.head, now);
        let mut needs = batch.first_needs();
        loop {
            self.load(&needs, &mut state);
            match batch.decide(&state) {
                Ok(decision) => return decision,
                Err(more) => needs = *more,
            }
        }
    }

    pub(crate) fn apply(&mut self, decision: Decision) -> Vec<Result<Answer>> {
        let changed = (decision.head.last_event, decision.head.next_deadline)
            != (self.head.last_event, self.head.next_deadline)
            || !decision.leases.is_empty()
            || !decision.sessions.is_empty()
            || decision.configured.is_some();
        assert_eq!(decision.writes, changed);
        self.head = decision.head;
        self.rows.extend(decision.rows);
        self.leases.extend(decision.leases);
        for (id, session) in decision.sessions {
            let stored = SessionRow::from_bytes(&session.to_bytes().unwrap()).unwrap();
            self.sessions.insert(id, stored);
        }
        self.events.extend(decision.events);
        self.check();
        decision.answers
    }

    pub(crate) fn load(&mut self, needs: &Needs, state: &mut State) {
        self.loads += 1;
        assert!(self.loads < 1_000, "the needs do not end: {needs:?}");
        for (key, with_value) in &needs.keys {
            state.put_row(key.clone(), self.rows.get(key).map(|row| loaded(row, *with_value)));
        }
        for range in &needs.ranges {
            let live = self
                .rows
                .iter()
                .filter(|(key, row)| range.range.contains(key) && row.is_live());
            let rows: Vec<_> = live
                .take(range.rows_max)
                .map(|(key, row)| (key.clone(), loaded(row, range.values)))
                .collect();
            let complete = rows.len() < range.rows_max;
            state.put_range(range.range.clone(), range.values, rows, complete);
        }
        for id in &needs.sessions {
            state.put_session(*id, self.sessions.get(id).cloned());
        }
        for id in &needs.leases {
            state.put_lease(*id, self.leases.get(id).cloned());
        }
        let mut members = Vec::new();
        for id in &needs.members {
            let rows = self.rows.iter().filter(|(_, row)| row.lease_id == *id);
            members.extend(rows.map(|(key, row)| (key.clone(), loaded(row, false))));
        }
        members.truncate(MEMBERS_MAX + 1);
        state.put_members(needs.members.iter().copied(), members);
        state.tag = needs
            .tag_of
            .map(|id| Some(self.events.iter().find(|event| event.id == id)?.tag));
        if let Some(limit) = needs.due {
            let mut deadlines: Vec<_> = self
                .leases
                .iter()
                .filter_map(|(id, row)| Some((row.expires_at?, *id, row.clone())))
                .collect();
            deadlines.sort_by_key(|(deadline, id, _)| (*deadline, *id));
            let due: Vec<_> = deadlines
                .iter()
                .take(limit)
                .take_while(|(at, ..)| *at <= state.now)
                .collect();
            let next = deadlines.get(due.len()).map(|(deadline, ..)| *deadline);
            state.put_due(due.into_iter().map(|(_, id, row)| (*id, row.clone())).collect(), next);
        }
    }

    /// Checks what holds after every batch.
    pub(crate) fn check(&self) {
        let mut replayed = BTreeMap::new();
        let mut last = EventId::ZERO;
        for event in &self.events {
            let begins_epoch = last < self.head.compacted && event.id > self.head.compacted;
            let before = if begins_epoch { self.head.compacted } else { last };
            assert_eq!(event.id, before.next(), "ids follow each other");
            last = event.id;
            let before: Option<Row> = replayed.insert(event.key.clone(), Row::after(event));
            assert_eq!(
                event.version.get(),
                before.as_ref().map_or(0, |row| row.version.get()) + 1
            );
            assert_eq!(event.prev_ref, before.map_or(EventId::ZERO, |row| row.updated_ref));
        }
        assert_eq!(replayed, self.rows, "the log gives the rows");
        assert_eq!(self.head.last_event, last.max(self.head.compacted));
        assert_eq!(
            self.head.keys,
            self.rows.values().filter(|row| row.is_live()).count() as u64
        );
        assert_eq!(
            self.head.leases,
            self.leases.values().filter(|row| !row.expired).count() as u64
        );
        let first_deadline = self.leases.values().filter_map(|row| row.expires_at).min();
        assert!(first_deadline.is_none() || self.head.next_deadline <= first_deadline);
    }

    fn types(&self) -> Vec<(i64, &'static str, String)> {
        self.events
            .iter()
            .map(|event| (event.rev.get(), event.event_type.name(), event.key.to_string()))
            .collect()
    }
}

pub(crate) fn loaded(row: &Row, with_value: bool) -> Row {
    Row {
        value: row.value.clone().filter(|_| with_value),
        ..row.clone()
    }
}

pub(crate) fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

pub(crate) fn set(name: &str) -> SetRequest {
    SetRequest::new(key(name), "v")
}

pub(crate) fn ttl(ms: u64) -> Expiry {
    Expiry::After(Duration::from_millis(ms))
}

pub(crate) fn lease(id: i64) -> LeaseId {
    LeaseId::new(id).unwrap()
}

pub(crate) fn kinds(answers: &[Result<Answer>]) -> Vec<Option<ErrorKind>> {
    answers
        .iter()
        .map(|answer| answer.as_ref().err().map(|error| error.kind()))
        .collect()
}

#[test]
fn a_lease_past_its_deadline_expires_before_the_requests_that_meet_it() {
    let mut tables = Tables::default();
    tables.run(
        vec![
            Request::Set(set("a").expiry(ttl(10))),
            Request::Set(set("b").lease(lease(1))),
            Request::Set(set("c").expiry(ttl(5))),
        ],
        1_000,
    );
    // Both leases are over; the one that ended first expires first, each in a revision of its own.
    let answers = tables.run(
        vec![
            Request::Set(set("a").condition(Condition::Absent)),
            Request::Lease(LeaseRequest::KeepAlive(lease(1))),
            Request::Delete(DeleteRequest::new(key("c"))),
        ],
        1_010,
    );
    assert_eq!(
        kinds(&answers),
        [None, Some(ErrorKind::LeaseNotFound), Some(ErrorKind::NotFound)]
    );
    let expected = [
        (1, "set", "a"),
        (2, "set", "b"),
        (3, "set", "c"),
        (4, "expire", "c"),
        (5, "expire", "a"),
        (5, "expire", "b"),
        (6, "set", "a"),
    ];
    assert_eq!(
        tables.types(),
        expected.map(|(rev, name, key)| (rev, name, key.to_owned()))
    );
}

#[test]
fn a_renewal_in_the_batch_before_the_deadline_wins() {
    let mut tables = Tables::default();
    tables.run(vec![Request::Set(set("a").expiry(ttl(10)))], 1_000);
    tables.run(
        vec![
            Request::Lease(LeaseRequest::KeepAlive(lease(1))),
            Request::ExpireDue(10),
        ],
        1_009,
    );
    tables.run(vec![Request::ExpireDue(10)], 1_018);
    assert_eq!(tables.types().len(), 1);
    tables.run(vec![Request::ExpireDue(10)], 1_019);
    assert_eq!(tables.types()[1].1, "expire");
    assert_eq!(tables.head.next_deadline, None);
}

#[test]
fn the_time_of_the_store_never_goes_back() {
    let mut tables = Tables::default();
    tables.run(vec![Request::Set(set("a"))], 2_000);
    tables.run(vec![Request::Set(set("a"))], 1_000);
    assert_eq!(tables.events[1].timestamp, tables.events[0].timestamp);
}

#[test]
fn a_storm_of_leases_expires_in_bounded_batches() {
    let mut tables = Tables::default();
    let sets = (0..25)
        .map(|n| Request::Set(set(&format!("k{n:02}")).expiry(ttl(n))))
        .skip(1)
        .collect();
    tables.run(sets, 0);
    let mut batches = 0;
    loop {
        batches += 1;
        match tables.run(vec![Request::ExpireDue(10)], 100).pop() {
            Some(Ok(Answer::ExpiredDue { more: true })) => {}
            Some(Ok(Answer::ExpiredDue { more: false })) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((batches, tables.head.keys, tables.head.next_deadline), (3, 0, None));
}

#[test]
fn of_leases_by_name_those_expire_that_are_due() {
    let mut tables = Tables::default();
    let sets = (1..=4).map(|n| Request::Set(set(&format!("k{n}")).expiry(ttl(10 * n))));
    tables.run(sets.collect(), 0);
    tables.run(vec![Request::Lease(LeaseRequest::Update(lease(2), ttl(500)))], 5);
    let these: Vec<_> = [4, 3, 2, 1, 9].map(lease).into();
    let expiry = || vec![Request::ExpireIfDue(these.as_slice().into())];
    let answers = tables.run(expiry(), 30);
    assert!(
        matches!(&answers[..], [Ok(Answer::ExpiredIfDue(outcome))] if outcome.due == 2),
        "{answers:?}"
    );
    let expired: Vec<_> = tables.types().split_off(4);
    assert_eq!(
        expired,
        [(5, "expire", "k1".to_owned()), (6, "expire", "k3".to_owned())]
    );
    // The batch does not know what is left, and so leaves the next deadline where it was.
    assert_eq!(tables.head.next_deadline.map(Timestamp::as_millis), Some(10));
    let answers = tables.run(expiry(), 30);
    assert!(
        matches!(&answers[..], [Ok(Answer::ExpiredIfDue(outcome))] if outcome.due == 0),
        "{answers:?}"
    );
    tables.run(vec![Request::ExpireDue(10)], 30);
    assert_eq!(tables.head.next_deadline.map(Timestamp::as_millis), Some(40));
}

#[test]
fn an_expiry_takes_the_keys_that_the_batch_moved_to_the_lease() {
    let mut tables = Tables::default();
    tables.run(vec![Request::Set(set("a").expiry(ttl(10))), Request::Set(set("b"))], 0);
    tables.run(
        vec![
            Request::Set(set("a").lease(lease(2))),
            Request::Set(set("b").lease(lease(1))),
            Request::Lease(LeaseRequest::Expire(lease(1))),
        ],
        0,
    );
    assert!(tables.rows[&key("a")].is_live());
    assert!(!tables.rows[&key("b")].is_live());
}

#[test]
fn a_failed_transaction_leaves_nothing_behind() {
    let mut tables = Tables::default();
    tables.run(vec![Request::Set(set("a").expiry(ttl(100))), Request::Set(set("b"))], 0);
    let txn = Txn {
        then: vec![
            Operation::Set(set("new").expiry(ttl(5))),
            Operation::Set(set("b").lease(lease(1)).expiry(Expiry::Never)),
            Operation::Delete(DeleteRequest::new(key("a"))),
            Operation::Set(set("c").condition(Condition::Version(Version::FIRST))),
        ],
        ..Txn::default()
    };
    let answers = tables.run(
        vec![
            Request::Txn(txn),
            Request::Set(set("d")),
            Request::Lease(LeaseRequest::Expire(lease(1))),
            Request::Delete(DeleteRequest::new(key("b"))),
        ],
        0,
    );
    assert_eq!(kinds(&answers), [Some(ErrorKind::ConditionFailed), None, None, None]);
    assert!(!tables.rows.contains_key(&key("new")));
    // The lease ids go on where they stood, the key moved back to its lease, the lease kept its deadline.
    assert_eq!(tables.rows[&key("d")].lease_id, lease(3));
    assert_eq!(tables.types()[3].1, "expire");
    assert_eq!(tables.rows[&key("b")].lease_id, lease(2));
    assert_eq!(tables.leases.len(), 1);
}

#[test]
fn a_list_looks_further_where_the_batch_deleted_what_it_found() {
    let mut tables = Tables::default();
    tables.run((0..30).map(|n| Request::Set(set(&format!("k{n:02}")))).collect(), 0);
    let deletes = (0..20).map(|n| Request::Delete(DeleteRequest::new(key(&format!("k{n:02}")))));
    let list = ListRequest {
        limit: Some(3),
        ..ListRequest::new(Prefix::new("k").unwrap())
    };
    let txn = Txn {
        compare: vec![Compare::absent(key("k00"))],
        then: vec![Operation::Set(set("k21a")), Operation::List(list)],
        ..Txn::default()
    };
    let answers = tables.run(deletes.chain([Request::Txn(txn)]).collect(), 0);
    let Some(Ok(Answer::Txn(answer))) = answers.last() else {
        panic!("{answers:?}")
    };
    let OperationAnswer::List(entries) = &answer.answers[1] else {
        panic!("{answer:?}")
    };
    let keys: Vec<_> = entries.iter().map(|entry| entry.key.text().unwrap()).collect();
    assert_eq!(keys, ["k20", "k21", "k21a"]);
}

#[test]
fn a_head_without_what_was_seen_begins_a_new_epoch() {
    let one = |name: &str| vec![Request::Set(set(name))];
    let mut tables = Tables::default();
    tables.run(one("a"), 0);
    let backup = (tables.head, tables.rows.clone(), tables.events.clone());
    tables.run(one("b"), 0);
    let seen = tables.head;

    // An older copy: nothing is missing to who has seen no more, and a lot to who has.
    (tables.head, tables.rows, tables.events) = backup;
    let older = tables.head;
    tables.run_having_seen(older, vec![Request::ExpireDue(1)], 0);
    assert_eq!(tables.head.epoch, older.epoch);
    tables.run_having_seen(seen, one("c"), 0);
    let begun = tables.head;
    assert_eq!(begun.epoch.number(), seen.epoch.number() + 1);
    assert!(begun.compacted > seen.last_event && begun.last_event == begun.compacted.next());
    assert!(begun.last_rev > seen.last_rev.next() && begun.last_lease > seen.last_lease + 1);

    // Another replica that has seen the old tail accepts the epoch that was begun.
    tables.run_having_seen(seen, one("d"), 0);
    assert_eq!(
        (tables.head.epoch, tables.head.last_event),
        (begun.epoch, begun.last_event.next())
    );
}

#[test]
fn a_tail_that_grew_anew_is_told_by_its_tag() {
    let mut tables = Tables::default();
    tables.run(vec![Request::Set(set("a")), Request::Set(set("b"))], 0);
    let seen = tables.head;
    tables.run(vec![Request::Set(set("a")), Request::Set(set("b"))], 0);
    tables.run_having_seen(seen, vec![Request::ExpireDue(1)], 0);
    assert_eq!(tables.head.epoch, seen.epoch, "what was seen is there");
    let other = Head {
        last_tag: Tag::new(8),
        ..seen
    };
    tables.run_having_seen(other, vec![Request::ExpireDue(1)], 0);
    assert_eq!(tables.head.epoch.number(), seen.epoch.number() + 1, "it is not");
}

#[test]
fn a_tail_that_grew_to_the_same_length_is_told_by_its_tag() {
    let mut tables = Tables::default();
    tables.run(vec![Request::Set(set("a"))], 0);
    let seen = Head {
        last_tag: Tag::new(8),
        ..tables.head
    };
    tables.run_having_seen(seen, vec![Request::Set(set("b"))], 0);
    assert_eq!(tables.head.epoch.number(), seen.epoch.number() + 1);
}

pub(crate) fn once(session: u64, number: u64, request: Request) -> Request {
    Request::Once(WriteId::new(SessionId::new(session), number), Box::new(request))
}

#[test]
fn a_write_that_is_sent_again_is_answered_as_the_first_time_and_not_done_again() {
    let mut tables = Tables::default();
    let txn = Txn {
        compare: vec![Compare::absent(key("t"))],
        then: vec![
            Operation::Get(key("a")),
            Operation::Set(set("t")),
            Operation::Delete(DeleteRequest::new(key("none"))),
            Operation::List(ListRequest::default()),
        ],
        ..Txn::default()
    };
    let requests = [
        Request::Set(set("a").expiry(ttl(50)).condition(Condition::Absent)),
        Request::Set(set("a").condition(Condition::Absent)),
        Request::Txn(txn),
        Request::Lease(LeaseRequest::KeepAlive(lease(1))),
        Request::Delete(DeleteRequest::new(key("a"))),
        Request::Delete(DeleteRequest::new(key("a"))),
        Request::Lease(LeaseRequest::Grant(ttl(10))),
        Request::Lease(LeaseRequest::Update(lease(9), Expiry::Never)),
    ];
    let numbered = |session| {
        let numbered = requests
            .iter()
            .zip(1..)
            .map(move |(request, number)| once(session, number, request.clone()));
        numbered.collect::<Vec<_>>()
    };
    let first = format!("{:?}", tables.run(numbered(1), 0));
    let (events, leases) = (tables.events.clone(), tables.leases.clone());
    // In one batch, one by one, and twice in one batch.
    assert_eq!(format!("{:?}", tables.run(numbered(1), 20)), first);
    let singly: Vec<_> = numbered(1)
        .into_iter()
        .flat_map(|request| tables.run(vec![request], 20))
        .collect();
    assert_eq!(format!("{singly:?}"), first);
    assert_eq!((&tables.events, &tables.leases), (&events, &leases));
    let twice = tables.run(
        vec![once(2, 1, Request::Set(set("b"))), once(2, 1, Request::Set(set("b")))],
        0,
    );
    assert_eq!(format!("{:?}", twice[0]), format!("{:?}", twice[1]));
    assert_eq!(tables.events.len(), events.len() + 1);
}

/// A server of an older version ran when the write was sent first, and had ended when it was sent again.
#[test]
fn a_refusal_that_passes_is_not_remembered() {
    let mut tables = Tables::default();
    tables.head.format = Format::Older;
    let bytes = || SetRequest::new(Key::from_bytes(b"\xff").unwrap(), "v");
    let chosen = || LeaseRequest::GrantAs(LeaseId::chosen(7).unwrap(), Expiry::Never);
    let requests = || vec![once(1, 1, Request::Set(bytes())), once(1, 2, Request::Lease(chosen()))];
    let text = || vec![Request::Set(set("a"))];
    let refused = Some(ErrorKind::Unavailable);
    assert_eq!(kinds(&tables.run(requests(), 0))[0], refused);
    assert_eq!(kinds(&tables.run(vec![Request::Lease(chosen())], 0)), [refused]);
    assert_eq!(kinds(&tables.run(text(), 0)), [None]);
    assert_eq!(tables.events[0].leased, None);
    tables.head.format = Format::Current;
    assert_eq!(kinds(&tables.run(requests(), 0)), [None, None]);
    assert_eq!(kinds(&tables.run(text(), 0)), [None]);
    assert_eq!(tables.events[2].leased, Some(false));
}

#[test]
fn a_number_that_is_not_known_any_more_is_refused() {
    let mut tables = Tables::default();
    let write = |number| vec![once(1, number, Request::Set(set("a")))];
    assert_eq!(kinds(&tables.run(write(2), 0)), [Some(ErrorKind::SessionExpired)]);
    let last = SESSION_OUTCOMES_MAX as u64 + 1;
    for number in 1..=last {
        assert_eq!(kinds(&tables.run(write(number), 0)), [None]);
    }
    assert_eq!(kinds(&tables.run(write(1), 0)), [Some(ErrorKind::SessionExpired)]);
    assert_eq!(kinds(&tables.run(write(2), 0)), [None]);
    assert_eq!(tables.events.len(), SESSION_OUTCOMES_MAX + 1);
    // A number that was used for something else is no repetition.
    let other = vec![once(1, last, Request::Lease(LeaseRequest::Grant(Expiry::Never)))];
    assert_eq!(kinds(&tables.run(other, 0)), [Some(ErrorKind::InvalidArgument)]);
}

#[test]
fn outcomes_that_nobody_will_ask_for_are_forgotten() {
    let mut tables = Tables::default();
    let session = SessionId::new(1);
    let write = |number, answered| {
        let id = WriteId {
            answered,
            ..WriteId::new(session, number)
        };
        vec![Request::Once(id, Box::new(Request::Set(set("a"))))]
    };
    let mut longest = 0;
    for number in 1..100 {
        assert_eq!(kinds(&tables.run(write(number, number - 1), 0)), [None]);
        longest = longest.max(tables.sessions[&session].to_bytes().unwrap().len());
    }
    assert!(longest < 100, "{longest} bytes for one outcome");
    assert_eq!(kinds(&tables.run(write(99, 98), 0)), [None]);
    assert_eq!(kinds(&tables.run(write(98, 0), 0)), [Some(ErrorKind::SessionExpired)]);
    assert_eq!(tables.events.len(), 99);
}

#[test]
fn an_answer_that_is_too_large_to_keep_is_not_given_again_nor_done_again() {
    let mut tables = Tables::default();
    tables.run(vec![Request::Set(SetRequest::new(key("big"), vec![b'x'; 10_000]))], 0);
    let rev = |rev| Revision::new(rev).unwrap();
    let txn = |operations| {
        let txn = Txn {
            then: operations,
            otherwise: vec![Operation::Set(set("never"))],
            ..Txn::default()
        };
        Request::Txn(txn)
    };
    let changes = || {
        vec![once(
            1,
            1,
            txn(vec![Operation::Get(key("big")), Operation::Set(set("a"))]),
        )]
    };
    assert_eq!(kinds(&tables.run(changes(), 0)), [None]);
    let again = ErrorKind::AnswerNotKept { rev: Some(rev(2)) };
    assert_eq!(kinds(&tables.run(changes(), 0)), [Some(again)]);
    assert_eq!(tables.events.len(), 2);

    let reads = || vec![once(1, 2, txn(vec![Operation::Get(key("big"))]))];
    assert_eq!(kinds(&tables.run(reads(), 0)), [None]);
    let again = ErrorKind::AnswerNotKept { rev: None };
    assert_eq!(kinds(&tables.run(reads(), 0)), [Some(again)]);
}

/// As many writes as a client may have under way, and more, are known whatever they answered.
#[test]
fn outcomes_that_are_large_together_are_all_known() {
    let mut tables = Tables::default();
    let session = SessionId::new(1);
    let value = vec![b'x'; OUTCOME_BYTES_MAX - 200];
    tables.run(vec![Request::Set(SetRequest::new(key("big"), value))], 0);
    let write = |number| {
        let txn = Txn {
            then: vec![Operation::Get(key("big")), Operation::Set(set("a"))],
            ..Txn::default()
        };
        vec![once(1, number, Request::Txn(txn))]
    };
    let last = SESSION_OUTCOMES_MAX as u64;
    for number in 1..=last {
        assert_eq!(kinds(&tables.run(write(number), 0)), [None]);
    }
    let bytes = tables.sessions[&session].to_bytes().unwrap().len();
    assert!(bytes < SESSION_BYTES_MAX + 8 * SESSION_OUTCOMES_MAX, "{bytes} bytes");
    let mut whole = 0;
    for number in 1..=last {
        match kinds(&tables.run(write(number), 0))[0] {
            None => whole += 1,
            // The first revision is that of the value.
            Some(ErrorKind::AnswerNotKept { rev }) => {
                assert_eq!((rev.map(Revision::get), whole), (Some(number.cast_signed() + 1), 0));
            }
            other => panic!("{number}: {other:?}"),
        }
    }
    assert!(whole > 16, "the newest {whole} have their answers");
    assert_eq!(tables.events.len() as u64, last + 1);
}

pub(crate) fn any_key() -> impl Strategy<Value = Key> {
    prop::sample::select(vec!["a", "b", "c", "d"]).prop_map(key)
}

/// Ids that the counter gives out, ids that somebody chose among those numbers, and others that were chosen.
pub(crate) fn any_lease() -> impl Strategy<Value = LeaseId> {
    prop_oneof![4 => (1..8i64).prop_map(lease), 2 => any_chosen_lease()]
}

pub(crate) fn any_chosen_lease() -> impl Strategy<Value = LeaseId> {
    prop::sample::select(vec![1, 2, 3, 1 << 48, i64::MAX, -1]).prop_map(|id| LeaseId::chosen(id).unwrap())
}

pub(crate) fn any_expiry() -> impl Strategy<Value = Expiry> {
    prop_oneof![
        3 => Just(Expiry::Keep),
        2 => Just(Expiry::Never),
        1 => (1_000..5_000u64).prop_map(ttl),
        1 => (5_000..9_000i64).prop_map(|ms| Expiry::At(Timestamp::from_millis(ms).unwrap())),
    ]
}

pub(crate) fn any_condition() -> impl Strategy<Value = Condition> {
    let version = || (1..6i64).prop_map(|version| Version::new(version).unwrap());
    prop_oneof![
        4 => Just(Condition::Any),
        1 => Just(Condition::Absent),
        1 => version().prop_map(Condition::AbsentAt),
        2 => version().prop_map(Condition::Version),
        1 => (0..20i64).prop_map(|id| Condition::Ref(EventId::new(id).unwrap())),
    ]
}

pub(crate) fn any_set() -> impl Strategy<Value = SetRequest> {
    let of_lease = prop_oneof![
        6 => any_expiry().prop_map(|expiry| (SetLease::Own, expiry)),
        2 => (any_lease(), any_expiry()).prop_map(|(id, expiry)| (SetLease::MoveTo(id), expiry)),
        2 => any_lease().prop_map(|id| (SetLease::Attach(id), Expiry::Keep)),
        1 => Just((SetLease::Detach, Expiry::Keep)),
        1 => Just((SetLease::Stay, Expiry::Keep)),
    ];
    (any_key(), any_condition(), of_lease).prop_map(|(key, condition, (lease, expiry))| SetRequest {
        key,
        value: "v".into(),
        condition,
        lease,
        expiry,
    })
}

pub(crate) fn any_delete() -> impl Strategy<Value = DeleteRequest> {
    (any_key(), any_condition()).prop_map(|(key, condition)| DeleteRequest { key, condition })
}

pub(crate) fn any_operation() -> impl Strategy<Value = Operation> {
    let list = (prop::option::of(1..3usize), any::<bool>());
    prop_oneof![
        any_key().prop_map(Operation::Get),
        any_set().prop_map(Operation::Set),
        any_delete().prop_map(Operation::Delete),
        list.prop_map(|(limit, keys_only)| Operation::List(ListRequest {
            limit,
            keys_only,
            ..ListRequest::default()
        })),
    ]
}

pub(crate) fn any_txn() -> impl Strategy<Value = Txn> {
    let operations = || prop::collection::vec(any_operation(), 0..4);
    (prop::option::of((any_key(), 0..4i64)), operations(), operations()).prop_map(|(compare, then, otherwise)| Txn {
        compare: compare
            .into_iter()
            .map(|(key, version)| Compare::version(key, version))
            .collect(),
        then,
        otherwise,
    })
}

pub(crate) fn any_request() -> impl Strategy<Value = Request> {
    prop_oneof![
        5 => any_set().prop_map(Request::Set),
        2 => any_delete().prop_map(Request::Delete),
        2 => any_txn().prop_map(Request::Txn),
        1 => any_expiry().prop_map(|expiry| Request::Lease(LeaseRequest::Grant(expiry))),
        1 => (any_chosen_lease(), any_expiry())
            .prop_map(|(id, expiry)| Request::Lease(LeaseRequest::GrantAs(id, expiry))),
        1 => (any_lease(), any_expiry()).prop_map(|(id, expiry)| Request::Lease(LeaseRequest::Update(id, expiry))),
        1 => any_lease().prop_map(|id| Request::Lease(LeaseRequest::KeepAlive(id))),
        1 => any_lease().prop_map(|id| Request::Lease(LeaseRequest::Expire(id))),
    ]
}

proptest! {
    /// The load alone decides how requests fall into batches, so this must make no difference.
    #[test]
    fn a_batch_does_what_its_requests_do_one_by_one(
        batches in prop::collection::vec(prop::collection::vec(any_request(), 1..12), 1..6)
    ) {
        let (mut batched, mut single) = (Tables::default(), Tables::default());
        for requests in batches {
            let together = batched.run(requests.clone(), 10);
            let alone: Vec<_> = requests.into_iter().flat_map(|request| single.run(vec![request], 10)).collect();
            prop_assert_eq!(format!("{together:?}"), format!("{alone:?}"));
        }
        batched.loads = single.loads;
        prop_assert_eq!(batched, single);
    }

    /// Whatever happens with deadlines, replaying the log gives the rows; `Tables::check` sees to it.
    #[test]
    fn the_log_gives_the_rows_whatever_expires(
        batches in prop::collection::vec((prop::collection::vec(any_request(), 1..8), 0..3_000i64), 1..10)
    ) {
        let (mut tables, mut now) = (Tables::default(), 0);
        for (mut requests, pause) in batches {
            now += pause;
            requests.push(Request::ExpireDue(2));
            tables.run(requests, now);
        }
        while let Some(Ok(Answer::ExpiredDue { more: true })) = tables.run(vec![Request::ExpireDue(2)], now).pop() {}
        prop_assert!(tables.leases.values().all(|row| !row.is_due(Timestamp::from_millis(now).unwrap())));
    }
}

/// The first answer told parts of a millisecond that no later one did.
#[test]
fn a_time_to_live_is_kept_in_whole_milliseconds() {
    let mut tables = Tables::default();
    let ttl = Expiry::After(Duration::from_micros(1_999));
    let answers = tables.run(vec![Request::Lease(LeaseRequest::Grant(ttl))], 1_000);
    let lease = answers
        .into_iter()
        .next()
        .unwrap()
        .unwrap()
        .into_answer()
        .unwrap()
        .into_lease()
        .unwrap();
    assert_eq!(lease.ttl, Some(Duration::from_millis(1)));
    assert_eq!(lease.remaining(), lease.ttl);
}
