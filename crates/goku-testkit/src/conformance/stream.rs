//! Streams: what they deliver, where they start and end.

use std::time::Duration;

use goku::{
    ErrorKind, Event, EventId, EventType, Expiry, LeaseRequest, Position, Revision, StreamFrom, StreamItem,
    StreamRequest, Tag, Version,
};

use crate::probe::{Probe, delete, key, kind, set, version, watch};

fn ids(events: &[Event]) -> Vec<i64> {
    events.iter().map(|event| event.id.get()).collect()
}

fn after(id: i64) -> StreamFrom {
    StreamFrom::After(EventId::new(id).unwrap())
}

pub async fn an_event_tells_the_whole_story_of_its_change(store: Probe) {
    let before = store.status().await.unwrap().time;
    let first = store.put("key", "1").await;
    let second = store.put("key", "2").await;
    let after = store.status().await.unwrap().time;
    let log = store.log("").await;
    assert_eq!(log.len(), 2);
    let expected = Event {
        id: EventId::new(2).unwrap(),
        rev: Revision::new(2).unwrap(),
        event_type: EventType::Set,
        key: key("key"),
        value: "2".into(),
        version: version(2),
        created_ref: first.created_ref,
        created_version: Version::FIRST,
        created_rev: first.created_rev,
        lease_id: first.lease_id,
        leased: Some(false),
        origin: None,
        prev_ref: first.updated_ref,
        tag: log[1].tag,
        timestamp: log[1].timestamp,
    };
    assert_eq!(log[1], expected);
    assert_eq!(log[1].id, second.updated_ref);
    assert_eq!(log[0].prev_ref, EventId::ZERO);
    assert!(before <= log[0].timestamp && log[0].timestamp <= log[1].timestamp && log[1].timestamp <= after);
}

/// The original cut the time to whole seconds: an event then came before what had happened before it.
pub async fn timestamps_are_of_the_stores_time_in_milliseconds(store: Probe) {
    for number in 0..20 {
        let before = store.status().await.unwrap().time;
        store.put("key", number.to_string()).await;
        let after = store.status().await.unwrap().time;
        let event = store.log("key").await.pop().unwrap();
        assert!(
            before <= event.timestamp && event.timestamp <= after,
            "{before:?} {event:?} {after:?}"
        );
    }
}

pub async fn each_change_makes_one_event_of_its_type(store: Probe) {
    let entry = store.put("a", "1").await;
    store.remove("a").await;
    store.put("a", "2").await;
    let lease = store.put("b", "x").await.lease_id;
    store
        .lease(LeaseRequest::Update(lease, Expiry::After(Duration::from_secs(3600))))
        .await
        .unwrap();
    store.lease(LeaseRequest::Expire(lease)).await.unwrap();
    store.put("b", "y").await;
    let log = store.log("").await;
    let seen: Vec<_> = log
        .iter()
        .map(|event| (event.event_type, event.key.text().unwrap(), event.version.get()))
        .collect();
    assert_eq!(
        seen,
        [
            (EventType::Set, "a", 1),
            (EventType::Delete, "a", 2),
            (EventType::Set, "a", 3),
            (EventType::Set, "b", 1),
            (EventType::Expire, "b", 2),
            (EventType::Set, "b", 3),
        ]
    );
    assert_eq!(ids(&log), [1, 2, 3, 4, 5, 6]);
    assert_eq!(
        log.iter().map(|event| event.rev.get()).collect::<Vec<_>>(),
        [1, 2, 3, 4, 5, 6]
    );
    assert_eq!(
        log.iter().map(|event| event.prev_ref.get()).collect::<Vec<_>>(),
        [0, 1, 2, 0, 4, 5]
    );
    assert_eq!(
        log.iter().map(|event| event.created_ref.get()).collect::<Vec<_>>(),
        [1, 1, 3, 4, 4, 6]
    );
    assert_eq!(log[0].lease_id, entry.lease_id);
}

pub async fn an_empty_log_is_at_its_head(store: Probe) {
    let mut stream = store.watch(watch("").to_head()).await;
    assert_eq!(stream.opened_at().position.id, EventId::ZERO);
    assert_eq!(stream.end().await.kind(), ErrorKind::HeadReached);
}

