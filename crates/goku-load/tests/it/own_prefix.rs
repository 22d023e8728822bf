//! Loads take nobody's keys.

use std::sync::Arc;

use goku::{Client, Engine, ErrorKind, Key, Prefix, SetRequest};
use goku_load::{Monitor, OwnPrefix};

async fn store(keys: &[&str]) -> Arc<dyn Client> {
    let engine = Engine::open("sqlite::memory:").await.unwrap();
    for key in keys {
        engine.set(SetRequest::new(Key::new(key).unwrap(), "v")).await.unwrap();
    }
    Arc::new(engine)
}

fn prefix(text: &str) -> Prefix {
    Prefix::new(text).unwrap()
}

#[tokio::test]
async fn a_prefix_with_keys_of_others_is_refused() {
    let client = store(&["/users/1/2", "/bench"]).await;
    for taken in ["/users/", "/users/1/", "/", ""] {
        let error = OwnPrefix::claim(&*client, prefix(taken)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{taken:?}");
    }
    assert_eq!(client.status().await.unwrap().events, 2);
    OwnPrefix::claim(&*client, prefix("/bench/")).await.unwrap();
}

#[tokio::test]
async fn what_an_earlier_run_left_is_cleared_by_the_next() {
    let client = store(&["/bench", "/benchmark"]).await;
    let left = OwnPrefix::claim(&*client, prefix("/bench/")).await.unwrap();
    for number in 0..450 {
        let key = Key::new(format!("/bench/0/{number}")).unwrap();
        client.set(SetRequest::new(key, "v")).await.unwrap();
    }
    drop(left);

    let again = OwnPrefix::claim(&*client, prefix("/bench/")).await.unwrap();
    let monitor = Monitor::default();
    assert_eq!(again.clear(&client, &monitor).await.unwrap(), 450);
    assert_eq!(monitor.seen().done, 450);
    assert_eq!(client.status().await.unwrap().keys, 2);
}

#[tokio::test]
async fn a_prefix_without_keys_is_cleared_of_its_mark() {
    let client = store(&[]).await;
    let own = OwnPrefix::claim(&*client, prefix("/bench/")).await.unwrap();
    assert_eq!(own.prefix(), &prefix("/bench/"));
    assert_eq!(own.clear(&client, &Monitor::default()).await.unwrap(), 0);
    assert_eq!(client.status().await.unwrap().keys, 0);
}
