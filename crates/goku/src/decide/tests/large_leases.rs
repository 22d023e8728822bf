//! Leases with more keys than end in one revision.

use super::*;
use crate::limits::LEASE_KEYS_AT_ONCE_MAX;

/// Keys of a lease that ends in steps, and of another that ends at once.
const MANY: usize = 2 * LEASE_KEYS_AT_ONCE_MAX + 100;
const FEW: usize = 3;

fn name(lease: i64, number: usize) -> String {
    format!("{lease}/{number:05}")
}

/// Gives so many keys to a new lease, which ends at `deadline`.
fn fill(tables: &mut Tables, keys: usize, deadline: i64) -> LeaseId {
    let deadline = Timestamp::from_millis(deadline).unwrap();
    let granted = tables.run(vec![Request::Lease(LeaseRequest::Grant(Expiry::At(deadline)))], 0);
    let Some(Ok(Answer::Lease(granted))) = granted.into_iter().next() else {
        panic!("no lease")
    };
    let sets = (0..keys).map(|number| Request::Set(set(&name(granted.id.get(), number)).lease(granted.id)));
    tables.run(sets.collect(), 0);
    granted.id
}

fn live(tables: &Tables, id: LeaseId) -> Vec<Key> {
    let of_it = tables
        .rows
        .iter()
        .filter(|(_, row)| row.is_live() && row.lease_id == id);
    of_it.map(|(key, _)| key.clone()).collect()
}

fn piece(tables: &Tables, id: LeaseId, keys: &[Key], last: bool) -> Request {
    Request::ExpirePiece(
        Piece {
            lease: id,
            version: tables.leases[&id].version,
            keys: keys.to_vec(),
            last,
        }
        .into(),
    )
}

/// Ends the lease piece by piece, its keys looked for without a lock; answers with how many pieces that took.
fn end_in_pieces(tables: &mut Tables, id: LeaseId, now: i64) -> usize {
    let keys = live(tables, id);
    let mut pieces = keys.chunks(LEASE_KEYS_AT_ONCE_MAX).peekable();
    let mut count = 0;
    while let Some(keys) = pieces.next() {
        count += 1;
        let last = pieces.peek().is_none();
        let request = piece(tables, id, keys, last);
        let before = tables.head;
        let answers = tables.run(vec![request], now);
        let Some(Ok(Answer::ExpiredPiece { more, keys: expired })) = answers.first() else {
            panic!("{answers:?}")
        };
        assert_eq!((*more, *expired), (!last, keys.len()));
        assert_eq!(tables.head.last_rev, before.last_rev.next(), "a piece is one revision");
        assert_eq!(
            tables.head.last_event.get() - before.last_event.get(),
            keys.len() as i64
        );
    }
    count
}

#[test]
fn a_lease_with_many_keys_ends_in_pieces_and_holds_up_no_other() {
    let mut tables = Tables::default();
    let large = fill(&mut tables, MANY, 10);
    let small = fill(&mut tables, FEW, 20);
    // The large one is due first, and leaves no room; known by its name, it holds up nobody any more.
    let answers = tables.run(vec![Request::ExpireDue(10)], 30);
    assert!(
        matches!(answers[..], [Ok(Answer::ExpiredDue { more: true })]),
        "{answers:?}"
    );
    assert_eq!(tables.head.next_deadline.map(Timestamp::as_millis), Some(10));
    let answers = tables.run(vec![Request::ExpireIfDue([large, small].into())], 30);
    let [Ok(Answer::ExpiredIfDue(outcome))] = &answers[..] else {
        panic!("{answers:?}")
    };
    assert_eq!((outcome.due, outcome.left, &outcome.large[..]), (2, 1, &[large][..]));
    assert_eq!((live(&tables, large).len(), live(&tables, small).len()), (MANY, FEW));
    let rev = tables.head.last_rev;
    let answers = tables.run(vec![Request::ExpireIfDue([small].into())], 30);
    let [Ok(Answer::ExpiredIfDue(outcome))] = &answers[..] else {
        panic!("{answers:?}")
    };
    assert_eq!((outcome.due, outcome.left, outcome.large.len()), (1, 0, 0));
    assert_eq!((live(&tables, small).len(), tables.head.last_rev), (0, rev.next()));

    assert_eq!(end_in_pieces(&mut tables, large, 30), 3);
    assert_eq!((tables.head.keys, tables.head.leases), (0, 0));
    assert!(tables.leases[&large].expired);
    let answers = tables.run(vec![Request::ExpireDue(10)], 30);
    assert!(
        matches!(answers[..], [Ok(Answer::ExpiredDue { more: false })]),
        "{answers:?}"
    );
    assert_eq!(tables.head.next_deadline, None);
}

