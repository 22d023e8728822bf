//! Messages as other clients send them, those that no client of ours would send included, to a real store.

use goku::ErrorKind;
use goku_grpc::proto::gokupb::goku_client::GokuClient;
use goku_grpc::proto::{gokupb as pb, reflexpb};
use goku_testkit::Probe;
use goku_testkit::fixture::{Fixture, OnSqliteMemory, OverTcp};
use goku_testkit::probe::{soon, watch};
use prost_types::Timestamp;
use tonic::transport::Channel;
use tonic::{Code, Streaming};

/// Go's zero time, by which clients of the original say "no expiry".
const NO_EXPIRY: Timestamp = Timestamp {
    seconds: -62_135_596_800,
    nanos: 0,
};

struct Server {
    fixture: OverTcp<OnSqliteMemory>,
    grpc: GokuClient<Channel>,
    probe: Probe,
}

impl Server {
    async fn start() -> Server {
        let fixture = OverTcp::start().await;
        Server {
            grpc: GokuClient::connect(fixture.endpoint().to_owned()).await.unwrap(),
            probe: Probe::new(fixture.client()),
            fixture,
        }
    }

    async fn set(&mut self, request: pb::SetRequest) -> Result<(), Code> {
        self.grpc.set(request).await.map(drop).map_err(|status| status.code())
    }

    async fn stream(&mut self, req: Option<reflexpb::StreamRequest>) -> Streaming<reflexpb::Event> {
        let request = pb::StreamRequest {
            req,
            ..Default::default()
        };
        self.grpc.stream(request).await.unwrap().into_inner()
    }

    async fn stop(self) {
        drop((self.grpc, self.probe));
        self.fixture.stop().await;
    }
}

/// A Set as the Go client sends it.
fn old_set(key: &str) -> pb::SetRequest {
    pb::SetRequest {
        key: key.into(),
        value: "x".into(),
        expires_at: Some(NO_EXPIRY),
        ..Default::default()
    }
}

/// In the original a negative cursor made the server insert rows with negative ids into the log.
#[tokio::test]
async fn a_negative_cursor_is_refused_and_harms_nobody() {
    let mut server = Server::start().await;
    server.set(old_set("key")).await.unwrap();
    for after in ["-1", "-3", "-9223372036854775808", "x", "1.5", "9223372036854775808"] {
        let request = reflexpb::StreamRequest {
            after: after.into(),
            ..Default::default()
        };
        let status = soon("the end", async {
            match server
                .grpc
                .stream(pb::StreamRequest {
                    req: Some(request),
                    ..Default::default()
                })
                .await
            {
                Ok(stream) => stream.into_inner().message().await.unwrap_err(),
                Err(status) => status,
            }
        })
        .await;
        assert_eq!(status.code(), Code::InvalidArgument, "{after}");
    }
    server.set(old_set("key")).await.unwrap();
    let ids: Vec<i64> = server.probe.log("").await.iter().map(|event| event.id.get()).collect();
    assert_eq!(ids, [1, 2]);
    server.stop().await;
}

/// The original's process crashed.
#[tokio::test]
async fn a_stream_request_without_req_is_answered() {
    let mut server = Server::start().await;
    server.set(old_set("key")).await.unwrap();
    let ended = soon("an answer", async {
        match server.grpc.stream(pb::StreamRequest::default()).await {
            Ok(stream) => stream.into_inner().message().await.map(drop),
            Err(status) => Err(status),
        }
    })
    .await;
    if let Err(status) = ended {
        assert_eq!(status.code(), Code::InvalidArgument);
    }
    server.set(old_set("key")).await.unwrap();
    assert_eq!(server.probe.log("").await.len(), 2);
    server.stop().await;
}

/// WIRE: `create_only`, `prev_version`, on a key that is live with version 2, deleted with version 2, and missing.
#[tokio::test]
async fn the_conditions_of_the_original() {
    let mut server = Server::start().await;
    for (row, (create_only, prev_version, live, deleted, missing)) in [
        (false, 0, true, true, true),
        (false, -1, true, true, true),
        (false, 1, false, false, false),
        (false, 2, true, true, false),
        (false, 3, false, false, false),
        (true, 0, false, true, true),
        (true, -1, false, true, true),
        (true, 1, false, false, false),
        (true, 2, false, true, false),
    ]
    .into_iter()
    .enumerate()
    {
        for (state, expected) in [("live", live), ("deleted", deleted), ("missing", missing)] {
            let key = format!("{state} {row}");
            if state != "missing" {
                server.probe.put(&key, "1").await;
            }
            match state {
                "live" => drop(server.probe.put(&key, "2").await),
                "deleted" => drop(server.probe.remove(&key).await),
                _ => {}
            }
            let request = pb::SetRequest {
                create_only,
                prev_version,
                ..old_set(&key)
            };
            let answer = server.set(request).await;
            let expected = if expected {
                Ok(())
            } else {
                Err(Code::FailedPrecondition)
            };
            assert_eq!(
                answer, expected,
                "create_only {create_only}, prev_version {prev_version}, {state}"
            );
        }
    }
    server.stop().await;
}

