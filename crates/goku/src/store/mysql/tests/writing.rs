//! Batches: what they leave in the tables.

use std::time::Duration;

use mysql_async::prelude::Queryable as _;

use super::speculative::Speculative;
use super::*;
use crate::lease::{Expiry, LeaseRequest};
use crate::txn::{Compare, Operation, Txn};

#[tokio::test]
async fn a_batch_gives_contiguous_ids_and_a_request_fails_alone() {
    let database = Database::create().await;
    let store = database.store().await;
    let absent = SetRequest::new(key("a"), "2").condition(Condition::Absent);
    let decision = write(
        &store,
        [set("a", "1"), Request::Set(absent), delete("none"), set("b", "1")],
    )
    .await;
    assert_eq!(event_ids(&decision), [1, 2]);
    let failed = [None, Some(ErrorKind::ConditionFailed), Some(ErrorKind::NotFound), None];
    assert_eq!(error_kinds(&decision), failed);
    let decision = write(&store, [set("a", "3"), delete("b"), set("b", "4"), delete("a")]).await;
    assert_eq!(event_ids(&decision), [3, 4, 5, 6]);

    let (head, _) = store.head().await.unwrap();
    assert_eq!(head, decision.head);
    assert_eq!((head.keys, head.last_rev.get()), (1, 6));
    let b = get(&store, "b").await.unwrap();
    assert_eq!(
        (b.version.get(), b.created_ref.get(), b.value),
        (3, 5, Some("4".into()))
    );
    let a = get(&store, "a").await.unwrap();
    assert_eq!(
        (a.version.get(), a.deleted_ref.map(EventId::get), a.value),
        (3, Some(6), None)
    );
    assert_eq!(get(&store, "none").await, None);
}

#[tokio::test]
async fn the_tables_hold_exactly_what_was_decided() {
    let database = Database::create().await;
    let store = database.store().await;
    let ttl = SetRequest::new(key("leased"), "x").ttl(Duration::from_secs(3600));
    let many = || (0..12).map(|number| format!("many/{number}"));
    let mut events = Vec::new();
    for requests in [
        many().map(|name| set(&name, name.clone())).collect(),
        many().map(|name| delete(&name)).collect(),
        vec![set("large", vec![b'v'; 5_000]), set("large", vec![b'w'; 5_000])],
        vec![set("k", "1"), Request::Set(ttl), set("gone", "1")],
        vec![
            delete("gone"),
            set("k", ""),
            Request::Lease(LeaseRequest::Grant(Expiry::Never)),
        ],
    ] {
        events.extend(write(&store, requests).await.events);
    }
    let (head, _) = store.head().await.unwrap();
    let read = store.events(all_events(head.last_event)).await.unwrap();
    assert_eq!(read.events, events);
    assert_eq!(read.scanned, head.last_event);
    let last: std::collections::HashMap<_, _> = events.iter().map(|event| (&event.key, event)).collect();
    assert_eq!(last.len(), 16);
    for (key, event) in last {
        assert_eq!(get(&store, key.text().unwrap()).await, Some(Row::after(event)));
    }
    let leases = store.leases(None, 10).await.unwrap();
    assert_eq!(leases.len(), 2);
    assert_eq!(leases[0].1.ttl, Some(Duration::from_secs(3600)));
    assert_eq!(store.leases(Some(leases[0].0), 10).await.unwrap(), leases[1..]);
    assert_eq!(head.next_deadline, leases[0].1.expires_at);
}

#[tokio::test]
async fn keys_and_values_survive_whatever_bytes_they_have() {
    let database = Database::create().await;
    let store = database.store().await;
    let names = [
        "%",
        "_",
        "\\",
        "'",
        "\"",
        "a;b",
        "--",
        " a ",
        "a",
        "A",
        "á",
        "\0",
        "\n",
        "\u{10ffff}",
        "`",
        "/*!*/",
        "?",
    ];
    let bytes: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
    let pairs: Vec<u8> = (0..=255).flat_map(|byte| [byte, b'\'', byte, b'\\']).collect();
    write(&store, names.iter().map(|name| set(name, bytes.clone()))).await;
    write(&store, names.iter().map(|name| set(name, pairs.clone()))).await;
    let (head, _) = store.head().await.unwrap();
    assert_eq!(head.keys, names.len() as u64);
    for name in names {
        assert_eq!(get(&store, name).await.unwrap().value.unwrap(), pairs, "{name:?}");
    }
    let page = store
        .page(everything(EventId::new(names.len() as i64).unwrap()))
        .await
        .unwrap();
    let mut sorted: Vec<_> = names.iter().map(|name| key(name)).collect();
    sorted.sort();
    assert_eq!(page.rows.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>(), sorted);
    assert!(page.rows.iter().all(|(_, row)| row.value.as_ref().unwrap() == &bytes));
}

