//! Each workload does what it says: its counts are those of the store.

use std::sync::Arc;
use std::time::Duration;

use goku::{Client, Engine, LeasesRequest, Prefix, Status};
use goku_load::{Load, Measured, Monitor, Phase, Target, Workload};

const KEYS: usize = 300;

const CALLERS: usize = 7;

/// What a run does before it is ended: enough that some caller came to the end of a pass over all keys.
const ENOUGH: u64 = (CALLERS * KEYS) as u64 + 1;

/// A store in memory.
struct Store {
    engine: Arc<Engine>,
    target: Target,
}

impl Store {
    async fn open() -> Store {
        let engine = Arc::new(Engine::open("sqlite::memory:").await.unwrap());
        let clients: Vec<Arc<dyn Client>> = vec![engine.clone(), engine.clone(), engine.clone()];
        let target = Target::new(clients, Prefix::new("/b/").unwrap()).unwrap();
        Store { engine, target }
    }

    async fn run(&mut self, load: &Load) -> Measured {
        self.run_until(ENOUGH, load).await
    }

    /// Puts a load on until it has done as much, however long that takes.
    async fn run_until(&mut self, done: u64, load: &Load) -> Measured {
        let monitor = Monitor::default();
        self.target.prepare(load, &monitor).await.unwrap();
        let ended = async {
            let mut ticks = tokio::time::interval(Duration::from_millis(1));
            while monitor.seen().phase != Phase::Measuring || monitor.seen().done < done {
                ticks.tick().await;
            }
            monitor.stop();
        };
        let (measured, ()) = tokio::join!(self.target.run(load, &monitor), ended);
        let measured = measured.unwrap();
        assert!(measured.errors.is_empty(), "{:?}", measured.errors);
        assert_eq!(measured.unit, load.workload.unit());
        assert!(measured.count >= done, "{measured:?}");
        assert!(measured.elapsed < load.duration);
        assert!(measured.rate() > 0.0);
        assert_eq!(monitor.seen().phase, Phase::Ended);
        measured
    }

    async fn status(&self) -> Status {
        self.engine.status().await.unwrap()
    }
}

/// Without a warm-up, so that all that is done in time counts.
fn load(workload: Workload) -> Load {
    Load {
        callers: CALLERS,
        keys: KEYS,
        value_bytes: 100,
        warm_up: Duration::ZERO,
        duration: Duration::from_secs(3600),
        ..Load::new(workload)
    }
}