#[test]
fn a_lease_with_as_many_keys_as_end_at_once_ends_in_one_revision() {
    let mut tables = Tables::default();
    let id = fill(&mut tables, LEASE_KEYS_AT_ONCE_MAX, 10);
    let before = tables.head;
    tables.run(vec![Request::ExpireDue(10)], 30);
    assert!(tables.leases[&id].expired);
    assert_eq!(tables.head.last_rev, before.last_rev.next());
    assert_eq!(tables.head.keys, 0);
}

/// Before a request sees a key, its lease has ended, though the other keys of it are still there.
#[test]
fn while_a_lease_ends_no_request_meets_a_key_of_it() {
    let mut tables = Tables::default();
    let id = fill(&mut tables, MANY, 10);
    let k = |number| name(id.get(), number);
    let version = tables.leases[&id].version;
    let first = tables.head.last_rev;
    let txn = Txn {
        compare: vec![Compare::absent(key(&k(2)))],
        then: vec![Operation::Set(set(&k(2)))],
        ..Txn::default()
    };
    let answers = tables.run(
        vec![
            Request::Set(set(&k(0)).condition(Condition::Absent)),
            Request::Delete(DeleteRequest::new(key(&k(1)))),
            Request::Txn(txn),
            Request::Lease(LeaseRequest::KeepAlive(id)),
            Request::Lease(LeaseRequest::Update(id, Expiry::Never)),
            Request::Lease(LeaseRequest::Expire(id)),
            Request::Set(set("new").lease(id)),
        ],
        30,
    );
    let gone = Some(ErrorKind::LeaseNotFound);
    assert_eq!(
        kinds(&answers),
        [None, Some(ErrorKind::NotFound), None, gone, gone, gone, gone]
    );
    let Ok(Answer::Txn(answer)) = &answers[2] else { panic!() };
    assert!(answer.succeeded);
    let rev = first.get();
    let expected = [
        (rev + 1, "expire", k(0)),
        (rev + 1, "expire", k(1)),
        (rev + 1, "expire", k(2)),
        (rev + 2, "set", k(0)),
        (rev + 3, "set", k(2)),
    ];
    assert_eq!(tables.types().split_off(MANY), expected);
    assert_ne!(tables.rows[&key(&k(0))].lease_id, id);
    assert_eq!(tables.leases[&id].version, version);
    assert_eq!(live(&tables, id).len(), MANY - 3);
    end_in_pieces(&mut tables, id, 30);
    assert_eq!(tables.head.keys, 2);
}

#[test]
fn a_lease_with_many_keys_that_is_ended_by_request_is_due_from_then_on() {
    let mut tables = Tables::default();
    let id = fill(&mut tables, MANY, 1_000_000);
    let k = |number| name(id.get(), number);
    let answers = tables.run(
        vec![
            Request::Set(set(&k(0))),
            Request::Lease(LeaseRequest::Expire(id)),
            Request::Set(set(&k(0)).condition(Condition::Absent)),
            Request::Delete(DeleteRequest::new(key(&k(1)))),
            Request::Set(set("new").lease(id)),
            Request::Lease(LeaseRequest::Expire(id)),
        ],
        5,
    );
    let gone = Some(ErrorKind::LeaseNotFound);
    assert_eq!(
        kinds(&answers),
        [None, None, None, Some(ErrorKind::NotFound), gone, gone]
    );
    let Ok(Answer::Lease(ended)) = &answers[1] else {
        panic!()
    };
    assert_eq!(ended.expires_at, None);
    let row = tables.leases[&id].clone();
    assert_eq!(
        (row.expires_at.map(Timestamp::as_millis), row.expired),
        (Some(5), false)
    );
    assert_eq!(row.version, ended.version);
    assert_eq!(tables.head.next_deadline.map(Timestamp::as_millis), Some(5));
    // The lease was due at the time of the batch, and the time of the store does not go back.
    let answers = tables.run(vec![Request::Lease(LeaseRequest::KeepAlive(id))], 0);
    assert_eq!(kinds(&answers), [gone]);
    end_in_pieces(&mut tables, id, 5);
    assert!(tables.leases[&id].expired);
    assert_eq!(tables.head.keys, 1);
}