pub async fn a_prefix_filters_by_bytes(store: Probe) {
    for name in ["a", "A", "ab", "a%", "b", "á"] {
        store.put(name, "x").await;
    }
    assert_eq!(ids(&store.log("a").await), [1, 3, 4]);
    assert_eq!(ids(&store.log("a%").await), [4]);
    assert_eq!(ids(&store.log("A").await), [2]);
    assert_eq!(ids(&store.log("á").await), [6]);
    assert_eq!(store.log("c").await, []);
    assert_eq!(ids(&store.log("").await), [1, 2, 3, 4, 5, 6]);
}

pub async fn after_is_exclusive(store: Probe) {
    for number in 0..5 {
        store.put("key", number.to_string()).await;
    }
    for position in 0..7 {
        let request = watch("").from(after(position)).to_head();
        let expected: Vec<i64> = (1..=5).filter(|id| *id > position).collect();
        assert_eq!(ids(&store.watch(request).await.rest().await), expected, "{position}");
    }
}

pub async fn from_head_begins_after_what_is_there(store: Probe) {
    store.put("key", "1").await;
    let mut stream = store.watch(watch("").from(StreamFrom::Head)).await;
    assert_eq!(stream.opened_at().position.id.get(), 1);
    let next = store.put("key", "2").await;
    assert_eq!(stream.event().await.id, next.updated_ref);
}

pub async fn from_head_to_head_is_over_at_once(store: Probe) {
    store.put("key", "1").await;
    let mut stream = store.watch(watch("").from(StreamFrom::Head).to_head()).await;
    assert_eq!(stream.end().await.kind(), ErrorKind::HeadReached);
}

/// What comes after the request is not delivered, however late the stream is read.
pub async fn the_head_of_a_stream_to_head_is_that_of_the_request(store: Probe) {
    for number in 0..10 {
        store.put("key", number.to_string()).await;
    }
    let mut stream = store.watch(watch("").to_head()).await;
    assert_eq!(stream.opened_at().position.id.get(), 10);
    stream.event().await;
    for number in 0..10 {
        store.put("key", number.to_string()).await;
    }
    assert_eq!(ids(&stream.rest().await), (2..=10).collect::<Vec<_>>());
}

pub async fn a_stream_to_head_ends_though_nothing_matches(store: Probe) {
    store.put("key", "x").await;
    assert_eq!(store.log("other").await, []);
}

pub async fn a_position_beyond_the_head_waits(store: Probe) {
    store.put("key", "1").await;
    let mut stream = store.watch(watch("").from(after(3))).await;
    for number in 2..=5 {
        store.put("key", number.to_string()).await;
    }
    assert_eq!(ids(&stream.events(2).await), [4, 5]);
    let request = watch("").from(after(99)).to_head();
    assert_eq!(store.watch(request).await.rest().await, []);
}

/// In the original a negative cursor made the log grow rows with negative ids.
pub async fn a_negative_position_is_none(store: Probe) {
    assert_eq!(kind(EventId::new(-1)), ErrorKind::InvalidCursor);
    store.put("key", "x").await;
    assert_eq!(ids(&store.log("").await), [1]);
}

pub async fn resumes_after_the_position_of_an_event(store: Probe) {
    for number in 0..4 {
        store.put("key", number.to_string()).await;
    }
    let log = store.log("").await;
    for event in &log {
        let request = watch("").from(StreamFrom::Resume(event.position())).to_head();
        let rest = store.watch(request).await.rest().await;
        assert_eq!(rest, log[event.id.get() as usize..]);
    }
    let start = watch("").from(StreamFrom::Resume(Position::default())).to_head();
    assert_eq!(store.watch(start).await.rest().await, log);
}

/// The tag tells an event from another that has its id.
pub async fn a_position_of_another_history_is_lost(store: Probe) {
    store.put("key", "x").await;
    let position = store.log("").await[0].position();
    let foreign = Position {
        tag: Tag::new(position.tag.get() ^ 1),
        ..position
    };
    let request = watch("").from(StreamFrom::Resume(foreign));
    let error = match store.stream(request).await {
        Err(error) => error,
        Ok(stream) => {
            let mut items = stream;
            let item = crate::probe::soon("the stream's end", futures::StreamExt::next(&mut items)).await;
            item.unwrap().unwrap_err()
        }
    };
    assert_eq!(error.kind(), ErrorKind::PositionLost);
}

