//! The events of one key, along its own past.

use goku::limits::{HISTORY_BYTES_MAX, HISTORY_PAGE_MAX};
use goku::{ErrorKind, Event, EventId, EventType, Expiry, HistoryRequest, LeaseRequest};

use crate::probe::{Probe, key, kind};

/// All pages of at most so many events.
async fn history(store: &Probe, name: &str, limit: Option<usize>) -> Vec<Event> {
    let mut events = Vec::new();
    let mut request = HistoryRequest {
        limit,
        ..HistoryRequest::new(key(name))
    };
    loop {
        let page = store.history(request.clone()).await.unwrap();
        assert!(!page.events.is_empty() && page.events.len() <= limit.unwrap_or(HISTORY_PAGE_MAX));
        events.extend(page.events);
        let Some(rest) = page.rest else { return events };
        request.from = Some(rest);
    }
}

pub async fn a_history_is_the_keys_part_of_the_log_backwards(store: Probe) {
    for round in 0..7 {
        for name in ["a", "ab", "b"] {
            store.put(name, format!("{name} {round}")).await;
        }
        if round % 3 == 2 {
            store.remove("a").await;
        }
    }
    let lease = store.grant(Expiry::Never).await.id;
    store.put_leased("a", lease).await;
    store.lease(LeaseRequest::Expire(lease)).await.unwrap();
    let log = store.log("").await;
    for name in ["a", "ab", "b"] {
        let expected: Vec<_> = log.iter().rev().filter(|event| event.key == name).cloned().collect();
        for limit in [None, Some(1), Some(2), Some(expected.len())] {
            assert_eq!(history(&store, name, limit).await, expected, "{name}, {limit:?}");
        }
    }
    assert_eq!(history(&store, "a", None).await[0].event_type, EventType::Expire);
}

pub async fn a_history_begins_where_it_is_told_to(store: Probe) {
    for value in ["1", "2", "3"] {
        store.put("a", value).await;
        store.put("b", value).await;
    }
    let from = |from| HistoryRequest {
        from: Some(EventId::new(from).unwrap()),
        ..HistoryRequest::new(key("a"))
    };
    let page = store.history(from(3)).await.unwrap();
    let values: Vec<_> = page.events.iter().map(|event| &event.value).collect();
    assert_eq!(values, ["2", "1"]);
    assert_eq!(page.rest, None);
    // An event of another key is not taken for one of this.
    assert_eq!(kind(store.history(from(2)).await), ErrorKind::InvalidArgument);
    assert_eq!(kind(store.history(from(99)).await), ErrorKind::NotFound);
    let never = HistoryRequest::new(key("never"));
    assert_eq!(kind(store.history(never).await), ErrorKind::NotFound);
}

pub async fn a_long_history_comes_in_pages(store: Probe) {
    let count = HISTORY_PAGE_MAX + 3;
    for number in 0..count {
        store.put("a", number.to_string()).await;
    }
    let first = store.history(HistoryRequest::new(key("a"))).await.unwrap();
    assert_eq!(first.events.len(), HISTORY_PAGE_MAX);
    let more = HistoryRequest {
        limit: Some(usize::MAX),
        ..HistoryRequest::new(key("a"))
    };
    assert_eq!(store.history(more).await.unwrap(), first);
    let all = history(&store, "a", None).await;
    assert!(
        all.iter()
            .rev()
            .map(|event| event.value.clone())
            .eq((0..count).map(|number| number.to_string()))
    );
}

pub async fn a_history_of_large_values_comes_in_pages(store: Probe) {
    let large = |byte: u8| vec![byte; HISTORY_BYTES_MAX / 2 + 1];
    let too_large = vec![b'x'; 2 * HISTORY_BYTES_MAX];
    for byte in 0..3 {
        store.put("a", large(byte)).await;
    }
    store.put("a", too_large.clone()).await;
    store.put("a", "small").await;
    let all = history(&store, "a", None).await;
    let values: Vec<_> = all.into_iter().map(|event| event.value).collect();
    assert_eq!(values, [b"small".to_vec(), too_large, large(2), large(1), large(0)]);
    let page = store.history(HistoryRequest::new(key("a"))).await.unwrap();
    assert_eq!(page.events.len(), 1, "the value after it does not fit");
}
