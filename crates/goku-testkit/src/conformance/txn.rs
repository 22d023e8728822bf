//! Transactions: comparisons, branches, all or nothing, limits.

use std::time::Duration;

use goku::limits::{TXN_BYTES_MAX, TXN_OPERATIONS_MAX, TXN_ROWS_MAX};
use goku::{
    Compare, Condition, ErrorKind, EventId, EventType, Expiry, LeaseId, ListRequest, Operation, OperationAnswer,
    Relation, SetRequest, StreamFrom, Target, Txn, TxnAnswer, Value,
};

use crate::probe::{Probe, delete, key, kind, list, set, version, watch};

fn put(name: &str, value: impl Into<Value>) -> Operation {
    Operation::Set(set(name, value))
}

fn get(name: &str) -> Operation {
    Operation::Get(key(name))
}

fn remove(name: &str) -> Operation {
    Operation::Delete(delete(name))
}

fn then(operations: impl Into<Vec<Operation>>) -> Txn {
    Txn {
        then: operations.into(),
        ..Txn::default()
    }
}

async fn commit(store: &Probe, txn: Txn) -> TxnAnswer {
    store.txn(txn).await.unwrap()
}

/// Checks `table` on `name`: each target with the relations that hold, in the order equal, not equal, less, greater.
async fn check_compares(store: &Probe, name: &str, table: Vec<(Target, [bool; 4])>) {
    let relations = [Relation::Equal, Relation::NotEqual, Relation::Less, Relation::Greater];
    for (target, expected) in table {
        for (relation, holds) in relations.into_iter().zip(expected) {
            let compare = Compare {
                key: key(name),
                relation,
                target: target.clone(),
            };
            let txn = Txn {
                compare: vec![compare],
                then: vec![get("then")],
                otherwise: vec![],
            };
            let answer = store.txn(txn.clone()).await.unwrap();
            assert_eq!(answer.succeeded, holds, "{name} {relation:?} {target:?}");
            assert_eq!(answer.answers.len(), usize::from(holds));
            // The same in a transaction that writes, which is decided elsewhere.
            let writing = Txn {
                then: vec![remove("nothing")],
                ..txn
            };
            let answer = store.txn(writing).await.unwrap();
            assert_eq!(answer.succeeded, holds, "{name} {relation:?} {target:?} writing");
        }
    }
}

const EQUAL: [bool; 4] = [true, false, false, false];
const LESS: [bool; 4] = [false, true, true, false];
const GREATER: [bool; 4] = [false, true, false, true];
const INCOMPARABLE: [bool; 4] = [false, true, false, false];

fn event(id: i64) -> EventId {
    EventId::new(id).unwrap()
}

fn lease(id: i64) -> Option<LeaseId> {
    (id > 0).then(|| LeaseId::new(id).unwrap())
}

/// A key with value `m`, version 3, created by event 4, last set by event 6, with lease 3.
async fn prepare(store: &Probe) {
    store.put("other 1", "x").await;
    store.put("other 2", "x").await;
    store.put("other 2", "x").await;
    for value in ["1", "2", "m"] {
        store.put("key", value).await;
    }
}

pub async fn compares_of_a_live_key(store: Probe) {
    prepare(&store).await;
    let table = vec![
        (Target::Version(3), EQUAL),
        (Target::Version(4), LESS),
        (Target::Version(2), GREATER),
        (Target::Version(0), GREATER),
        (Target::Version(-1), GREATER),
        (Target::Version(i64::MAX), LESS),
        (Target::Value("m".into()), EQUAL),
        (Target::Value("n".into()), LESS),
        (Target::Value("ma".into()), LESS),
        (Target::Value("l".into()), GREATER),
        (Target::Value("".into()), GREATER),
        (Target::Value("M".into()), GREATER),
        (Target::Value(vec![0xff].into()), LESS),
        (Target::Lease(lease(3)), EQUAL),
        (Target::Lease(lease(4)), LESS),
        (Target::Lease(lease(2)), GREATER),
        (Target::Lease(None), GREATER),
        (Target::CreatedRef(event(4)), EQUAL),
        (Target::CreatedRef(event(5)), LESS),
        (Target::CreatedRef(event(3)), GREATER),
        (Target::CreatedRef(event(0)), GREATER),
        (Target::UpdatedRef(event(6)), EQUAL),
        (Target::UpdatedRef(event(7)), LESS),
        (Target::UpdatedRef(event(5)), GREATER),
    ];
    check_compares(&store, "key", table).await;
}

