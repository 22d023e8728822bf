//! Where changes come from.

use goku::{
    Condition, DeleteRequest, ErrorKind, Event, Expiry, LeaseRequest, Operation, Origin, SessionId, TraceContext, Txn,
    Write, WriteId,
};

use crate::probe::{Probe, key, kind, set};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn trace() -> TraceContext {
    TRACE.parse().unwrap()
}

fn origin(request_id: &str) -> Origin {
    Origin::default().with_request_id(request_id).unwrap()
}

fn ids(log: &[Event]) -> Vec<Option<&str>> {
    log.iter()
        .map(|event| event.origin.as_deref().and_then(Origin::request_id))
        .collect()
}

pub async fn each_event_of_a_request_tells_where_it_comes_from(store: Probe) {
    let all = origin("r-1").with_trace(trace());
    all.clone().scope(store.put("a", "1")).await;
    store.put("b", "1").await;
    let txn = Txn {
        then: vec![
            Operation::Set(set("c", "1")),
            Operation::Set(set("d", "1")),
            Operation::Delete(DeleteRequest::new(key("a"))),
        ],
        ..Txn::default()
    };
    origin("r-2").scope(store.txn(txn)).await.unwrap();
    Origin::default().with_trace(trace()).scope(store.remove("b")).await;
    let lease = store.grant(Expiry::Never).await.id;
    store.put_leased("e", lease).await;
    let expire = store.lease(LeaseRequest::Expire(lease));
    origin("r-3").scope(expire).await.unwrap();

    let log = store.log("").await;
    let told = [
        Some("r-1"),
        None,
        Some("r-2"),
        Some("r-2"),
        Some("r-2"),
        None,
        None,
        Some("r-3"),
    ];
    assert_eq!(ids(&log), told);
    assert_eq!(log[0].origin.as_deref(), Some(&all));
    assert_eq!(log[1].origin, None);
    assert_eq!(log[2].origin.as_deref(), Some(&origin("r-2")));
    assert_eq!(log[5].origin.as_deref().and_then(Origin::trace), Some(trace()));
}

pub async fn a_live_stream_tells_it_too(store: Probe) {
    let mut stream = store.watch(goku::StreamRequest::default()).await;
    for number in 0..5 {
        let origin = origin(&format!("r-{number}"));
        origin.clone().scope(store.put("k", "v")).await;
        assert_eq!(stream.event().await.origin.as_deref(), Some(&origin));
    }
}

/// Requests that commit together keep their own.
pub async fn requests_at_once_are_not_mixed_up(store: Probe) {
    let has_origin = |number: usize| !number.is_multiple_of(3);
    let writes = (0..100).map(|number| {
        let store = store.clone();
        async move {
            let name = format!("k{number}");
            if has_origin(number) {
                origin(&name).scope(store.put(&name, "v")).await;
            } else {
                store.put(&name, "v").await;
            }
        }
    });
    futures::future::join_all(writes).await;
    let log = store.log("").await;
    assert_eq!(log.len(), 100);
    for event in &log {
        let number: usize = event.key.text().unwrap()[1..].parse().unwrap();
        let expected = has_origin(number).then(|| event.key.text().unwrap());
        assert_eq!(ids(std::slice::from_ref(event)), [expected]);
    }
}

pub async fn a_refused_request_leaves_its_origin_nowhere(store: Probe) {
    store.put("k", "v").await;
    let refused = store.set(set("k", "w").condition(Condition::Absent));
    assert_eq!(kind(origin("refused").scope(refused).await), ErrorKind::ConditionFailed);
    store.put("k", "w").await;
    assert_eq!(ids(&store.log("").await), [None, None]);
}

/// A write that is sent again is not done again, so the first origin stays.
pub async fn a_repeated_write_keeps_the_origin_of_the_first_time(store: Probe) {
    let id = WriteId::new(SessionId::new(7), 1);
    let write = || Write::Set(set("k", "v"));
    let first = origin("first").scope(store.write(Some(id), write())).await;
    if first.is_err_and(|error| error.kind() == ErrorKind::Unsupported) {
        return;
    }
    origin("again").scope(store.write(Some(id), write())).await.unwrap();
    assert_eq!(ids(&store.log("").await), [Some("first")]);
}