/// Opened before, between and after the writes, each stream sees the same log.
pub async fn streams_opened_at_any_time_see_the_same_log(store: Probe) {
    let mut streams = vec![store.watch(watch("")).await];
    for number in 0..40 {
        store.put(&format!("k{}", number % 7), number.to_string()).await;
        if number % 10 == 5 {
            streams.push(store.watch(watch("")).await);
        }
    }
    streams.push(store.watch(watch("")).await);
    let log = store.log("").await;
    assert_eq!(ids(&log), (1..=40).collect::<Vec<_>>());
    for mut stream in streams {
        assert_eq!(stream.events(40).await, log);
    }
}

/// In the original a commit between an empty read and the wait after it was seen ten seconds later, and one of another
/// process always.
pub async fn an_event_wakes_a_waiting_stream_every_time(store: Probe) {
    let mut stream = store.watch(watch("key")).await;
    for number in 0..100 {
        let entry = store.put("key", number.to_string()).await;
        assert_eq!(stream.event().await.id, entry.updated_ref);
    }
}

/// In the original the id that a refused write had burned held up all later events by ten seconds, or for ever.
pub async fn refused_writes_hold_up_no_stream(store: Probe) {
    let mut stream = store.watch(watch("")).await;
    for round in 1..=10 {
        let refused = set("key", "x").condition(goku::Condition::Version(version(1_000)));
        assert_eq!(kind(store.set(refused).await), ErrorKind::ConditionFailed);
        assert_eq!(kind(store.delete(delete("missing")).await), ErrorKind::NotFound);
        store.put("key", "y").await;
        assert_eq!(stream.event().await.id.get(), round);
        assert_eq!(store.log("").await.len() as i64, round);
    }
}

pub async fn only_the_types_asked_for_are_delivered(store: Probe) {
    store.put("a", "1").await;
    store.remove("a").await;
    let lease = store.put("a", "2").await.lease_id;
    store.lease(LeaseRequest::Expire(lease)).await.unwrap();
    for (types, expected) in [
        (&[EventType::Set][..], &[1, 3][..]),
        (&[EventType::Delete], &[2]),
        (&[EventType::Expire], &[4]),
        (&[EventType::Delete, EventType::Expire], &[2, 4]),
        (&EventType::ALL, &[1, 2, 3, 4]),
    ] {
        let request = StreamRequest {
            types: types.iter().copied().collect(),
            ..watch("").to_head()
        };
        assert_eq!(ids(&store.watch(request).await.rest().await), expected, "{types:?}");
    }
}

pub async fn a_live_stream_filters_by_type_too(store: Probe) {
    let request = StreamRequest {
        types: [EventType::Delete].into_iter().collect(),
        ..watch("")
    };
    let mut stream = store.watch(request).await;
    for round in 1..=5 {
        store.put("a", "x").await;
        store.remove("a").await;
        assert_eq!(stream.event().await.id.get(), 2 * round);
    }
}

/// A consumer of a quiet prefix gets on, so that it need not start from far back later.
pub async fn progress_tells_how_far_a_quiet_stream_is(store: Probe) {
    let request = StreamRequest {
        progress: Some(Duration::from_millis(20)),
        ..watch("quiet")
    };
    let mut stream = store.watch(request).await;
    let last = store.put("busy", "x").await;
    let snapshot = loop {
        let snapshot = stream.progress().await;
        if snapshot.position.id >= last.updated_ref {
            break snapshot;
        }
    };
    assert_eq!(snapshot.position, store.log("busy").await[0].position());
    assert_eq!(snapshot.epoch, store.status().await.unwrap().head.epoch);
    let quiet = store.put("quiet", "x").await;
    let mut resumed = store
        .watch(watch("quiet").from(StreamFrom::Resume(snapshot.position)))
        .await;
    assert_eq!(resumed.event().await.id, quiet.updated_ref);
}

