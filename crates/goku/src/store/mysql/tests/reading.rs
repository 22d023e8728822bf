//! Reads: pages, events and rows, now and at a point in history.

use super::*;

async fn head_of(store: &MySqlStore) -> Head {
    store.head().await.unwrap().0
}

fn values(page: &Page) -> Vec<(&str, &[u8])> {
    let value = |row: &'_ Row| row.value.is_some();
    assert!(page.rows.iter().all(|(_, row)| value(row)));
    page.rows
        .iter()
        .map(|(key, row)| (key.text().unwrap(), &row.value.as_ref().unwrap().inline().unwrap()[..]))
        .collect()
}

#[tokio::test]
async fn a_page_shows_one_point_in_history_however_much_came_after() {
    let database = Database::create().await;
    let store = database.store().await;
    write(
        &store,
        [set("a", "1"), set("b", "1"), set("c", "1"), set("e", "1"), delete("e")],
    )
    .await;
    let then = head_of(&store).await;
    let before = store.page(everything(then.last_event)).await.unwrap();

    for round in 0..10 {
        write(&store, (0..100).map(|n| set("a", format!("{round} {n}")))).await;
    }
    write(
        &store,
        [
            delete("b"),
            set("d", "new"),
            set("e", "again"),
            delete("a"),
            set("a", "last"),
        ],
    )
    .await;

    let page = store.page(everything(then.last_event)).await.unwrap();
    assert_eq!(page.rows, before.rows);
    assert_eq!(values(&page), [("a", b"1".as_slice()), ("b", b"1"), ("c", b"1")]);
    assert_eq!(page.rest, None);
    let now = store.page(everything(head_of(&store).await.last_event)).await.unwrap();
    assert_eq!(
        values(&now),
        [("a", b"last".as_slice()), ("c", b"1"), ("d", b"new"), ("e", b"again")]
    );

    let needs = Needs {
        keys: ["a", "b", "d", "e", "none"].map(|name| (key(name), true)).into(),
        ranges: vec![crate::decide::RangeNeed {
            range: Prefix::default().range(),
            rows_max: 2,
            values: false,
        }],
        ..Needs::default()
    };
    let state = store.load(needs, Some(At { head: then })).await.unwrap();
    assert_eq!(state.head, then);
    assert_eq!(state.rows[&key("a")], Some(before.rows[0].1.clone()));
    assert_eq!(state.rows[&key("b")], Some(before.rows[1].1.clone()));
    assert_eq!(state.rows[&key("d")], None);
    assert!(!state.rows[&key("e")].as_ref().unwrap().is_live());
    assert_eq!(state.rows[&key("none")], None);
    assert_eq!(state.ranges[0].keys, [key("a"), key("b")]);
    assert!(!state.ranges[0].complete);
}

#[tokio::test]
async fn pages_go_on_where_the_last_one_ended() {
    let database = Database::create().await;
    let store = database.store().await;
    write(&store, (0..25).map(|n| set(&format!("k{n:02}"), vec![b'v'; 100]))).await;
    write(&store, [set("j", "before"), set("l", "after"), delete("k03")]).await;
    let at = head_of(&store).await.last_event;
    for (rows_max, bytes_max) in [
        (1, usize::MAX),
        (7, usize::MAX),
        (1_000, 250),
        (1_000, 1),
        (25, usize::MAX),
    ] {
        let mut keys = Vec::new();
        let mut rest = Some(Prefix::new("k").unwrap().range());
        while let Some(range) = rest {
            let request = PageRequest {
                range,
                rows_max,
                bytes_max,
                values: true,
                at,
            };
            let page = store.page(request).await.unwrap();
            assert!(page.rows.len() <= rows_max);
            assert!(page.rows.len() <= (bytes_max / 100).max(1));
            keys.extend(page.rows.into_iter().map(|(key, _)| key.to_string()));
            rest = page.rest;
        }
        let expected: Vec<_> = (0..25).filter(|n| *n != 3).map(|n| format!("k{n:02}")).collect();
        assert_eq!(keys, expected);
    }
}

#[tokio::test]
async fn large_values_end_a_page_and_come_whole() {
    let database = Database::create().await;
    let store = database.store().await;
    let large = |n: u8| vec![n; 100_000];
    write(&store, (0..6).map(|n| set(&format!("k{n}"), large(n)))).await;
    let at = head_of(&store).await.last_event;
    write(&store, [set("k1", "small now"), delete("k2")]).await;
    let page = store
        .page(PageRequest {
            bytes_max: 350_000,
            ..everything(at)
        })
        .await
        .unwrap();
    assert_eq!(page.rows.len(), 3);
    for (n, (_, row)) in page.rows.iter().enumerate() {
        assert_eq!(row.value.as_ref().unwrap(), &large(u8::try_from(n).unwrap()));
    }
    assert_eq!(page.rest.unwrap().start, b"k2\0");

    let request = EventsRequest {
        bytes_max: 250_000,
        ..all_events(at)
    };
    let page = store.events(request.clone()).await.unwrap();
    assert_eq!((page.events.len(), page.scanned.get()), (2, 2));
    assert_eq!(page.events[1].value, large(1));
    let page = store
        .events(EventsRequest {
            bytes_max: 1,
            after: page.scanned,
            ..request
        })
        .await
        .unwrap();
    assert_eq!((page.events.len(), page.scanned.get()), (1, 3));
}

