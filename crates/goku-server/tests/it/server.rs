//! The server as a value.

use std::time::Duration;

use futures::StreamExt;
use goku::{Admin, Client, ConfigureRequest, ErrorKind, Key, SetRequest, SettingName, StreamRequest};
use goku_grpc::GrpcClient;
use goku_server::{Config, Server};

fn config() -> Config {
    Config {
        listen: "127.0.0.1:0".to_string(),
        store: "sqlite::memory:".to_string(),
        ..Config::default()
    }
}

fn key() -> Key {
    Key::new("k").unwrap()
}

#[tokio::test]
async fn a_server_serves_from_start_to_stop() {
    let server = Server::start(config()).await.unwrap();
    let client = GrpcClient::connect(server.endpoint()).unwrap().retries(false);
    client.set(SetRequest::new(key(), "v")).await.unwrap();
    assert_eq!(client.get(&key()).await.unwrap().value, "v");
    server.stop().await.unwrap();
    assert!(client.get(&key()).await.is_err());
}

#[tokio::test]
async fn a_server_serves_its_operators() {
    let server = Server::start(config()).await.unwrap();
    let client = GrpcClient::connect(server.endpoint()).unwrap();
    let name = SettingName::new("test/a").unwrap();
    let change = client
        .configure(ConfigureRequest::set(name.clone(), "1"))
        .await
        .unwrap();
    assert_eq!(client.get_setting(&name).await.unwrap().rev, change.rev);
}

#[tokio::test]
async fn servers_in_one_process_do_not_touch_each_other() {
    let one = Server::start(config()).await.unwrap();
    let other = Server::start(config()).await.unwrap();
    let client = GrpcClient::connect(one.endpoint()).unwrap();
    client.set(SetRequest::new(key(), "v")).await.unwrap();
    let client = GrpcClient::connect(other.endpoint()).unwrap();
    assert_eq!(client.get(&key()).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_file_is_free_again_when_stop_has_returned() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        store: format!("sqlite:{}", folder.path().join("goku.db").display()),
        ..config()
    };
    let first = Server::start(config.clone()).await.unwrap();
    let refused = Server::start(config.clone()).await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Config);
    first.stop().await.unwrap();
    Server::start(config).await.unwrap();
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_reader_that_stands_still() {
    let server = Server::start(Config {
        drain_max: Duration::from_millis(100),
        ..config()
    })
    .await
    .unwrap();
    let client = GrpcClient::connect(server.endpoint()).unwrap();
    // More than a stream and its connection take without being read.
    for _ in 0..8 {
        client.set(SetRequest::new(key(), vec![b'v'; 1_000_000])).await.unwrap();
    }
    let _unread = client.stream(StreamRequest::default()).await.unwrap();
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_dropped_server_stops() {
    let server = Server::start(config()).await.unwrap();
    let client = GrpcClient::connect(server.endpoint()).unwrap().retries(false);
    let mut stream = client.stream(StreamRequest::default()).await.unwrap();
    drop(server);
    let ended = stream.next().await.unwrap().unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::Stopped);
}