pub async fn progress_is_never_ahead_of_what_was_delivered(store: Probe) {
    let request = StreamRequest {
        progress: Some(Duration::from_millis(1)),
        ..watch("k")
    };
    let mut stream = store.watch(request).await;
    let writer = {
        let store = store.clone();
        tokio::spawn(async move {
            for number in 0..200 {
                store.put(if number % 3 == 0 { "k" } else { "other" }, "x").await;
            }
            store.put("k", "last").await
        })
    };
    let (mut delivered, mut told) = (EventId::ZERO, EventId::ZERO);
    let mut seen = Vec::new();
    loop {
        match stream.item().await.unwrap() {
            StreamItem::Progress(snapshot) => {
                assert!(snapshot.position.id >= told.max(delivered), "progress goes back");
                told = snapshot.position.id;
            }
            StreamItem::Event(event) => {
                assert!(event.id > told, "{} came after progress to {told}", event.id);
                delivered = event.id;
                let last = event.value == "last";
                seen.push(event.id);
                if last {
                    break;
                }
            }
        }
    }
    crate::probe::soon("the writer", writer).await.unwrap();
    let expected: Vec<EventId> = store.log("k").await.iter().map(|event| event.id).collect();
    assert_eq!(seen, expected);
}

pub async fn no_progress_unless_asked_for(store: Probe) {
    let mut stream = store.watch(watch("quiet")).await;
    let mut other = store
        .watch(StreamRequest {
            progress: Some(Duration::from_millis(5)),
            ..watch("quiet")
        })
        .await;
    for number in 1..=5 {
        store.put("busy", "x").await;
        while other.progress().await.position.id.get() < number {}
    }
    store.put("quiet", "x").await;
    assert_eq!(stream.event().await.id.get(), 6);
}

/// By the store's own time: when the event comes it is as old as asked for.
pub async fn a_lag_holds_events_back_until_they_are_so_old(store: Probe) {
    let lag = Duration::from_millis(150);
    let request = StreamRequest {
        lag: Some(lag),
        ..watch("")
    };
    let mut stream = store.watch(request).await;
    for number in 1..=3 {
        store.put("key", "x").await;
        let event = stream.event().await;
        let now = store.status().await.unwrap().time;
        assert_eq!(event.id.get(), number);
        assert!(
            event.timestamp.saturating_add(lag) <= now,
            "{:?} at {now:?}",
            event.timestamp
        );
    }
}

pub async fn a_lag_delays_what_was_there_before_too(store: Probe) {
    store.put("key", "x").await;
    let lag = Duration::from_millis(300);
    let request = StreamRequest {
        lag: Some(lag),
        ..watch("")
    };
    let event = store.watch(request).await.event().await;
    let now = store.status().await.unwrap().time;
    assert!(event.timestamp.saturating_add(lag) <= now);
}

/// What is too young when the stream gets there is not waited for.
pub async fn a_lag_to_head_ends_before_what_is_too_young(store: Probe) {
    store.put("key", "x").await;
    for lag in [
        Duration::from_secs(3600),
        Duration::from_secs(u64::from(u32::MAX)),
        Duration::MAX,
    ] {
        let request = StreamRequest {
            lag: Some(lag),
            ..watch("").to_head()
        };
        assert_eq!(store.watch(request).await.rest().await, [], "{lag:?}");
    }
    let request = StreamRequest {
        lag: Some(Duration::ZERO),
        ..watch("").to_head()
    };
    assert_eq!(ids(&store.watch(request).await.rest().await), [1]);
}

pub async fn the_last_position_of_all_is_a_position(store: Probe) {
    store.put("key", "x").await;
    let last = after(i64::MAX);
    assert_eq!(store.watch(watch("").from(last).to_head()).await.rest().await, []);
    let mut waiting = store
        .watch(StreamRequest {
            progress: Some(Duration::from_millis(1)),
            ..watch("").from(last)
        })
        .await;
    let mut other = store.watch(watch("").from(StreamFrom::Head)).await;
    store.put("key", "y").await;
    assert_eq!(other.event().await.id.get(), 2);
    // Nothing comes, and nothing breaks.
    let early = tokio::time::timeout(Duration::from_millis(50), waiting.item()).await;
    assert!(early.is_err(), "{early:?}");
}

