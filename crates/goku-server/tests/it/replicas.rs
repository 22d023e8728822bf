//! Several servers on one database, and a database that goes away.

use std::time::Duration;

use futures::StreamExt;
use goku::{Client, Deliver, ErrorKind, Key, SetRequest, StreamFrom, StreamItem, StreamRequest};
use goku_grpc::GrpcClient;
use goku_mariadbd::{Options, Server as MariaDb};
use goku_server::{Config, Server};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

async fn database() -> MariaDb {
    let options = Options {
        waits_for_disk: false,
        ..Options::default()
    };
    tokio::task::spawn_blocking(|| MariaDb::start(options).unwrap())
        .await
        .unwrap()
}

async fn server(database: &MariaDb, deliver: Deliver) -> Server {
    Server::start(Config {
        listen: "127.0.0.1:0".to_owned(),
        deliver,
        store: format!("mysql://root@127.0.0.1:{}/goku", database.port()),
        ..Config::default()
    })
    .await
    .unwrap()
}

fn client(server: &Server) -> GrpcClient {
    GrpcClient::connect(server.endpoint()).unwrap()
}

fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

async fn until_health(server: &Server, wanted: ServingStatus) {
    let reached = async {
        let endpoint = tonic::transport::Endpoint::from_shared(server.endpoint().to_owned()).unwrap();
        let mut health = HealthClient::new(endpoint.connect().await.unwrap());
        loop {
            let answer = health.check(HealthCheckRequest::default()).await.unwrap();
            if answer.into_inner().status == i32::from(wanted) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.expect("health turns");
}

/// Waits until a server lists these, and no others.
async fn until_listed(server: &Server, wanted: &[&Server]) {
    let address = |server: &&Server| server.endpoint().trim_start_matches("http://").to_owned();
    let mut expected: Vec<_> = wanted.iter().map(address).collect();
    expected.sort();
    let listed = async {
        loop {
            let status = client(server).status().await.unwrap();
            let mut found: Vec<_> = status.replicas.into_iter().map(|replica| replica.address).collect();
            found.sort();
            if found == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, listed).await.expect("they are listed");
}

#[tokio::test]
async fn servers_on_one_database_find_each_other_and_each_others_events() {
    let database = database().await;
    let (one, other) = (
        server(&database, Deliver::Durable).await,
        server(&database, Deliver::Visible).await,
    );
    until_listed(&one, &[&one, &other]).await;

    let mut events = client(&one)
        .stream(StreamRequest::default().from(StreamFrom::Head))
        .await
        .unwrap();
    for n in 0..20 {
        let (writer, reader) = if n % 2 == 0 { (&other, &one) } else { (&one, &other) };
        let set = client(writer)
            .set(SetRequest::new(key("k"), n.to_string()))
            .await
            .unwrap();
        assert_eq!(client(reader).get(&key("k")).await.unwrap().version, set.version);
        let Some(Ok(StreamItem::Event(event))) = events.next().await else {
            panic!("an event")
        };
        assert_eq!(event.id, set.updated_ref);
    }

    other.stop().await.unwrap();
    until_listed(&one, &[&one]).await;
    one.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_whose_database_is_away_says_so_and_comes_back_by_itself() {
    let database = database().await;
    let server = server(&database, Deliver::Visible).await;
    client(&server).set(SetRequest::new(key("k"), "before")).await.unwrap();
    until_health(&server, ServingStatus::Serving).await;

    let database = tokio::task::spawn_blocking(move || {
        database.kill().unwrap();
        database
    });
    let database = database.await.unwrap();
    until_health(&server, ServingStatus::NotServing).await;
    let hasty = client(&server).request_timeout(Some(Duration::from_secs(2)));
    let refused = hasty.get(&key("k")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);

    let _database = tokio::task::spawn_blocking(move || {
        database.restart().unwrap();
        database
    })
    .await
    .unwrap();
    until_health(&server, ServingStatus::Serving).await;
    let after = client(&server).set(SetRequest::new(key("k"), "after")).await.unwrap();
    assert_eq!(after.version.get(), 2);
    server.stop().await.unwrap();
}
