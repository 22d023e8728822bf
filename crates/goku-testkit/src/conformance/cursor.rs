//! Cursors of consumers.

use goku::limits::{CURSOR_MOVES_MAX, PARTITIONS_MAX};
use goku::{
    ConsumerName, Cursor, CursorId, CursorMove, CursorsRequest, Epoch, ErrorKind, EventId, FencingToken, Position,
    Result, Snapshot, StreamFrom, Tag,
};
use tokio::task::JoinSet;

use crate::probe::{Probe, kind, watch};

fn name(text: &str) -> ConsumerName {
    ConsumerName::new(text).unwrap()
}

fn id(text: &str) -> CursorId {
    CursorId::of(name(text))
}

fn token(number: u64) -> FencingToken {
    FencingToken::new(number)
}

/// The places after each of the next `count` events.
async fn places(store: &Probe, count: usize) -> Vec<Snapshot> {
    let epoch = store.status().await.unwrap().head.epoch;
    for number in 0..count {
        store.put("k", number.to_string()).await;
    }
    let log = store.log("").await;
    let places = log[log.len() - count..].iter().map(|event| Snapshot {
        epoch,
        position: event.position(),
        rev: None,
    });
    places.collect()
}

async fn moved(store: &Probe, request: CursorMove) -> Result<Cursor> {
    let mut outcomes = store.move_cursors(vec![request]).await.unwrap();
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

async fn read(store: &Probe, consumer: &str) -> Vec<Cursor> {
    let request = CursorsRequest {
        consumer: Some(name(consumer)),
        ..CursorsRequest::default()
    };
    store.list_cursors(request).await.unwrap()
}

async fn stands_at(store: &Probe, consumer: &str) -> Option<Position> {
    read(store, consumer).await.first().map(|cursor| cursor.at.position)
}

pub async fn a_cursor_is_read_as_it_was_moved(store: Probe) {
    assert_eq!(read(&store, "c").await, []);
    let places = places(&store, 2).await;
    let made = moved(&store, CursorMove::forward(id("c"), places[0])).await.unwrap();
    assert_eq!((made.id.clone(), made.at, made.token), (id("c"), places[0], token(0)));
    assert_eq!(read(&store, "c").await, std::slice::from_ref(&made));
    let on = moved(&store, CursorMove::forward(id("c"), places[1])).await.unwrap();
    assert_eq!(on.at, places[1]);
    assert!(on.moved_at >= made.moved_at);
    assert_eq!(read(&store, "c").await, [on]);
}

pub async fn a_cursor_moves_on_and_never_back_by_accident(store: Probe) {
    let places = places(&store, 3).await;
    moved(&store, CursorMove::forward(id("c"), places[1])).await.unwrap();
    let back = moved(&store, CursorMove::forward(id("c"), places[0])).await;
    let at = places[1].position.id;
    assert_eq!(kind(back), ErrorKind::CursorBackward { at });
    assert_eq!(stands_at(&store, "c").await, Some(places[1].position));
    moved(&store, CursorMove::forward(id("c"), places[2])).await.unwrap();
    assert_eq!(stands_at(&store, "c").await, Some(places[2].position));
}

pub async fn a_move_that_is_sent_again_is_answered_as_before(store: Probe) {
    let place = places(&store, 1).await[0];
    let forward = CursorMove::forward(id("c"), place).token(token(5));
    let first = moved(&store, forward.clone()).await.unwrap();
    assert_eq!(moved(&store, forward).await.unwrap(), first);
}

pub async fn a_newer_holder_takes_over_and_an_older_one_is_fenced(store: Probe) {
    let places = places(&store, 3).await;
    let older = |place| CursorMove::forward(id("c"), place).token(token(7));
    moved(&store, older(places[0])).await.unwrap();
    let newer = CursorMove::forward(id("c"), places[0]).token(token(8));
    assert_eq!(moved(&store, newer.clone()).await.unwrap().token, token(8));
    let fenced = ErrorKind::Fenced { token: token(8) };
    for place in &places {
        assert_eq!(kind(moved(&store, older(*place)).await), fenced);
    }
    assert_eq!(stands_at(&store, "c").await, Some(places[0].position));
    let on = CursorMove { to: places[1], ..newer };
    moved(&store, on).await.unwrap();
    let largest = CursorMove::forward(id("c"), places[1]).token(token(u64::MAX));
    assert_eq!(moved(&store, largest).await.unwrap().token, token(u64::MAX));
}

pub async fn a_reset_moves_a_cursor_anywhere_and_fences_its_holder(store: Probe) {
    let places = places(&store, 3).await;
    let forward = |place| CursorMove::forward(id("c"), place).token(token(7));
    moved(&store, forward(places[1])).await.unwrap();
    let back = moved(&store, CursorMove::reset(id("c"), places[0])).await.unwrap();
    assert_eq!((back.at, back.token), (places[0], token(8)));
    let fenced = ErrorKind::Fenced { token: token(8) };
    assert_eq!(kind(moved(&store, forward(places[2])).await), fenced);
    let beginning = Snapshot {
        position: Position::default(),
        ..places[0]
    };
    moved(&store, CursorMove::reset(id("c"), beginning)).await.unwrap();
    assert_eq!(stands_at(&store, "c").await, Some(Position::default()));
    let made = moved(&store, CursorMove::reset(id("new"), places[2])).await.unwrap();
    assert_eq!((made.at, made.token), (places[2], token(0)));
}

pub async fn a_place_of_another_history_is_lost(store: Probe) {
    let place = places(&store, 1).await[0];
    let other_epoch = Snapshot {
        epoch: Epoch::new(place.epoch.number(), place.epoch.salt() ^ 1),
        ..place
    };
    let beyond = Snapshot {
        position: Position {
            id: EventId::new(place.position.id.get() + 1).unwrap(),
            ..place.position
        },
        ..place
    };
    let other_event = Snapshot {
        position: Position {
            tag: Tag::new(place.position.tag.get() ^ 1),
            ..place.position
        },
        ..place
    };
    for lost in [other_epoch, beyond] {
        for request in [CursorMove::forward(id("c"), lost), CursorMove::reset(id("c"), lost)] {
            assert_eq!(kind(moved(&store, request).await), ErrorKind::PositionLost);
        }
    }
    assert_eq!(read(&store, "c").await, []);
    moved(&store, CursorMove::forward(id("c"), place)).await.unwrap();
    let lost = moved(&store, CursorMove::forward(id("c"), other_event)).await;
    assert_eq!(kind(lost), ErrorKind::PositionLost);
}

pub async fn each_move_of_a_request_stands_for_itself(store: Probe) {
    let places = places(&store, 2).await;
    moved(&store, CursorMove::forward(id("b"), places[1])).await.unwrap();
    let moves = ["c", "b", "a"].map(|consumer| CursorMove::forward(id(consumer), places[0]));
    let outcomes = store.move_cursors(moves.to_vec()).await.unwrap();
    let kinds: Vec<_> = outcomes
        .iter()
        .map(|outcome| outcome.as_ref().err().map(|error| error.kind()))
        .collect();
    let at = places[1].position.id;
    assert_eq!(kinds, [None, Some(ErrorKind::CursorBackward { at }), None]);
    for consumer in ["a", "c"] {
        assert_eq!(stands_at(&store, consumer).await, Some(places[0].position));
    }
    // All of them are there already, or go on.
    let moves = ["c", "b", "a"].map(|consumer| CursorMove::forward(id(consumer), places[1]));
    let outcomes = store.move_cursors(moves.to_vec()).await.unwrap();
    assert!(outcomes.iter().all(Result::is_ok));
}

pub async fn requests_have_bounds(store: Probe) {
    let place = places(&store, 1).await[0];
    let partitions = |range: std::ops::Range<u32>| {
        let moves = range.map(|partition| CursorMove::forward(CursorId::of_partition(name("g"), partition), place));
        moves.collect::<Vec<_>>()
    };
    assert_eq!(store.move_cursors(Vec::new()).await.unwrap().len(), 0);
    let most = store.move_cursors(partitions(0..CURSOR_MOVES_MAX as u32)).await;
    assert!(most.unwrap().iter().all(Result::is_ok));
    let too_many = store.move_cursors(partitions(0..CURSOR_MOVES_MAX as u32 + 1)).await;
    assert_eq!(kind(too_many), ErrorKind::TooLarge);
    let none = store.move_cursors(partitions(PARTITIONS_MAX..PARTITIONS_MAX + 1)).await;
    assert_eq!(kind(none), ErrorKind::InvalidArgument);
    let twice = vec![CursorMove::forward(id("t"), place); 2];
    assert_eq!(kind(store.move_cursors(twice).await), ErrorKind::InvalidArgument);
    assert_eq!(read(&store, "t").await, []);
    assert_eq!(read(&store, "g").await.len(), CURSOR_MOVES_MAX);
}

pub async fn cursors_are_listed_in_pages(store: Probe) {
    let place = places(&store, 1).await[0];
    // Names of any characters, in the order of their bytes.
    let names = ["%", "'\\", "A", "a", "a\u{e9}", "aa", "\u{1f980}"];
    let mut ids: Vec<_> = names.iter().map(|text| id(text)).collect();
    ids.extend([1, 2, 300].map(|partition| CursorId::of_partition(name("a"), partition)));
    let moves = ids.iter().map(|id| CursorMove::forward(id.clone(), place)).collect();
    store.move_cursors(moves).await.unwrap();
    ids.sort();
    let mut listed = Vec::new();
    let mut request = CursorsRequest {
        limit: Some(3),
        ..CursorsRequest::default()
    };
    loop {
        let page = store.list_cursors(request.clone()).await.unwrap();
        assert!(page.len() <= 3);
        request.after = page.last().map(|cursor| cursor.id.clone());
        if page.is_empty() {
            break;
        }
        listed.extend(page.into_iter().map(|cursor| cursor.id));
    }
    assert_eq!(listed, ids);
    let of_one: Vec<_> = read(&store, "a")
        .await
        .into_iter()
        .map(|cursor| cursor.id.partition)
        .collect();
    assert_eq!(of_one, [0, 1, 2, 300]);
}

pub async fn deleted_cursors_are_gone(store: Probe) {
    let place = places(&store, 1).await[0];
    let ids = [id("a"), CursorId::of_partition(name("a"), 1), id("b")];
    let moves = ids.map(|id| CursorMove::forward(id, place));
    store.move_cursors(moves.to_vec()).await.unwrap();
    assert_eq!(store.delete_cursors(&name("a")).await.unwrap(), 2);
    assert_eq!(store.delete_cursors(&name("a")).await.unwrap(), 0);
    assert_eq!(read(&store, "a").await, []);
    assert_eq!(read(&store, "b").await.len(), 1);
}

pub async fn cursors_make_no_events(store: Probe) {
    let places = places(&store, 2).await;
    moved(&store, CursorMove::forward(id("c"), places[0])).await.unwrap();
    moved(&store, CursorMove::reset(id("c"), places[1])).await.unwrap();
    store.delete_cursors(&name("c")).await.unwrap();
    let head = store.status().await.unwrap().head;
    assert_eq!(head, places[1]);
}

pub async fn a_stream_from_a_cursor_misses_and_repeats_nothing(store: Probe) {
    let places = places(&store, 3).await;
    moved(&store, CursorMove::forward(id("c"), places[0])).await.unwrap();
    let at = stands_at(&store, "c").await.unwrap();
    let request = watch("").from(StreamFrom::Resume(at)).to_head();
    let rest: Vec<_> = store.watch(request).await.rest().await;
    let rest: Vec<_> = rest.iter().map(goku::Event::position).collect();
    assert_eq!(rest, [places[1].position, places[2].position]);
}

pub async fn concurrent_moves_take_no_cursor_back(store: Probe) {
    const MOVERS: usize = 6;
    let places = places(&store, 40).await;
    let mut movers = JoinSet::new();
    for mover in 0..MOVERS {
        let (store, places) = (store.clone(), places.clone());
        movers.spawn(async move {
            let mut done = None;
            for place in places.into_iter().skip(mover).step_by(MOVERS) {
                let moves = ["x", "y"].map(|consumer| CursorMove::forward(id(consumer), place));
                for outcome in store.move_cursors(moves.to_vec()).await.unwrap() {
                    match outcome {
                        Ok(cursor) => assert_eq!(cursor.at, place),
                        Err(error) => {
                            let ErrorKind::CursorBackward { at } = error.kind() else {
                                panic!("{error:?}");
                            };
                            assert!(at > place.position.id);
                        }
                    }
                }
                done = stands_at(&store, "x").await.map(|at| at.id).max(done);
                assert!(stands_at(&store, "x").await.map(|at| at.id) >= done);
            }
        });
    }
    while let Some(mover) = movers.join_next().await {
        mover.unwrap();
    }
    for consumer in ["x", "y"] {
        let last = places.last().map(|place| place.position);
        assert_eq!(stands_at(&store, consumer).await, last);
    }
}

pub async fn of_concurrent_holders_the_last_one_stays(store: Probe) {
    const HOLDERS: u64 = 8;
    let place = places(&store, 1).await[0];
    let mut holders = JoinSet::new();
    for holder in 1..=HOLDERS {
        let store = store.clone();
        holders.spawn(async move {
            let request = CursorMove::forward(id("c"), place).token(token(holder));
            match moved(&store, request).await {
                Ok(cursor) => assert_eq!(cursor.token, token(holder)),
                Err(error) => {
                    let ErrorKind::Fenced { token: newer } = error.kind() else {
                        panic!("{error:?}");
                    };
                    assert!(newer > token(holder));
                }
            }
        });
    }
    while let Some(holder) = holders.join_next().await {
        holder.unwrap();
    }
    assert_eq!(read(&store, "c").await[0].token, token(HOLDERS));
}