#[tokio::test]
async fn leases_are_due_in_order_and_take_their_keys_along() {
    let database = Database::create().await;
    let store = database.store().await;
    let short = |name: &str, ms| Request::Set(SetRequest::new(key(name), "v").ttl(Duration::from_millis(ms)));
    let hour = 3_600_000;
    write(&store, [short("c", 3), short("a", 1), short("b", 2), short("d", hour)]).await;
    let wait = |ms: i64| {
        let store = &store;
        async move {
            let (head, start) = store.head().await.unwrap();
            assert!(head.next_deadline.is_some());
            while store.head().await.unwrap().1.as_millis() < start.as_millis() + ms {}
        }
    };
    wait(5).await;
    let decision = write(&store, [Request::ExpireDue(2)]).await;
    let keys: Vec<_> = decision.events.iter().map(|event| event.key.text().unwrap()).collect();
    assert_eq!(keys, ["a", "b"]);
    assert!(matches!(decision.answers[0], Ok(Answer::ExpiredDue { more: true })));
    let decision = write(&store, [Request::ExpireDue(2)]).await;
    assert_eq!(decision.events[0].key, "c");
    assert!(matches!(decision.answers[0], Ok(Answer::ExpiredDue { more: false })));
    let (head, now) = store.head().await.unwrap();
    assert!(head.next_deadline.unwrap() > now);
    assert_eq!((head.keys, head.leases), (1, 1));
    let decision = write(&store, [Request::ExpireDue(2)]).await;
    assert!(!decision.writes);
    assert_eq!(store.head().await.unwrap().0, head);
}

#[tokio::test]
async fn a_key_whose_lease_is_over_is_gone_for_the_batch_that_meets_it() {
    let database = Database::create().await;
    let store = database.store().await;
    write(
        &store,
        [Request::Set(
            SetRequest::new(key("a"), "v").ttl(Duration::from_millis(1)),
        )],
    )
    .await;
    let (head, _) = store.head().await.unwrap();
    while store.head().await.unwrap().1 < head.next_deadline.unwrap() {}
    let again = SetRequest::new(key("a"), "2").condition(Condition::Absent);
    let decision = write(&store, [Request::Set(again)]).await;
    assert_eq!(error_kinds(&decision), [None]);
    assert_eq!(event_ids(&decision), [2, 3]);
}

#[tokio::test]
async fn transactions_read_values_and_ranges_under_the_lock() {
    let database = Database::create().await;
    let store = database.store().await;
    write(&store, (0..30).map(|n| set(&format!("k{n:02}"), format!("v{n}")))).await;
    let list = |limit| {
        Operation::List(crate::request::ListRequest {
            limit,
            ..crate::request::ListRequest::new(Prefix::new("k").unwrap())
        })
    };
    let txn = Txn {
        compare: vec![Compare::value(key("k07"), "v7"), Compare::absent(key("l"))],
        then: vec![
            Operation::Delete(DeleteRequest::new(key("k01"))),
            Operation::Set(SetRequest::new(key("l"), "new")),
            list(Some(2)),
            list(None),
        ],
        ..Txn::default()
    };
    let decision = write(&store, [Request::Txn(txn)]).await;
    let Ok(Answer::Txn(answer)) = &decision.answers[0] else {
        panic!("{:?}", decision.answers)
    };
    assert!(answer.succeeded);
    let listed = |index: usize| match &answer.answers[index] {
        crate::txn::OperationAnswer::List(entries) => entries.clone(),
        other => panic!("{other:?}"),
    };
    let first: Vec<_> = listed(2).iter().map(|entry| entry.key.to_string()).collect();
    assert_eq!(first, ["k00", "k02"]);
    assert_eq!(listed(3).len(), 29);
    assert_eq!(listed(3)[28].value, b"v29");
}

#[tokio::test]
async fn a_batch_tells_what_it_has_seen_from_another_tail() {
    let database = Database::create().await;
    let store = database.store().await;
    let seen = write(&store, [set("k", "1")]).await.head;
    write(&store, [set("k", "2")]).await;
    let decision = loads::write(&store, batch_having_seen(seen, [set("k", "3")]))
        .await
        .unwrap();
    assert_eq!((decision.head.epoch, event_ids(&decision)), (seen.epoch, vec![3]));
    let other = Head {
        last_tag: Tag::new(8),
        ..seen
    };
    let decision = loads::write(&store, batch_having_seen(other, [set("k", "4")]))
        .await
        .unwrap();
    assert_eq!(decision.head.epoch.number(), 2);
    assert_eq!(store.head().await.unwrap().0, decision.head);
    let read = store.events(all_events(decision.head.last_event)).await.unwrap();
    assert_eq!(read.events[3..], decision.events);
}

