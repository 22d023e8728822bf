//! What fails is counted, or told at once.

use std::sync::Arc;
use std::time::Duration;

use goku::{ErrorKind, Prefix};
use goku_load::{Load, Monitor, Target, Workload};

use crate::failing::Failing;

fn failing(kind: ErrorKind) -> Target {
    Target::new(vec![Arc::new(Failing(kind))], Prefix::new("/b/").unwrap()).unwrap()
}

fn load(workload: Workload) -> Load {
    Load {
        callers: 4,
        keys: 100,
        warm_up: Duration::ZERO,
        duration: Duration::from_secs(3600),
        ..Load::new(workload)
    }
}

#[tokio::test]
async fn errors_are_counted_by_kind() {
    for workload in [
        Workload::Set,
        Workload::Get,
        Workload::Mixed { get_percent: 50 },
        Workload::List { limit: None },
        Workload::Replay,
        Workload::Lease { keep_alives: 1 },
        Workload::Txn { sets: 3 },
        Workload::Status,
    ] {
        let monitor = Monitor::default();
        let mut target = failing(ErrorKind::Unavailable);
        let ended = async {
            let mut ticks = tokio::time::interval(Duration::from_millis(1));
            while monitor.seen().failed < 20 {
                ticks.tick().await;
            }
            monitor.stop();
        };
        let load = load(workload);
        let (measured, ()) = tokio::join!(target.run(&load, &monitor), ended);
        let measured = measured.unwrap();
        assert_eq!((measured.count, measured.bytes), (0, 0), "{workload}");
        assert!(measured.series.iter().all(|series| series.quantile(1.0).is_none()));
        let kinds: Vec<_> = measured.errors.keys().copied().collect();
        assert_eq!(kinds, ["unavailable"], "{workload}");
        let failed = measured.main_error().unwrap();
        assert_eq!(
            (failed.kind, failed.message.as_str()),
            (ErrorKind::Unavailable, "it fails")
        );
        assert!(measured.failed() >= 20, "{workload}: {}", measured.failed());
    }
}

#[tokio::test]
async fn what_cannot_be_prepared_is_an_error() {
    let mut target = failing(ErrorKind::Unavailable);
    for workload in [Workload::Get, Workload::List { limit: Some(1) }, Workload::Replay] {
        let error = target.prepare(&load(workload), &Monitor::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
    let watch = Workload::Watch {
        streams: 2,
        prefixes: 1,
        sets_per_second: 100,
    };
    let error = target.run(&load(watch), &Monitor::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().starts_with("a stream could not be opened"), "{error}");
}

#[tokio::test]
async fn a_load_that_is_none_is_refused() {
    let watch = |streams, prefixes, sets_per_second| Workload::Watch {
        streams,
        prefixes,
        sets_per_second,
    };
    let mut refused: Vec<_> = [
        Workload::Mixed { get_percent: 101 },
        Workload::List { limit: Some(0) },
        watch(0, 1, 1),
        watch(1, 0, 1),
        watch(1, 2, 1),
        watch(1, 1, 0),
        Workload::Txn { sets: 0 },
        Workload::Txn { sets: 129 },
    ]
    .map(load)
    .to_vec();
    let set = load(Workload::Set);
    refused.extend([
        Load {
            callers: 0,
            ..set.clone()
        },
        Load { keys: 0, ..set.clone() },
        Load {
            duration: Duration::ZERO,
            ..set.clone()
        },
    ]);
    let mut target = failing(ErrorKind::Internal);
    for load in refused {
        let error = target.run(&load, &Monitor::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{load:?}");
    }
    for (workload, value_bytes) in [(Workload::Set, 4 << 20), (Workload::Txn { sets: 100 }, 40_000)] {
        let load = Load {
            value_bytes,
            ..load(workload)
        };
        let error = target.prepare(&load, &Monitor::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
    }
}

#[test]
fn a_target_has_a_client_and_room_for_keys() {
    let prefix = Prefix::new("/b/").unwrap();
    let error = Target::new(Vec::new(), prefix).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}