/// The calls of each series.
fn calls(measured: &Measured) -> Vec<(&'static str, u64)> {
    let series = measured.series.iter();
    series.map(|series| (series.name, series.latencies.len())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sets_are_events_of_as_many_keys() {
    let mut store = Store::open().await;
    let load = load(Workload::Set);
    let measured = store.run(&load).await;
    assert_eq!(calls(&measured), [("set", measured.count)]);
    let series = &measured.series[0];
    assert!(series.quantile(0.5).is_some() && series.quantile(0.5) <= series.quantile(1.0));
    let status = store.status().await;
    // One call a caller may have ended too late to be counted.
    let uncounted = status.events - measured.count;
    assert!(uncounted <= 7, "{uncounted}");
    assert_eq!(status.keys, status.events.min(KEYS as u64));

    // The next run goes on where this one ended, with more callers and fewer.
    for callers in [9, 2] {
        let before = store.status().await.events;
        let measured = store
            .run(&Load {
                callers,
                ..load.clone()
            })
            .await;
        let uncounted = store.status().await.events - before - measured.count;
        assert!(uncounted <= callers as u64, "{uncounted}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gets_read_keys_that_were_made_for_them() {
    let mut store = Store::open().await;
    let measured = store.run(&load(Workload::Get)).await;
    assert_eq!(calls(&measured), [("get", measured.count)]);
    let bytes = measured.bytes / measured.count;
    assert!((105..=109).contains(&bytes), "{bytes}");
    let status = store.status().await;
    assert_eq!((status.keys, status.events), (KEYS as u64, KEYS as u64));

    // Keys that are there are used as they are.
    store.run(&load(Workload::Get)).await;
    assert_eq!(store.status().await.events, KEYS as u64);
    let more = Load {
        keys: 2 * KEYS,
        ..load(Workload::Get)
    };
    store.run(&more).await;
    assert_eq!(store.status().await.events, 2 * KEYS as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mix_has_both() {
    let mut store = Store::open().await;
    let measured = store.run(&load(Workload::Mixed { get_percent: 50 })).await;
    let [("get", gets), ("set", sets)] = calls(&measured)[..] else {
        panic!("{:?}", calls(&measured));
    };
    assert_eq!(gets + sets, measured.count);
    assert!(gets > 0 && sets > 0);
    let uncounted = store.status().await.events - KEYS as u64 - sets;
    assert!(uncounted <= 7, "{uncounted}");

    for (get_percent, empty) in [(0, "get"), (100, "set")] {
        let measured = store.run(&load(Workload::Mixed { get_percent })).await;
        assert!(calls(&measured).contains(&(empty, 0)), "{:?}", calls(&measured));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listings_count_their_entries() {
    let mut store = Store::open().await;
    let whole = store.run(&load(Workload::List { limit: None })).await;
    let [("list", lists), ("first entry", firsts)] = calls(&whole)[..] else {
        panic!("{:?}", calls(&whole));
    };
    assert!(lists > 0 && firsts.abs_diff(lists) <= 7);
    // Beside those that were listed to their ends within the time, each caller may have begun one.
    let rest = whole.count.abs_diff(lists * KEYS as u64);
    assert!(rest <= 7 * KEYS as u64, "{rest}");

    let part = store.run_until(100, &load(Workload::List { limit: Some(5) })).await;
    let [("list", lists), _] = calls(&part)[..] else {
        panic!("{:?}", calls(&part));
    };
    assert!(part.count <= (lists + 7) * 5, "{}", part.count);
    assert!(part.count >= lists.saturating_sub(7), "{}", part.count);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_counts_every_event() {
    let mut store = Store::open().await;
    let measured = store.run(&load(Workload::Replay)).await;
    let [("replay", replays), ("first event", firsts)] = calls(&measured)[..] else {
        panic!("{:?}", calls(&measured));
    };
    assert!(replays > 0 && firsts.abs_diff(replays) <= 7);
    let rest = measured.count.abs_diff(replays * KEYS as u64);
    assert!(rest <= 7 * KEYS as u64, "{rest}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_stream_of_a_prefix_gets_every_event() {
    for (prefixes, copies) in [(1, 4), (4, 1)] {
        let mut store = Store::open().await;
        let watch = Workload::Watch {
            streams: 4,
            prefixes,
            sets_per_second: 200,
        };
        let measured = store.run_until(20, &load(watch)).await;
        let [("arrival", arrivals), ("set", sets)] = calls(&measured)[..] else {
            panic!("{:?}", calls(&measured));
        };
        assert_eq!(arrivals, measured.count);
        let events = store.status().await.events;
        assert!(sets <= events && events <= sets + 7);
        // Events may arrive before their Set is answered, or too late to be counted.
        assert!(arrivals <= events * copies, "{arrivals} of {events}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_are_granted_kept_alive_and_ended() {
    let mut store = Store::open().await;
    let measured = store.run_until(200, &load(Workload::Lease { keep_alives: 3 })).await;
    let [("keep-alive", kept), ("grant", grants), ("expire", ends)] = calls(&measured)[..] else {
        panic!("{:?}", calls(&measured));
    };
    assert_eq!(kept + grants + ends, measured.count);
    assert!(kept <= grants * 3 && ends <= grants && kept >= ends * 3);
    let leases = store.engine.list_leases(LeasesRequest::default()).await.unwrap();
    // Each caller leaves one at most, which ends by itself.
    assert!(leases.len() <= 7);
    assert!(leases.iter().all(|lease| lease.expires_at.is_some()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_counts_its_sets() {
    let mut store = Store::open().await;
    let measured = store.run(&load(Workload::Txn { sets: 20 })).await;
    assert_eq!(calls(&measured), [("txn", measured.count / 20)]);
    let status = store.status().await;
    let uncounted = status.rev.get() as u64 - measured.count / 20;
    assert!(uncounted <= 7, "{uncounted}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asking_for_the_status_leaves_nothing() {
    let mut store = Store::open().await;
    store.run_until(100, &load(Workload::Status)).await;
    assert_eq!(store.status().await.events, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_may_be_fewer_keys_than_callers() {
    let mut store = Store::open().await;
    for workload in [Workload::Set, Workload::Get, Workload::Txn { sets: 5 }] {
        let load = Load {
            keys: 2,
            ..load(workload)
        };
        store.run_until(100, &load).await;
        assert_eq!(store.status().await.keys, 2);
    }
}

#[tokio::test]
async fn nothing_is_begun_once_it_was_stopped() {
    let mut store = Store::open().await;
    let monitor = Monitor::default();
    monitor.stop();
    for workload in [Workload::Get, Workload::Set] {
        store.target.prepare(&load(workload), &monitor).await.unwrap();
        let measured = store.target.run(&load(workload), &monitor).await.unwrap();
        assert!(measured.elapsed < load(workload).duration);
        assert!(store.status().await.events <= CALLERS as u64);
    }
}

#[tokio::test]
async fn a_run_lasts_as_long_as_it_was_told_to() {
    let mut store = Store::open().await;
    let load = Load {
        warm_up: Duration::from_millis(10),
        duration: Duration::from_millis(50),
        ..load(Workload::Set)
    };
    let measured = store.target.run(&load, &Monitor::default()).await.unwrap();
    assert!(measured.elapsed >= load.duration);
    assert!(measured.count <= store.status().await.events);
}