#[tokio::test]
async fn a_batch_that_changes_nothing_is_answered_and_leaves_no_transaction() {
    let database = Database::create().await;
    let store = database.store().await;
    let decision = write(&store, [delete("none")]).await;
    assert!(!decision.writes);
    assert_eq!(error_kinds(&decision), [Some(ErrorKind::NotFound)]);
    no_transaction_is_open(&database).await;
    write(&store, [set("k", "v")]).await;
    no_transaction_is_open(&database).await;
}

#[tokio::test]
async fn large_batches_go_in_several_packets() {
    let database = Database::on_own_server(&["--max-allowed-packet=1M"]).await;
    let store = database.store().await;
    assert!(store.profile().batch_bytes_max <= 256 * 1024);
    let value = |n: usize| vec![u8::try_from(n % 256).unwrap(); 300_000];
    let decision = write(&store, (0..20).map(|n| set(&format!("k{n:02}"), value(n)))).await;
    assert_eq!(decision.events.len(), 20);
    for n in [0, 7, 19] {
        assert_eq!(get(&store, &format!("k{n:02}")).await.unwrap().value.unwrap(), value(n));
    }

    let long = "k".repeat(250);
    write(&store, (0..5_000).map(|n| set(&format!("{long}{n}"), ""))).await;
    assert_eq!(store.head().await.unwrap().0.keys, 5_020);

    let refused = loads::write(&store, batch([set("large", vec![b'x'; 1_100_000])])).await;
    assert!(matches!(refused, Err(WriteError::Rejected(error)) if error.kind() == ErrorKind::TooLarge));
    no_transaction_is_open(&database).await;
    write(&store, [set("k", "v")]).await;
}

#[tokio::test]
async fn a_large_value_is_refused_and_nothing_is_written() {
    let database = Database::create().await;
    let store = database.store().await;
    let large = set("b", crate::Value::large(5_000_000_000));
    let refused = loads::write(&store, batch([set("a", "v"), large])).await;
    assert!(matches!(refused, Err(WriteError::Rejected(error)) if error.kind() == ErrorKind::Internal));
    no_transaction_is_open(&database).await;
    let (head, _) = store.head().await.unwrap();
    assert_eq!((head.last_event.get(), head.keys), (0, 0));
    write(&store, [set("a", "v")]).await;
}

#[tokio::test]
async fn a_value_at_the_limit_of_an_entry_survives() {
    let database = Database::create().await;
    let store = database.store().await;
    // Every byte is escaped: the statement is twice as long as the value.
    for byte in [0, b'\'', b'x'] {
        let value = vec![byte; crate::limits::ENTRY_BYTES_MAX - 1];
        write(&store, [set("k", value.clone()), set("s", "small")]).await;
        assert!(get(&store, "k").await.unwrap().value.unwrap() == value);
    }
    let (head, _) = store.head().await.unwrap();
    let page = store.page(everything(head.last_event)).await.unwrap();
    assert_eq!(
        page.rows[0].1.value.as_ref().unwrap().len(),
        crate::limits::ENTRY_BYTES_MAX as u64 - 1
    );
}

/// Fails where a session has a transaction open, as none has between two batches: each locks the tables that it has met
/// against changes of their columns. The server's list of transactions may be old, and as old as that for ever where
/// several look at it.
pub(super) async fn no_transaction_is_open(database: &Database) {
    let mut connection = database.connect().await;
    // Less than the server itself gives such a one.
    connection.query_drop("set lock_wait_timeout = 2").await.unwrap();
    let locked = connection
        .query_drop("lock tables head write, data write, events write")
        .await;
    locked.expect("a transaction is left open");
    connection.query_drop("unlock tables").await.unwrap();
}

/// The database counts the rows that a statement changes: a write that a trigger undid was acknowledged.
#[tokio::test]
async fn a_write_that_changes_other_rows_than_it_must_is_not_acknowledged() {
    let database = Database::create().await;
    let store = Arc::new(database.store().await);
    write(&store, [set("k", "1")]).await;
    let mut conn = database.connect().await;
    let trigger = "create trigger keep_rows before update on data for each row set new.value = old.value, \
                   new.value_bytes = old.value_bytes, new.version = old.version, new.created_ref = old.created_ref, \
                   new.updated_ref = old.updated_ref, new.deleted_ref = old.deleted_ref, new.lease_id = old.lease_id, \
                   new.created_version = old.created_version, new.created_rev = old.created_rev, \
                   new.updated_rev = old.updated_rev";
    conn.query_drop(trigger).await.unwrap();
    let speculative = Speculative::after(&store, &[], vec![set("k", "2")]).await;
    let outcomes = [
        speculative.write(&store).await.map(|decision| decision.is_some()),
        loads::write(&*store, batch([set("k", "3"), set("l", "1")]))
            .await
            .map(|_| true),
    ];
    for outcome in outcomes {
        let Err(WriteError::Lost(error)) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
        assert!(error.message().contains("look for triggers"), "{error}");
    }
    conn.query_drop("drop trigger keep_rows").await.unwrap();
    write(&store, [set("l", "2")]).await;
}
