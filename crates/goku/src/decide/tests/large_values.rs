//! Keys whose values a store keeps apart, beside requests that would be given the bytes.

use super::*;
use crate::txn::{Relation, Target};
use crate::value::Value;

const BYTES: u64 = 5_000_000_000;

/// A key with a large value, after one with a small one.
fn planted() -> Tables {
    let mut tables = Tables::default();
    let large = SetRequest::new(key("large"), Value::large(BYTES));
    let answers = tables.run(vec![Request::Set(set("a")), Request::Set(large)], 1_000);
    assert_eq!(kinds(&answers), [None, None]);
    assert_eq!(tables.rows[&key("large")].value, Some(Value::large(BYTES)));
    tables
}

/// Runs a transaction that is refused for the large value of `large`, which event 2 set.
#[track_caller]
fn assert_refused(txn: Txn) {
    let mut tables = planted();
    let before = tables.clone();
    let answer = tables.run(vec![Request::Txn(txn)], 1_001).remove(0);
    let error = answer.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    for part in ["\"large\"", "event 2 ", "5000000000 bytes"] {
        assert!(
            error.message().contains(part),
            "{part:?} is not in {:?}",
            error.message()
        );
    }
    assert_eq!((&tables.rows, &tables.events), (&before.rows, &before.events));
}

fn run_txn(tables: &mut Tables, txn: Txn) -> (bool, Vec<OperationAnswer>) {
    match tables.run(vec![Request::Txn(txn)], 1_001).remove(0) {
        Ok(Answer::Txn(answer)) => (answer.succeeded, answer.answers),
        other => panic!("{other:?}"),
    }
}

fn list(keys_only: bool) -> Operation {
    Operation::List(ListRequest {
        keys_only,
        ..ListRequest::default()
    })
}

#[test]
fn a_transaction_that_reads_a_large_value_is_refused_whole() {
    for read in [Operation::Get(key("large")), list(false)] {
        assert_refused(Txn {
            then: vec![Operation::Set(set("a")), read],
            ..Txn::default()
        });
    }
}

#[test]
fn a_transaction_that_compares_a_large_value_is_refused_whole() {
    for relation in [Relation::Equal, Relation::NotEqual, Relation::Less, Relation::Greater] {
        let large = Compare {
            relation,
            ..Compare::value(key("large"), "v")
        };
        for compare in [vec![large.clone()], vec![Compare::absent(key("a")), large]] {
            assert_refused(Txn {
                compare,
                then: vec![Operation::Set(set("a"))],
                otherwise: vec![Operation::Set(set("b"))],
            });
        }
    }
}

#[test]
fn a_transaction_that_needs_no_bytes_meets_large_values() {
    let compare = vec![Compare::version(key("large"), 1), Compare::value(key("a"), "v")];
    let (succeeded, answers) = run_txn(
        &mut planted(),
        Txn {
            compare,
            then: vec![list(true)],
            ..Txn::default()
        },
    );
    assert!(succeeded);
    let [OperationAnswer::List(entries)] = &answers[..] else {
        panic!("{answers:?}");
    };
    let listed: Vec<_> = entries
        .iter()
        .map(|entry| (entry.key.text().unwrap(), &entry.value))
        .collect();
    assert_eq!(listed, [("a", &Value::default()), ("large", &Value::default())]);
}

#[test]
fn a_set_over_a_large_value_leaves_an_inline_one() {
    let mut tables = planted();
    let over = SetRequest::new(key("large"), "small").condition(Condition::Version(Version::FIRST));
    let txn = Txn {
        then: vec![Operation::Set(over), Operation::Get(key("large"))],
        ..Txn::default()
    };
    let (_, answers) = run_txn(&mut tables, txn);
    let [OperationAnswer::Set(set), OperationAnswer::Get(Some(read))] = &answers[..] else {
        panic!("{answers:?}");
    };
    assert_eq!((set.version.get(), &set.value), (2, &Value::default()));
    assert_eq!(read.value, "small");
    assert_eq!(tables.rows[&key("large")].value, Some("small".into()));
    let values: Vec<_> = tables
        .events
        .iter()
        .map(|event| event.value.inline().is_some())
        .collect();
    assert_eq!(values, [true, false, true]);
}

#[test]
fn a_key_with_a_large_value_is_deleted_as_any_other() {
    let mut tables = planted();
    let answers = tables.run(vec![Request::Delete(DeleteRequest::new(key("large")))], 1_001);
    let Ok(Answer::Entry(entry)) = &answers[0] else {
        panic!("{answers:?}");
    };
    assert_eq!(
        (entry.deleted_ref.map(EventId::get), &entry.value),
        (Some(3), &Value::default())
    );
    assert_eq!(
        (&tables.rows[&key("large")].value, &tables.events[2].value),
        (&None, &Value::default())
    );
}

#[test]
fn no_request_is_given_a_large_value() {
    let set = SetRequest::new(key("k"), Value::large(BYTES));
    assert_eq!(set.check().unwrap_err().kind(), ErrorKind::InvalidArgument);
    let compare = Compare::value(key("k"), Value::large(BYTES));
    assert!(matches!(compare.target, Target::Value(Value::Large(_))));
    for txn in [
        Txn {
            compare: vec![compare.clone()],
            ..Txn::default()
        },
        Txn {
            otherwise: vec![Operation::Set(set)],
            ..Txn::default()
        },
    ] {
        assert_eq!(txn.check().unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
    // Nor is one compared that was not checked.
    let mut tables = planted();
    let txn = Txn {
        compare: vec![Compare {
            key: key("a"),
            ..compare
        }],
        ..Txn::default()
    };
    let answers = tables.run(vec![Request::Txn(txn)], 1_001);
    assert_eq!(kinds(&answers), [Some(ErrorKind::InvalidArgument)]);
}