fn table_of_nothing() -> Vec<(Target, [bool; 4])> {
    vec![
        (Target::Version(0), EQUAL),
        (Target::Version(1), LESS),
        (Target::Version(-1), GREATER),
        (Target::Value("".into()), INCOMPARABLE),
        (Target::Value("m".into()), INCOMPARABLE),
        (Target::Lease(None), EQUAL),
        (Target::Lease(lease(1)), LESS),
        (Target::CreatedRef(event(0)), EQUAL),
        (Target::CreatedRef(event(4)), LESS),
        (Target::UpdatedRef(event(0)), EQUAL),
        (Target::UpdatedRef(event(6)), LESS),
    ]
}

pub async fn compares_of_a_missing_key(store: Probe) {
    check_compares(&store, "key", table_of_nothing()).await;
}

pub async fn compares_of_a_deleted_key_are_those_of_a_missing_one(store: Probe) {
    prepare(&store).await;
    store.remove("key").await;
    check_compares(&store, "key", table_of_nothing()).await;
}

pub async fn compares_of_existence(store: Probe) {
    store.put("live", "x").await;
    store.put("deleted", "x").await;
    store.remove("deleted").await;
    for (name, exists) in [("live", true), ("deleted", false), ("missing", false)] {
        for (relation, target, holds) in [
            (Relation::Equal, true, exists),
            (Relation::Equal, false, !exists),
            (Relation::NotEqual, true, !exists),
            (Relation::NotEqual, false, exists),
        ] {
            let compare = Compare {
                key: key(name),
                relation,
                target: Target::Exists(target),
            };
            let txn = Txn {
                compare: vec![compare],
                ..Txn::default()
            };
            assert_eq!(
                commit(&store, txn).await.succeeded,
                holds,
                "{name} {relation:?} {target}"
            );
        }
    }
}

pub async fn existence_has_no_order(store: Probe) {
    for relation in [Relation::Less, Relation::Greater] {
        for then in [vec![get("a")], vec![put("a", "x")]] {
            let compare = Compare {
                relation,
                ..Compare::exists(key("a"))
            };
            let txn = Txn {
                compare: vec![compare],
                then,
                otherwise: vec![],
            };
            assert_eq!(kind(store.txn(txn).await), ErrorKind::InvalidArgument);
        }
    }
    assert_eq!(store.log("").await, []);
}

pub async fn all_comparisons_must_hold(store: Probe) {
    store.put("a", "1").await;
    let (yes, no) = (Compare::exists(key("a")), Compare::absent(key("a")));
    for (compare, succeeded) in [
        (vec![], true),
        (vec![yes.clone()], true),
        (vec![no.clone()], false),
        (vec![yes.clone(), yes.clone()], true),
        (vec![yes.clone(), no.clone()], false),
        (vec![no.clone(), yes.clone()], false),
        (vec![no.clone(), no], false),
        (vec![Compare::version(key("a"), 1), Compare::value(key("a"), "1")], true),
        (
            vec![Compare::version(key("a"), 1), Compare::value(key("a"), "2")],
            false,
        ),
    ] {
        let txn = Txn {
            compare,
            then: vec![put("branch", "then")],
            otherwise: vec![put("branch", "otherwise")],
        };
        assert_eq!(commit(&store, txn).await.succeeded, succeeded);
        let expected = if succeeded { "then" } else { "otherwise" };
        assert_eq!(store.read("branch").await.unwrap().value, expected);
    }
}

/// Though an operation of the branch changes what they compare.
pub async fn comparisons_see_the_state_before_any_write(store: Probe) {
    let txn = Txn {
        compare: vec![Compare::absent(key("a")), Compare::absent(key("b"))],
        then: vec![put("a", "1"), put("b", "1")],
        otherwise: vec![],
    };
    assert!(commit(&store, txn.clone()).await.succeeded);
    let answer = commit(&store, txn).await;
    assert!(!answer.succeeded);
    assert_eq!((answer.rev, answer.answers.len()), (None, 0));
    assert_eq!(store.log("").await.len(), 2);
}