pub async fn a_stream_of_no_type_delivers_nothing(store: Probe) {
    store.put("key", "x").await;
    let request = StreamRequest {
        types: [].into_iter().collect(),
        ..watch("").to_head()
    };
    assert_eq!(store.watch(request).await.rest().await, []);
}

pub async fn a_partition_has_the_events_of_its_keys(store: Probe) {
    const COUNT: u32 = 3;
    let partition = |number| goku::Partition::new(number, COUNT).unwrap();
    let mut live: Vec<_> = Vec::new();
    for number in 0..COUNT {
        let request = StreamRequest {
            partition: Some(partition(number)),
            ..watch("k")
        };
        live.push(store.watch(request).await);
    }
    for round in 0..2 {
        for key in 0..10 {
            store.put(&format!("k{key}"), round.to_string()).await;
        }
    }
    let log = store.log("k").await;
    for number in 0..COUNT {
        let own: Vec<_> = log
            .iter()
            .filter(|event| partition(number).contains(&event.key))
            .cloned()
            .collect();
        assert!(!own.is_empty());
        assert_eq!(live[number as usize].events(own.len()).await, own);
        let request = StreamRequest {
            partition: Some(partition(number)),
            ..watch("k").to_head()
        };
        assert_eq!(store.watch(request).await.rest().await, own);
    }
}

pub async fn many_small_streams_each_see_their_own(store: Probe) {
    let mut streams = Vec::new();
    for number in 0..100 {
        streams.push(store.watch(watch(&format!("k{number:02}"))).await);
    }
    let sets = (0..300).map(|number| {
        let store = store.clone();
        async move { store.put(&format!("k{:02}", number % 100), number.to_string()).await }
    });
    futures::future::join_all(sets).await;
    for (number, stream) in streams.iter_mut().enumerate() {
        let events = stream.events(3).await;
        assert!(events.iter().all(|event| event.key == key(format!("k{number:02}"))));
        let versions: Vec<i64> = events.iter().map(|event| event.version.get()).collect();
        assert_eq!(versions, [1, 2, 3]);
    }
}

/// In the original one stream that loaded slowly held up all others, and buffers grew with the values' size.
pub async fn a_stream_that_nobody_reads_holds_up_no_other(store: Probe) {
    let mut unread = store.watch(watch("")).await;
    let mut fast = store.watch(watch("")).await;
    let value = vec![7_u8; 256 * 1024];
    for number in 1..=60 {
        store.put("key", value.clone()).await;
        assert_eq!(fast.event().await.id.get(), number);
    }
    assert_eq!(ids(&unread.events(60).await), (1..=60).collect::<Vec<_>>());
}

pub async fn large_events_are_delivered_from_the_log_and_live(store: Probe) {
    let mut live = store.watch(watch("")).await;
    for number in 1..=5_u8 {
        store.put("key", vec![number; 3_500_000]).await;
    }
    let mut late = store.watch(watch("")).await;
    for stream in [&mut live, &mut late] {
        for number in 1..=5_u8 {
            assert!(stream.event().await.value == vec![number; 3_500_000]);
        }
    }
}

/// In the original a stream that waited at the head left a listener behind every ten seconds.
pub async fn dropped_streams_leave_nothing_behind(store: Probe) {
    store.put("key", "x").await;
    drop(store.watch(watch("")).await);
    let tasks = super::settled_tasks().await;
    for round in 0..100 {
        let mut stream = store.watch(watch("")).await;
        if round % 2 == 0 {
            stream.event().await;
        }
    }
    super::tasks_return_to(tasks).await;
    store.put("key", "y").await;
    assert_eq!(store.log("").await.len(), 2);
}

pub async fn events_of_one_commit_share_its_tag(store: Probe) {
    let lease = store.grant(Expiry::Never).await.id;
    store.put_leased("a", lease).await;
    store.put_leased("b", lease).await;
    store.lease(LeaseRequest::Expire(lease)).await.unwrap();
    let log = store.log("").await;
    assert_eq!(log[2].tag, log[3].tag);
    assert_ne!(log[0].tag, log[1].tag);
}