/// Any Set of a client of the original without an expiry clears the deadline of the whole lease.
#[tokio::test]
async fn the_deadlines_of_the_original() {
    let mut server = Server::start().await;
    let hour = Timestamp {
        seconds: server.probe.status().await.unwrap().time.as_millis() / 1_000 + 3_600,
        nanos: 0,
    };
    let dated = pb::SetRequest {
        expires_at: Some(hour),
        ..old_set("key")
    };
    server.set(dated.clone()).await.unwrap();
    let lease = server.probe.read("key").await.unwrap().lease_id;
    let expires_at = async |probe: &Probe| probe.get_lease(lease).await.unwrap().expires_at;
    assert_eq!(
        expires_at(&server.probe).await.unwrap().as_millis(),
        hour.seconds * 1_000
    );
    server.set(old_set("key")).await.unwrap();
    assert_eq!(expires_at(&server.probe).await, None);
    server.set(dated).await.unwrap();
    let absent = pb::SetRequest {
        expires_at: None,
        ..old_set("key")
    };
    server.set(absent).await.unwrap();
    assert_eq!(expires_at(&server.probe).await, None);
    let update = |expires_at| pb::UpdateLeaseRequest {
        lease_id: lease.get(),
        expires_at,
        ..Default::default()
    };
    server.grpc.update_lease(update(Some(hour))).await.unwrap();
    assert!(expires_at(&server.probe).await.is_some());
    server.grpc.update_lease(update(Some(NO_EXPIRY))).await.unwrap();
    assert_eq!(expires_at(&server.probe).await, None);
    for lease_id in [-1, 99] {
        let request = pb::SetRequest {
            lease_id,
            ..old_set("other")
        };
        assert_eq!(server.set(request).await, Err(Code::NotFound), "lease {lease_id}");
    }
    server.stop().await;
}

/// 1970 is a deadline, and has passed.
#[tokio::test]
async fn a_deadline_of_0_seconds_has_passed() {
    let mut server = Server::start().await;
    let mut stream = server.probe.watch(watch("")).await;
    let epoch = Some(Timestamp { seconds: 0, nanos: 0 });
    server
        .set(pb::SetRequest {
            expires_at: epoch,
            ..old_set("key")
        })
        .await
        .unwrap();
    let types: Vec<_> = stream
        .events(2)
        .await
        .iter()
        .map(|event| event.event_type.number())
        .collect();
    assert_eq!(types, [1, 3]);
    drop(stream);
    server.stop().await;
}

/// No key is that long, and the longest that begins likewise is not meant.
#[tokio::test]
async fn a_prefix_longer_than_any_key_finds_nothing() {
    let mut server = Server::start().await;
    server.set(old_set(&"k".repeat(255))).await.unwrap();
    let prefix = "k".repeat(256);
    let list = pb::ListRequest {
        prefix: prefix.clone(),
        ..Default::default()
    };
    let mut listing = server.grpc.list(list).await.unwrap().into_inner();
    assert_eq!(soon("the end", listing.message()).await.unwrap(), None);

    let options = reflexpb::StreamOptions {
        to_head: true,
        ..Default::default()
    };
    let request = pb::StreamRequest {
        prefix,
        req: Some(reflexpb::StreamRequest {
            options: Some(options),
            ..Default::default()
        }),
        ..Default::default()
    };
    let mut stream = server.grpc.stream(request).await.unwrap().into_inner();
    let end = soon("the end", stream.message()).await.unwrap_err();
    assert_eq!(end.message(), "the event stream has reached the current head");
    server.stop().await;
}

#[tokio::test]
async fn events_as_the_original_sends_them() {
    let mut server = Server::start().await;
    server.set(old_set("key")).await.unwrap();
    server
        .grpc
        .delete(pb::DeleteRequest {
            key: "key".into(),
            ..Default::default()
        })
        .await
        .unwrap();
    server.set(old_set("key")).await.unwrap();
    server
        .grpc
        .expire_lease(pb::ExpireLeaseRequest { lease_id: 2 })
        .await
        .unwrap();
    let to_head = reflexpb::StreamRequest {
        options: Some(reflexpb::StreamOptions {
            to_head: true,
            ..Default::default()
        }),
        ..Default::default()
    };
    let mut stream = server.stream(Some(to_head)).await;
    for (id, number, metadata) in [("1", 1, "x"), ("2", 2, ""), ("3", 1, "x"), ("4", 3, "")] {
        let event = soon("an event", stream.message()).await.unwrap().unwrap();
        assert_eq!(
            (event.id.as_str(), event.foreign_id.as_str(), event.r#type),
            (id, "key", number)
        );
        assert_eq!(event.metadata, metadata.as_bytes());
        assert!(event.timestamp.is_some());
    }
    assert!(soon("the end", stream.message()).await.is_err());
    let missing = server.probe.get(&goku::Key::new("key").unwrap()).await;
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
    server.stop().await;
}