/// The keys were looked for without a lock: whoever gave one to the lease since has raised its version.
#[test]
fn a_lease_that_was_written_since_its_keys_were_looked_for_does_not_end_with_them() {
    let mut tables = Tables::default();
    let id = fill(&mut tables, MANY, 10);
    let last = piece(&tables, id, &live(&tables, id)[..FEW], true);
    let late = piece(&tables, id, &[], true);
    // Not due yet.
    let answers = tables.run(vec![last.clone()], 9);
    assert!(matches!(
        answers[..],
        [Ok(Answer::ExpiredPiece { more: false, keys: 0 })]
    ));
    assert_eq!(live(&tables, id).len(), MANY);
    let deadline = Expiry::At(Timestamp::from_millis(20).unwrap());
    tables.run(vec![Request::Set(set("0").lease(id).expiry(deadline))], 9);
    for request in [last, late] {
        let answers = tables.run(vec![request], 30);
        assert!(
            matches!(answers[..], [Ok(Answer::ExpiredPiece { more: true, .. })]),
            "{answers:?}"
        );
    }
    assert!(!tables.leases[&id].expired);
    assert_eq!(live(&tables, id).len(), MANY + 1 - FEW);
    end_in_pieces(&mut tables, id, 30);
    assert_eq!(tables.head.keys, 0);
}

/// A batch has its bound, however many leases with however many keys are due at once.
#[test]
fn a_batch_expires_no_more_keys_than_it_loads() {
    let mut tables = Tables::default();
    let ids: Vec<_> = (0..10)
        .map(|_| fill(&mut tables, LEASE_KEYS_AT_ONCE_MAX / 2, 10))
        .collect();
    let large = fill(&mut tables, MANY, 10);
    let (mut batches, mut left) = (0, ids.len());
    while left > 0 {
        batches += 1;
        let before = tables.events.len();
        let due = ids.iter().copied().chain([large]);
        let all: Vec<_> = due.filter(|id| !tables.leases[id].expired).collect();
        let answers = tables.run(
            vec![Request::ExpireIfDue(all.as_slice().into()), Request::Set(set("a"))],
            30,
        );
        let Ok(Answer::ExpiredIfDue(outcome)) = &answers[0] else {
            panic!("{answers:?}")
        };
        let expired = tables.events.len() - before - 1;
        assert!(expired > 0 && expired <= MEMBERS_MAX, "{expired} keys in a batch");
        left = ids.iter().filter(|id| !tables.leases[id].expired).count();
        assert_eq!(outcome.left + outcome.large.len(), left + 1);
    }
    assert!(batches > 2, "{batches}");
    assert!(!tables.leases[&large].expired);
}

/// Every lease can be decided in the end: asking again for those that others left no room for finds out which are large.
#[test]
fn many_large_leases_are_ended_by_request_in_one_batch() {
    let mut tables = Tables::default();
    let ids: Vec<_> = (0..3).map(|_| fill(&mut tables, MANY, 1_000_000)).collect();
    let small = fill(&mut tables, FEW, 1_000_000);
    let requests = ids.iter().chain([&small]);
    let answers = tables.run(
        requests.map(|id| Request::Lease(LeaseRequest::Expire(*id))).collect(),
        5,
    );
    assert_eq!(kinds(&answers), [None; 4]);
    assert!(tables.leases[&small].expired);
    assert_eq!(live(&tables, small), [] as [Key; 0]);
    for id in ids {
        end_in_pieces(&mut tables, id, 5);
    }
}
