//! Readers that are slow, far behind, or come and go all the time.

use goku::{Client, Operation, Position, StreamFrom, StreamItem, Txn};
use goku_testkit::Probe;
use goku_testkit::fixture::{Fixture, OnReplicas, OnSqliteFile, OnSqliteMemory, OverTcp};
use goku_testkit::probe::{set, soon, watch};

const KIB: usize = 1024;

/// Events far beyond all that is kept in memory for streams.
const FAR: usize = 100_000;

/// Those who come and go.
const STORM: usize = 48;

macro_rules! on_sqlite_and_over_tcp {
    ($($case:ident),* $(,)?) => {
        mod embedded {
            use goku_testkit::fixture::Fixture as _;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case(super::OnSqliteMemory::start().await).await;
                }
            )*
        }
        mod over_tcp {
            use goku_testkit::fixture::Fixture as _;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case(super::OverTcp::<super::OnSqliteFile>::start().await).await;
                }
            )*
        }
    };
}

on_sqlite_and_over_tcp![
    a_slow_reader_skips_nothing,
    a_reader_that_is_far_behind_catches_up_while_others_write,
    readers_that_come_and_go_miss_and_repeat_nothing,
];

/// It reads one event while eight are written, and falls out of what is kept in memory again and again.
async fn a_slow_reader_skips_nothing(fixture: impl Fixture) {
    let store = Probe::new(fixture.client());
    let mut events = store.watch(watch("")).await;
    let mut expected = 0;
    for round in 0..100_u8 {
        for _ in 0..8 {
            store.put("key", vec![round; 40 * KIB]).await;
        }
        expected += 1;
        assert_eq!(events.event().await.id.get(), expected);
    }
    for event in events.events(700).await {
        expected += 1;
        assert_eq!((event.id.get(), event.version.get()), (expected, expected));
        assert_eq!(
            usize::from(event.inline_value().unwrap()[0]),
            (expected as usize - 1) / 8
        );
    }
    fixture.stop().await;
}

async fn a_reader_that_is_far_behind_catches_up_while_others_write(fixture: impl Fixture) {
    let store = Probe::new(fixture.client());
    let sets = |first: usize| (first..FAR.min(first + 125)).map(|number| set(&format!("k{}", number % 500), "x"));
    let txns = (0..FAR).step_by(125).map(|first| {
        store.txn(Txn {
            then: sets(first).map(Operation::Set).collect(),
            ..Txn::default()
        })
    });
    futures::future::try_join_all(txns).await.unwrap();
    let mut behind = store.watch(watch("")).await;
    let mut live = store.watch(watch("").from(StreamFrom::Head)).await;
    for number in 1..=FAR {
        assert_eq!(behind.event().await.id.get(), number as i64);
        if number % (FAR / 50) == 0 {
            let written = store.put("more", "x").await;
            assert_eq!(live.event().await.id, written.updated_ref);
        }
    }
    for number in 1..=50 {
        assert_eq!(behind.event().await.id.get(), (FAR + number) as i64);
    }
    fixture.stop().await;
}

/// Each reads a few events and goes, to go on from there with a stream of its own.
async fn readers_that_come_and_go_miss_and_repeat_nothing(fixture: impl Fixture) {
    const EVENTS: i64 = 400;
    let store = Probe::new(fixture.client());
    let readers: Vec<_> = (0..STORM)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut position = Position::default();
                while position.id.get() < EVENTS {
                    let mut events = store.watch(watch("").from(StreamFrom::Resume(position))).await;
                    for _ in 0..=number % 7 {
                        let event = events.event().await;
                        assert_eq!(event.id.get(), position.id.get() + 1);
                        position = event.position();
                        if position.id.get() == EVENTS {
                            break;
                        }
                    }
                }
            })
        })
        .collect();
    for number in 0..EVENTS {
        store.put(&format!("k{}", number % 9), number.to_string()).await;
    }
    for reader in readers {
        soon("a reader", reader).await.unwrap();
    }
    fixture.stop().await;
}

/// At every change of the replica, what was delivered is behind, and what comes next was not delivered: a watch that goes
/// back in time would see old events again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_goes_on_at_another_replica_does_not_go_back() {
    let fixture = OnReplicas::start().await;
    let replicas = fixture.engines().clone();
    let mut position = Position::default();
    for round in 1..=40 {
        let writer = &replicas[round % 2];
        writer.set(set("key", round.to_string())).await.unwrap();
        let reader = &replicas[(round / 2) % 2];
        let request = watch("").from(StreamFrom::Resume(position));
        let mut events = reader.stream(request).await.unwrap();
        let next = soon("the next event", futures::StreamExt::next(&mut events)).await;
        let Some(Ok(StreamItem::Event(event))) = next else {
            panic!("expected an event, got {next:?}");
        };
        assert_eq!(
            (event.id.get(), event.value.clone()),
            (round as i64, round.to_string().into())
        );
        position = event.position();
    }
    fixture.stop().await;
}