pub async fn operations_see_the_earlier_ones(store: Probe) {
    store.put("a", "old").await;
    let answer = commit(
        &store,
        then([
            get("a"),
            put("a", "1"),
            get("a"),
            put("a", "2"),
            remove("a"),
            get("a"),
            Operation::List(list("")),
            put("a", "3"),
            put("b", "1"),
            Operation::List(list("")),
        ]),
    )
    .await;
    let values: Vec<String> = answer
        .answers
        .iter()
        .map(|answer| match answer {
            OperationAnswer::Get(entry) => match entry {
                Some(entry) => format!("get v{} {:?}", entry.version, entry.value),
                None => "get none".into(),
            },
            OperationAnswer::Set(entry) => format!("set v{} {:?}", entry.version, entry.value),
            OperationAnswer::Delete(entry) => format!("delete v{}", entry.as_ref().unwrap().version),
            OperationAnswer::List(entries) => {
                let entries: Vec<String> = entries
                    .iter()
                    .map(|entry| format!("{} v{} {:?}", entry.key, entry.version, entry.value))
                    .collect();
                format!("list {}", entries.join(", "))
            }
        })
        .collect();
    assert_eq!(
        values,
        [
            "get v1 b\"old\"",
            "set v2 b\"\"",
            "get v2 b\"1\"",
            "set v3 b\"\"",
            "delete v4",
            "get none",
            "list ",
            "set v5 b\"\"",
            "set v1 b\"\"",
            "list a v5 b\"3\", b v1 b\"1\"",
        ]
    );
    assert_eq!(store.read("a").await.unwrap().version, version(5));
    assert_eq!(store.log("a").await.len(), 5);
}

pub async fn answers_are_those_of_the_single_calls(store: Probe) {
    store.put("a", "1").await;
    store.put("b", "1").await;
    let answer = commit(&store, then([put("a", "2"), remove("b"), put("c", "1"), get("a")])).await;
    let [
        OperationAnswer::Set(a),
        OperationAnswer::Delete(Some(b)),
        OperationAnswer::Set(c),
        OperationAnswer::Get(Some(read)),
    ] = &answer.answers[..]
    else {
        panic!("{answer:?}")
    };
    assert_eq!(
        (a.version, a.updated_ref.get(), a.created_ref.get(), a.lease_id.get()),
        (version(2), 3, 1, 1)
    );
    assert_eq!((b.version, b.deleted_ref), (version(2), Some(event(4))));
    assert_eq!((c.version, c.updated_ref.get(), c.lease_id.get()), (version(1), 5, 3));
    assert_eq!(Some(read), store.read("a").await.as_ref());
    assert_eq!(Some(&a.updated_rev), answer.rev.as_ref());
}

pub async fn all_events_have_one_revision_and_one_tag(store: Probe) {
    let before = store.put("z", "x").await;
    let answer = commit(&store, then([put("a", "1"), put("b", "1"), remove("z"), put("a", "2")])).await;
    let rev = before.updated_rev.next();
    assert_eq!(answer.rev, Some(rev));
    let log = store.log("").await;
    assert_eq!(answer.at.position, log[4].position());
    assert!(log[1..].iter().all(|event| event.rev == rev && event.tag == log[1].tag));
    let story: Vec<_> = log[1..]
        .iter()
        .map(|event| {
            (
                event.event_type,
                event.key.text().unwrap(),
                event.version.get(),
                event.prev_ref.get(),
            )
        })
        .collect();
    assert_eq!(
        story,
        [
            (EventType::Set, "a", 1, 0),
            (EventType::Set, "b", 1, 0),
            (EventType::Delete, "z", 2, 1),
            (EventType::Set, "a", 2, 2),
        ]
    );
    assert_eq!(store.put("next", "x").await.updated_rev, rev.next());
}

