//! Each check passes a sound history, and catches the fault that is planted for it.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use goku::{
    Client, Compare, Expiry, LeaseRequest, ListRequest, ManualClock, Operation, StreamFrom, StreamRequest, Txn,
};

use super::{Plant, violations};
use crate::comparison::start;
use crate::history::{History, Recorder};
use crate::model::ModelClient;
use crate::probe::{delete, key, set, version};

/// A small history with something of everything.
async fn sound() -> History {
    let clock = Arc::new(ManualClock::new(start()));
    let recorder = Recorder::default();
    let model: Arc<dyn Client> = Arc::new(ModelClient::new(clock.clone()));
    let client = recorder.client(model.clone());
    let all = client.stream(StreamRequest::default()).await.unwrap();

    for round in 0..4 {
        client.set(set("a", format!("a{round}"))).await.unwrap();
        client.get(&key("a")).await.unwrap();
        clock.advance(Duration::from_millis(1));
    }
    let condition = goku::Condition::Version(version(4));
    client.set(set("a", "conditional").condition(condition)).await.unwrap();
    client.set(set("a", "refused").condition(condition)).await.unwrap_err();
    client.delete(delete("a")).await.unwrap();
    client.get(&key("a")).await.unwrap_err();
    client.delete(delete("a")).await.unwrap_err();

    let lease = client
        .lease(LeaseRequest::Grant(Expiry::After(Duration::from_secs(9))))
        .await
        .unwrap();
    client.set(set("leased", "l").lease(lease.id)).await.unwrap();
    clock.advance(Duration::from_secs(5));
    client.lease(LeaseRequest::KeepAlive(lease.id)).await.unwrap();
    clock.advance(Duration::from_secs(10));
    client.get(&key("leased")).await.unwrap_err();

    let put = |name: &str, value: &str| Operation::Set(set(name, value.to_owned()));
    let txn = Txn {
        compare: vec![Compare::absent(key("b"))],
        then: vec![put("b", "then b"), Operation::Get(key("b")), put("c", "then c")],
        otherwise: vec![Operation::Delete(delete("b")), put("c", "else c")],
    };
    client.txn(txn.clone()).await.unwrap();
    client
        .list(ListRequest::default())
        .await
        .unwrap()
        .collect::<Vec<_>>()
        .await;
    let mut resumed = client
        .stream(StreamRequest::default().from(StreamFrom::After(goku::EventId::new(2).unwrap())))
        .await
        .unwrap();
    recorder.healed();
    client.set(set("end", "end")).await.unwrap();
    let head = client.status().await.unwrap().head.position.id;
    let mut all = all;
    for stream in [&mut all, &mut resumed] {
        while let Some(Ok(goku::StreamItem::Event(event))) = stream.next().await {
            if event.id == head {
                break;
            }
        }
    }
    recorder.finish(&*model).await.unwrap()
}

#[tokio::test]
async fn a_sound_history_breaks_nothing() {
    assert_eq!(violations(&sound().await), []);
}

#[tokio::test]
async fn every_planted_fault_is_caught() {
    for plant in Plant::ALL {
        let mut history = sound().await;
        plant
            .put_into(&mut history)
            .unwrap_or_else(|| panic!("{plant:?} has no place"));
        let found = violations(&history);
        assert!(
            found.iter().any(|violation| violation.invariant == plant.breaks()),
            "{plant:?} was not caught: {found:?}"
        );
    }
}

#[test]
fn a_planted_fault_is_found_by_its_name() {
    for plant in Plant::ALL {
        assert_eq!(plant.name().parse(), Ok(plant));
    }
    assert!("lost".parse::<Plant>().unwrap_err().contains("lost-ack"));
}