#[tokio::test]
async fn keys_alone_come_without_values() {
    let database = Database::create().await;
    let store = database.store().await;
    write(&store, [set("a", "1"), set("b", "2")]).await;
    let at = head_of(&store).await.last_event;
    write(&store, [set("b", "3")]).await;
    let page = store
        .page(PageRequest {
            values: false,
            bytes_max: 0,
            ..everything(at)
        })
        .await
        .unwrap();
    assert_eq!(page.rows.len(), 2);
    assert!(page.rows.iter().all(|(_, row)| row.value.is_none()));
    assert_eq!(page.rows[1].1.updated_ref.get(), 2);
}

#[tokio::test]
async fn events_are_filtered_and_paged() {
    let database = Database::create().await;
    let store = database.store().await;
    write(
        &store,
        (0..50).flat_map(|n| {
            [
                set(&format!("a{n}"), "1"),
                set(&format!("b{n}"), ""),
                delete(&format!("a{n}")),
            ]
        }),
    )
    .await;
    let until = head_of(&store).await.last_event;
    let collect = |request: EventsRequest| {
        let store = &store;
        async move {
            let (mut after, mut events) = (request.after, Vec::new());
            while after < until {
                let EventsPage { events: page, scanned } = store
                    .events(EventsRequest {
                        after,
                        ..request.clone()
                    })
                    .await
                    .unwrap();
                assert!(scanned > after);
                assert!(page.iter().all(|event| event.id > after && event.id <= scanned));
                events.extend(page);
                after = scanned;
            }
            events
        }
    };
    let all = collect(EventsRequest {
        rows_max: 7,
        ..all_events(until)
    })
    .await;
    assert_eq!(
        all.iter().map(|event| event.id.get()).collect::<Vec<_>>(),
        (1..=150).collect::<Vec<_>>()
    );
    let range = Prefix::new("b").unwrap().range();
    let of_b = collect(EventsRequest {
        rows_max: 7,
        range: range.clone(),
        ..all_events(until)
    })
    .await;
    assert_eq!(of_b.len(), 50);
    assert!(of_b.iter().all(|event| event.key.as_bytes().starts_with(b"b")));
    let deletes: EventTypes = [crate::event::EventType::Delete].into_iter().collect();
    let deleted = collect(EventsRequest {
        rows_max: 7,
        types: deletes,
        ..all_events(until)
    })
    .await;
    assert_eq!(deleted.len(), 50);
    assert!(deleted.iter().all(|event| event.id.get() % 3 == 0));
    assert!(
        collect(EventsRequest {
            types: deletes,
            range,
            ..all_events(until)
        })
        .await
        .is_empty()
    );
}

#[tokio::test]
async fn pages_of_neighbours_are_whole_whatever_their_values() {
    let database = Database::create().await;
    let store = database.store().await;
    let value = |n: usize| vec![b'v'; if n == 5 { 100_000 } else { n }];
    write(&store, (0..12).map(|n| set(&format!("k{}/{n}", n % 2), value(n)))).await;
    let until = head_of(&store).await.last_event;
    for (rows_max, key) in [(1, ""), (4, ""), (12, ""), (4, "k0"), (4, "k1"), (12, "other")] {
        let mut found = Vec::new();
        let mut after = EventId::ZERO;
        while after < until {
            // As many as may come.
            let end = EventId::new(after.get() + rows_max).unwrap().min(until);
            let request = EventsRequest {
                after,
                range: Prefix::new(key).unwrap().range(),
                rows_max: usize::try_from(rows_max).unwrap(),
                ..all_events(end)
            };
            let page = store.events(request).await.unwrap();
            assert_eq!(page.scanned, end);
            found.extend(page.events.into_iter().map(|event| (event.id.get(), event.value)));
            after = page.scanned;
        }
        let expected = (0..12_usize).filter(|n| format!("k{}", n % 2).starts_with(key));
        let expected: Vec<_> = expected.map(|n| (n as i64 + 1, value(n).into())).collect();
        assert_eq!(found, expected, "{rows_max} of {key:?}");
    }
}

#[tokio::test]
async fn a_lease_without_a_row_is_known_by_its_keys() {
    let database = Database::create().await;
    let store = database.store().await;
    let decision = write(&store, [set("a", "1"), set("b", "1"), delete("b")]).await;
    let id = decision.rows[0].1.lease_id;
    let gone = decision.rows[1].1.lease_id;
    let none = LeaseId::new(gone.get() + 1).unwrap();
    let needs = Needs {
        leases: [id, gone].into(),
        members: [id, gone, none].into(),
        ..Needs::default()
    };
    let state = store.load(needs, None).await.unwrap();
    assert_eq!(state.leases[&id], None);
    assert_eq!(state.members[&id], Members::All([key("a")].into()));
    assert_eq!(state.members[&gone], Members::All([key("b")].into()));
    assert_eq!(state.members[&none], Members::All([].into()));
}

#[tokio::test]
async fn many_reads_at_once_share_the_connections_and_given_up_ones_harm_nobody() {
    let database = Database::create().await;
    let store = database.store().await;
    write(&store, (0..100).map(|n| set(&format!("k{n:03}"), vec![b'v'; 50_000]))).await;
    let at = head_of(&store).await.last_event;
    for turn in 0..40 {
        let read = store.page(everything(at));
        tokio::pin!(read);
        // Given up after a number of polls that is another one each time.
        for _ in 0..turn {
            if futures::poll!(read.as_mut()).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    let reads = (0..64).map(|n| {
        let store = &store;
        async move { get(store, &format!("k{n:03}")).await.unwrap().value.unwrap().len() }
    });
    let lengths = futures::future::join_all(reads).await;
    assert_eq!(lengths, [50_000; 64]);
}

#[tokio::test]
async fn settings_are_kept_with_their_changes() {
    let database = Database::create().await;
    let store = database.store().await;
    crate::store::settings_check::check(&store).await;
    crate::store::token_uses_check::check(&store).await;
}