pub async fn an_operation_that_fails_undoes_all(store: Probe) {
    store.put("a", "1").await;
    let status = store.status().await.unwrap();
    let missing = LeaseId::new(99).unwrap();
    let large = SetRequest::new(key("large"), vec![0; goku::limits::ENTRY_BYTES_MAX]);
    for (failing, expected) in [
        (
            Operation::Set(set("a", "3").condition(Condition::Absent)),
            ErrorKind::ConditionFailed,
        ),
        (
            Operation::Set(set("a", "3").condition(Condition::Version(version(1)))),
            ErrorKind::ConditionFailed,
        ),
        (
            Operation::Delete(delete("a").condition(Condition::Version(version(1)))),
            ErrorKind::ConditionFailed,
        ),
        (
            Operation::Delete(delete("missing").condition(Condition::Version(version(1)))),
            ErrorKind::NotFound,
        ),
        (Operation::Set(set("a", "3").lease(missing)), ErrorKind::LeaseNotFound),
        (
            Operation::Set(set("a", "3").ttl(Duration::ZERO)),
            ErrorKind::InvalidArgument,
        ),
        (Operation::Set(large), ErrorKind::TooLarge),
    ] {
        let answer = store
            .txn(then([put("b", "1"), put("a", "2"), failing.clone(), put("c", "1")]))
            .await;
        assert_eq!(kind(answer), expected, "{failing:?}");
        assert_eq!(store.keys(list("")).await, ["a"]);
        assert_eq!(store.read("a").await.unwrap().value, "1");
    }
    let after = store.status().await.unwrap();
    assert_eq!((after.head, after.rev), (status.head, status.rev));
    assert_eq!(store.put("next", "x").await.lease_id.get(), 2);
}

pub async fn conditions_of_operations_see_the_earlier_ones(store: Probe) {
    store.put("a", "1").await;
    let answer = commit(
        &store,
        then([
            Operation::Set(set("a", "2").condition(Condition::Version(version(1)))),
            Operation::Set(set("a", "3").condition(Condition::Version(version(2)))),
            Operation::Delete(delete("a").condition(Condition::Version(version(3)))),
            Operation::Set(set("a", "5").condition(Condition::AbsentAt(version(4)))),
            Operation::Set(set("b", "1").condition(Condition::Absent)),
        ]),
    )
    .await;
    assert_eq!(answer.answers.len(), 5);
    assert_eq!(store.read("a").await.unwrap().version, version(5));
}

pub async fn deleting_what_does_not_exist_has_no_effect(store: Probe) {
    let answer = commit(&store, then([remove("missing")])).await;
    assert_eq!(answer.answers, [OperationAnswer::Delete(None)]);
    assert_eq!((answer.rev, answer.succeeded), (None, true));
    let answer = commit(
        &store,
        then([remove("missing"), put("a", "1"), remove("a"), remove("a")]),
    )
    .await;
    assert_eq!(answer.answers[0], OperationAnswer::Delete(None));
    assert!(matches!(&answer.answers[2], OperationAnswer::Delete(Some(entry)) if entry.version == version(2)));
    assert_eq!(answer.answers[3], OperationAnswer::Delete(None));
    assert_eq!(store.log("").await.len(), 2);
    assert_eq!(store.status().await.unwrap().rev.get(), 1);
}

pub async fn sets_use_leases_as_single_sets_do(store: Probe) {
    let granted = store.grant(Expiry::After(Duration::from_secs(3600))).await;
    let answer = commit(
        &store,
        then([
            Operation::Set(set("a", "1").lease(granted.id)),
            Operation::Set(set("b", "1").lease(granted.id)),
            put("c", "1"),
            put("d", "1"),
            put("a", "2"),
        ]),
    )
    .await;
    let leases: Vec<i64> = answer
        .answers
        .iter()
        .map(|answer| match answer {
            OperationAnswer::Set(entry) => entry.lease_id.get(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(leases, [1, 1, 2, 3, 1]);
    let lease = store.get_lease(granted.id).await.unwrap();
    assert_eq!((lease.version, lease.expires_at), (version(4), granted.expires_at));
    let other = store.get_lease(LeaseId::new(2).unwrap()).await.unwrap();
    assert_eq!(other.version, version(1));
}

/// A lease that only its key needed goes with the key, for the operations that follow too.
pub async fn a_lease_that_an_operation_left_is_gone_for_the_next(store: Probe) {
    let granted = store.grant(Expiry::Never).await.id;
    let own = store.put("a", "1").await.lease_id;
    let share = || Operation::Set(set("b", "1").lease(own));
    let moved = Operation::Set(set("a", "2").lease(granted));
    assert_eq!(kind(store.txn(then([moved, share()])).await), ErrorKind::LeaseNotFound);
    let again = [remove("a"), put("a", "2"), share()];
    assert_eq!(kind(store.txn(then(again)).await), ErrorKind::LeaseNotFound);
    assert_eq!(store.keys(list("")).await, ["a"]);
    commit(&store, then([share(), put("a", "2")])).await;
    assert_eq!(store.read("b").await.unwrap().lease_id, own);
}

pub async fn a_transaction_that_only_reads_has_no_revision(store: Probe) {
    store.put("a", "1").await;
    let last = store.put("b", "2").await;
    let keys_only = ListRequest {
        keys_only: true,
        limit: Some(1),
        start: Some(key("a\0")),
        ..list("")
    };
    let txn = Txn {
        compare: vec![Compare::value(key("a"), "1")],
        then: vec![
            get("a"),
            get("missing"),
            Operation::List(list("")),
            Operation::List(keys_only),
        ],
        otherwise: vec![],
    };
    assert!(txn.is_read());
    let answer = commit(&store, txn).await;
    assert!(answer.succeeded);
    assert_eq!(answer.rev, None);
    assert_eq!(answer.at.position.id, last.updated_ref);
    assert_eq!(answer.at, store.status().await.unwrap().head);
    let [
        OperationAnswer::Get(Some(a)),
        OperationAnswer::Get(None),
        OperationAnswer::List(all),
        OperationAnswer::List(only),
    ] = &answer.answers[..]
    else {
        panic!("{answer:?}")
    };
    assert_eq!(Some(a), store.read("a").await.as_ref());
    assert_eq!(all, &store.listing(list("")).await.1);
    assert_eq!(
        (only.len(), only[0].key.text().unwrap(), &only[0].value),
        (1, "b", &Value::default())
    );
    assert_eq!(store.log("").await.len(), 2);
}

pub async fn an_empty_transaction_succeeds(store: Probe) {
    store.put("a", "1").await;
    let answer = commit(&store, Txn::default()).await;
    assert_eq!((answer.succeeded, answer.rev, answer.answers.len()), (true, None, 0));
    assert_eq!(answer.at, store.status().await.unwrap().head);
}

/// Two keys that are always written together are never read apart.
pub async fn reading_transactions_see_one_state(store: Probe) {
    let writer = {
        let store = store.clone();
        tokio::spawn(async move {
            for number in 0..150 {
                let value = number.to_string();
                commit(&store, then([put("a", value.clone()), put("b", value)])).await;
            }
        })
    };
    while !writer.is_finished() {
        let answer = commit(&store, then([get("a"), get("b"), Operation::List(list(""))])).await;
        let [
            OperationAnswer::Get(a),
            OperationAnswer::Get(b),
            OperationAnswer::List(all),
        ] = &answer.answers[..]
        else {
            panic!("{answer:?}")
        };
        assert_eq!(a.as_ref().map(|a| &a.value), b.as_ref().map(|b| &b.value));
        let listed: Vec<_> = all.iter().cloned().map(Some).collect();
        assert!(all.is_empty() && a.is_none() || listed == [a.clone(), b.clone()]);
    }
    writer.await.unwrap();
}

pub async fn at_is_where_a_stream_goes_on(store: Probe) {
    let answer = commit(&store, then([put("a", "1"), put("b", "1")])).await;
    let mut stream = store
        .watch(watch("").from(StreamFrom::Resume(answer.at.position)))
        .await;
    let next = store.put("c", "1").await;
    assert_eq!(stream.event().await.id, next.updated_ref);
}

pub async fn as_many_operations_as_the_limit_says(store: Probe) {
    let puts = |count: usize| {
        (0..count)
            .map(|number| put(&format!("k{number:03}"), "x"))
            .collect::<Vec<_>>()
    };
    let compares = |count: usize| vec![Compare::absent(key("none")); count];
    let over = TXN_OPERATIONS_MAX + 1;
    for txn in [
        then(puts(over)),
        Txn {
            otherwise: puts(over),
            ..Txn::default()
        },
        Txn {
            compare: compares(over),
            then: puts(1),
            otherwise: vec![],
        },
        then(vec![get("a"); over]),
    ] {
        assert_eq!(kind(store.txn(txn).await), ErrorKind::TooLarge);
    }
    assert_eq!(store.log("").await, []);
    let full = Txn {
        compare: compares(TXN_OPERATIONS_MAX),
        then: puts(TXN_OPERATIONS_MAX),
        otherwise: puts(TXN_OPERATIONS_MAX),
    };
    assert_eq!(commit(&store, full).await.answers.len(), TXN_OPERATIONS_MAX);
    let log = store.log("").await;
    assert_eq!(log.len(), TXN_OPERATIONS_MAX);
    assert!(log.iter().all(|event| event.rev.get() == 1));
}

pub async fn as_many_rows_as_the_limit_says(store: Probe) {
    let sets = (0..=TXN_ROWS_MAX).map(|number| {
        let store = store.clone();
        async move { store.put(&format!("k{number:04}"), "x").await }
    });
    futures::future::join_all(sets).await;
    let limited = |limit| Operation::List(ListRequest { limit, ..list("k") });
    for writing in [false, true] {
        let with = |lists: Vec<Operation>| {
            let mut operations = lists;
            if writing {
                operations.push(put("other", "x"));
            }
            then(operations)
        };
        let over = [vec![limited(None)], vec![limited(Some(TXN_ROWS_MAX)), limited(Some(1))]];
        for lists in over {
            assert_eq!(
                kind(store.txn(with(lists)).await),
                ErrorKind::TooLarge,
                "writing: {writing}"
            );
        }
        let answer = commit(&store, with(vec![limited(Some(TXN_ROWS_MAX - 1)), limited(Some(1))])).await;
        assert!(matches!(&answer.answers[0], OperationAnswer::List(entries) if entries.len() == TXN_ROWS_MAX - 1));
    }
}

pub async fn as_many_bytes_as_the_limit_says(store: Probe) {
    let third = vec![0_u8; TXN_BYTES_MAX / 3 + 1];
    let over = then([
        put("a", third.clone()),
        put("b", third.clone()),
        put("c", third.clone()),
    ]);
    assert_eq!(kind(store.txn(over).await), ErrorKind::TooLarge);
    assert_eq!(store.log("").await, []);
    commit(&store, then([put("a", third.clone()), put("b", third.clone())])).await;
    store.put("c", third).await;
    for extra in [None, Some(put("d", "x"))] {
        let mut reads = vec![get("a"), get("b"), get("c")];
        reads.extend(extra);
        assert_eq!(kind(store.txn(then(reads)).await), ErrorKind::TooLarge);
    }
    let listing = then([Operation::List(list(""))]);
    assert_eq!(kind(store.txn(listing).await), ErrorKind::TooLarge);
    assert_eq!(store.read("d").await, None);
    let answer = commit(&store, then([get("a"), get("b")])).await;
    assert_eq!(answer.answers.len(), 2);
}

pub async fn keys_with_anything_in_them(store: Probe) {
    let names = ["a", "A", "a%", "a_", "a\\", "a\0", "á", "a "];
    let puts: Vec<Operation> = names.iter().map(|name| put(name, *name)).collect();
    commit(&store, then(puts)).await;
    let gets: Vec<Operation> = names.iter().map(|name| get(name)).collect();
    let answer = commit(&store, then(gets)).await;
    for (name, answer) in names.iter().zip(answer.answers) {
        assert!(matches!(answer, OperationAnswer::Get(Some(entry)) if entry.value == *name));
    }
    let mixed = then([
        put("a\n", "x"),
        Operation::List(list("a%")),
        Operation::List(list("a\\")),
    ]);
    let answer = commit(&store, mixed).await;
    for (answer, name) in answer.answers[1..].iter().zip(["a%", "a\\"]) {
        assert!(matches!(answer, OperationAnswer::List(entries) if entries.len() == 1 && entries[0].key == key(name)));
    }
}
