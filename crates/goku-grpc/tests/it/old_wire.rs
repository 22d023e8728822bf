//! What each field of the original's requests means, and what ours add.

use std::time::Duration;

use goku::{
    Condition, DeleteRequest, ErrorKind, EventType, EventTypes, Expiry, LeaseRequest, ListRequest, Origin, Position,
    Prefix, SetRequest, StreamFrom, StreamRequest, Tag, Timestamp, Write,
};
use goku_grpc::proto::gokupb as pb;
use goku_grpc::proto::reflexpb::{self, reflex_client::ReflexClient};
use tonic::Code;

use crate::fake::Asked;
use crate::logged::Logged;
use crate::sample::{self, event_id, key, lease_id, time, version};
use crate::served::Served;

const INVALID_ARGUMENT: &str = "GOKU_INVALID_ARGUMENT";
const INVALID_KEY: &str = "ERR_75bca259ff56586e";
const INVALID_CURSOR: &str = "ERR_82d0368b5478d378";
const NOT_FOUND: &str = "ERR_1c1777690f774c97";
const LEASE_NOT_FOUND: &str = "ERR_235d9b7679294c92";

/// The gRPC code and the details' code of a refusal.
fn refusal(status: &tonic::Status) -> (Code, String) {
    use prost::Message;
    let details = goku_grpc::proto::rpc::Status::decode(status.details()).unwrap();
    let hop = goku_grpc::proto::jettisonpb::Hop::decode(details.details[0].value.as_slice()).unwrap();
    (status.code(), hop.errors[0].code.clone())
}

fn set() -> pb::SetRequest {
    pb::SetRequest {
        key: "k".to_owned(),
        ..pb::SetRequest::default()
    }
}

fn condition(condition: pb::condition::Condition) -> Option<pb::Condition> {
    Some(pb::Condition {
        condition: Some(condition),
    })
}

fn timestamp(seconds: i64, nanos: i32) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds, nanos })
}

/// What a write comes from is told by its headers, but for who sends it.
#[tokio::test]
async fn headers_tell_where_a_write_comes_from() {
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let served = Served::new();
    let mut grpc = served.grpc();
    let mut set_with = async |headers: &[(&'static str, &str)]| {
        let mut request = tonic::Request::new(set());
        for (name, value) in headers {
            request.metadata_mut().insert(*name, value.parse().unwrap());
        }
        grpc.set(request).await.map(|_| served.fake.origins().pop().unwrap())
    };
    assert_eq!(set_with(&[]).await.unwrap(), None);
    let headers = [("x-request-id", "r-1"), ("traceparent", trace), ("actor", "mallory")];
    let told = set_with(&headers);
    let expected = Origin::default().with_request_id("r-1").unwrap();
    let expected = expected.with_trace(trace.parse().unwrap());
    assert_eq!(told.await.unwrap().as_deref(), Some(&expected));
    // A trace that cannot be read is ignored; an id that cannot be kept is not cut.
    assert_eq!(set_with(&[("traceparent", "00-x")]).await.unwrap(), None);
    let refused = set_with(&[("x-request-id", &"r".repeat(65))]).await.unwrap_err();
    assert_eq!(refusal(&refused).1, INVALID_ARGUMENT);
}

#[tokio::test]
async fn set_asks_for_what_its_fields_say() {
    use pb::condition::Condition as Wire;
    let served = Served::new();
    let mut grpc = served.grpc();
    let never = || SetRequest::new(key("k"), "").expiry(Expiry::Never);
    let cases = [
        (set(), never()),
        (
            pb::SetRequest {
                prev_version: 0,
                ..set()
            },
            never(),
        ),
        (
            pb::SetRequest {
                prev_version: -3,
                ..set()
            },
            never(),
        ),
        (
            pb::SetRequest {
                prev_version: 3,
                ..set()
            },
            never().condition(Condition::Version(version(3))),
        ),
        (
            pb::SetRequest {
                create_only: true,
                ..set()
            },
            never().condition(Condition::Absent),
        ),
        (
            pb::SetRequest {
                create_only: true,
                prev_version: -1,
                ..set()
            },
            never().condition(Condition::Absent),
        ),
        (
            pb::SetRequest {
                create_only: true,
                prev_version: 4,
                ..set()
            },
            never().condition(Condition::AbsentAt(version(4))),
        ),
        (pb::SetRequest { lease_id: 7, ..set() }, never().lease(lease_id(7))),
        (
            pb::SetRequest {
                expires_at: timestamp(0, 0),
                ..set()
            },
            never().expiry(Expiry::At(time(0))),
        ),
        (
            pb::SetRequest {
                expires_at: timestamp(-1, 999_999_999),
                ..set()
            },
            never().expiry(Expiry::At(time(-1))),
        ),
        (
            pb::SetRequest {
                expires_at: timestamp(253_402_300_799, 999_999_999),
                ..set()
            },
            never().expiry(Expiry::At(Timestamp::MAX)),
        ),
        (
            pb::SetRequest {
                ttl_ms: Some(1500),
                ..set()
            },
            never().ttl(Duration::from_millis(1500)),
        ),
        // Clients of the original always send their zero time.
        (
            pb::SetRequest {
                ttl_ms: Some(1500),
                expires_at: timestamp(-62_135_596_800, 0),
                ..set()
            },
            never().ttl(Duration::from_millis(1500)),
        ),
        (
            pb::SetRequest {
                keep_expiry: true,
                ..set()
            },
            never().expiry(Expiry::Keep),
        ),
        (
            pb::SetRequest {
                condition: condition(Wire::Absent(true)),
                ..set()
            },
            never().condition(Condition::Absent),
        ),
        (
            pb::SetRequest {
                condition: condition(Wire::AbsentAt(5)),
                prev_version: -1,
                ..set()
            },
            never().condition(Condition::AbsentAt(version(5))),
        ),
        (
            pb::SetRequest {
                condition: condition(Wire::Version(5)),
                ..set()
            },
            never().condition(Condition::Version(version(5))),
        ),
        (
            pb::SetRequest {
                condition: condition(Wire::Ref(9)),
                ..set()
            },
            never().condition(Condition::Ref(event_id(9))),
        ),
    ];
    for (request, asked) in cases {
        let answer = grpc.set(request.clone()).await.unwrap().into_inner();
        assert_eq!(served.fake.asked(), [Asked::Write(Write::Set(asked))], "{request:?}");
        let kv = answer.kv.unwrap();
        assert_eq!((kv.version, kv.lease_id, kv.value.len()), (11, 14, 0));
    }
}

#[tokio::test]
async fn set_refuses_what_cannot_be_right() {
    use pb::condition::Condition as Wire;
    let served = Served::new();
    let mut grpc = served.grpc();
    let key_of = |bytes| pb::SetRequest {
        key: "k".repeat(bytes),
        ..set()
    };
    let cases = [
        (key_of(0), INVALID_KEY, "1 to 255 bytes"),
        (key_of(256), INVALID_KEY, "1 to 255 bytes"),
        (
            pb::SetRequest {
                expires_at: timestamp(253_402_300_800, 0),
                ..set()
            },
            INVALID_ARGUMENT,
            "timestamp: ",
        ),
        (
            pb::SetRequest {
                expires_at: timestamp(-62_135_596_801, 0),
                ..set()
            },
            INVALID_ARGUMENT,
            "timestamp: ",
        ),
        (
            pb::SetRequest {
                expires_at: timestamp(0, -1),
                ..set()
            },
            INVALID_ARGUMENT,
            "timestamp: ",
        ),
        (
            pb::SetRequest {
                condition: condition(Wire::Version(0)),
                ..set()
            },
            INVALID_ARGUMENT,
            "'absent'",
        ),
        (
            pb::SetRequest {
                condition: condition(Wire::Absent(false)),
                ..set()
            },
            INVALID_ARGUMENT,
            "absent",
        ),
        (
            pb::SetRequest {
                condition: condition(Wire::Ref(0)),
                ..set()
            },
            INVALID_ARGUMENT,
            "refs count from 1",
        ),
        (
            pb::SetRequest {
                condition: Some(pb::Condition::default()),
                ..set()
            },
            INVALID_ARGUMENT,
            "does not know",
        ),
        (
            pb::SetRequest {
                condition: condition(Wire::Absent(true)),
                create_only: true,
                ..set()
            },
            INVALID_ARGUMENT,
            "not both",
        ),
        (
            pb::SetRequest {
                condition: condition(Wire::Version(2)),
                prev_version: 2,
                ..set()
            },
            INVALID_ARGUMENT,
            "not both",
        ),
        (
            pb::SetRequest {
                ttl_ms: Some(0),
                ..set()
            },
            INVALID_ARGUMENT,
            "ttl_ms",
        ),
        (
            pb::SetRequest {
                ttl_ms: Some(-5),
                ..set()
            },
            INVALID_ARGUMENT,
            "ttl_ms",
        ),
        (
            pb::SetRequest {
                ttl_ms: Some(5),
                expires_at: timestamp(5, 0),
                ..set()
            },
            INVALID_ARGUMENT,
            "one at most",
        ),
        (
            pb::SetRequest {
                ttl_ms: Some(5),
                keep_expiry: true,
                ..set()
            },
            INVALID_ARGUMENT,
            "one at most",
        ),
        (
            pb::SetRequest {
                lease_rule: pb::LeaseRule::Attach.into(),
                ..set()
            },
            LEASE_NOT_FOUND,
            "lease not found",
        ),
        (
            pb::SetRequest {
                lease_rule: pb::LeaseRule::Detach.into(),
                lease_id: 1,
                ..set()
            },
            INVALID_ARGUMENT,
            "no other one",
        ),
        (pb::SetRequest { lease_rule: 4, ..set() }, INVALID_ARGUMENT, "not 4"),
        (
            pb::SetRequest {
                key_bytes: "b".into(),
                ..set()
            },
            INVALID_ARGUMENT,
            "as text or as bytes",
        ),
    ];
    for (request, code, text) in cases {
        let status = grpc.set(request.clone()).await.unwrap_err();
        assert_eq!(refusal(&status).1, code, "{request:?}");
        assert!(status.message().contains(text), "{request:?}: {}", status.message());
    }
    assert_eq!(served.fake.asked(), []);
}

#[tokio::test]
async fn get_and_delete_find_no_key_that_cannot_be() {
    let served = Served::new();
    let mut grpc = served.grpc();
    for bytes in [0, 256] {
        let key = "k".repeat(bytes);
        let get = pb::GetRequest {
            key: key.clone(),
            ..pb::GetRequest::default()
        };
        let status = grpc.get(get).await.unwrap_err();
        assert_eq!(refusal(&status), (Code::NotFound, NOT_FOUND.to_owned()));
        assert!(status.message().contains("1 to 255 bytes"));
        let delete = pb::DeleteRequest {
            key,
            ..pb::DeleteRequest::default()
        };
        let status = grpc.delete(delete).await.unwrap_err();
        assert_eq!(refusal(&status), (Code::NotFound, NOT_FOUND.to_owned()));
    }
    assert_eq!(served.fake.asked(), []);
}

#[tokio::test]
async fn delete_takes_a_condition_and_answers_with_the_event_that_deleted() {
    let served = Served::new();
    let request = pb::DeleteRequest {
        key: "k".to_owned(),
        condition: condition(pb::condition::Condition::Version(8)),
        ..pb::DeleteRequest::default()
    };
    let answer = served.grpc().delete(request).await.unwrap().into_inner();
    assert_eq!(answer.kv.unwrap().deleted_ref, 13);
    let asked = DeleteRequest::new(key("k")).condition(Condition::Version(version(8)));
    assert_eq!(served.fake.asked(), [Asked::Write(Write::Delete(asked))]);
}

#[tokio::test]
async fn a_lists_headers_name_its_snapshot_though_it_is_empty() {
    let served = Served::new();
    let request = pb::ListRequest {
        prefix: "p".to_owned(),
        start: "p/1".to_owned(),
        limit: Some(0),
        keys_only: true,
        ..pb::ListRequest::default()
    };
    let mut answer = served.grpc().list(request).await.unwrap();
    let header = |name| answer.metadata().get(name).unwrap().to_str().unwrap().to_owned();
    assert_eq!(header("goku-head"), "33");
    assert_eq!(header("goku-tag"), (u64::MAX - 34).to_string());
    assert_eq!(header("goku-epoch"), sample::snapshot().epoch.to_string());
    assert!(answer.get_mut().message().await.unwrap().is_none());
    let asked = ListRequest {
        prefix: Prefix::new("p").unwrap(),
        start: Some(key("p/1")),
        limit: Some(0),
        keys_only: true,
        at: None,
    };
    assert_eq!(served.fake.asked(), [Asked::List(asked)]);
}

#[tokio::test]
async fn a_list_is_of_keys_that_exist_and_may_fail_in_the_middle() {
    let served = Served::new();
    served.fake.have([
        Ok(sample::deleted()),
        Err(goku::Error::new(ErrorKind::Unavailable, "the database went away")),
    ]);
    let mut answer = served.grpc().list(pb::ListRequest::default()).await.unwrap();
    let kv = answer.get_mut().message().await.unwrap().unwrap();
    assert_eq!((kv.key.as_str(), kv.deleted_ref), ("a/key", 0));
    let status = answer.get_mut().message().await.unwrap_err();
    assert_eq!(refusal(&status), (Code::Unavailable, "GOKU_UNAVAILABLE".to_owned()));
    assert_eq!(served.fake.asked(), [Asked::List(ListRequest::default())]);
}

fn stream(after: &str, options: reflexpb::StreamOptions) -> pb::StreamRequest {
    pb::StreamRequest {
        prefix: "p".to_owned(),
        req: Some(reflexpb::StreamRequest {
            after: after.to_owned(),
            options: Some(options),
        }),
        ..pb::StreamRequest::default()
    }
}

#[tokio::test]
async fn stream_asks_for_what_its_fields_say() {
    let served = Served::new();
    let mut grpc = served.grpc();
    let all = || StreamRequest::new(Prefix::new("p").unwrap());
    let plain = reflexpb::StreamOptions::default;
    let from_head = || reflexpb::StreamOptions {
        from_head: true,
        ..plain()
    };
    let lag = |seconds, nanos| reflexpb::StreamOptions {
        lag: Some(prost_types::Duration { seconds, nanos }),
        ..plain()
    };
    let to_head = reflexpb::StreamOptions {
        to_head: true,
        ..plain()
    };
    let position = |id| Position {
        id: event_id(id),
        tag: Tag::new(u64::MAX),
    };
    let of_types = |types: &[i32]| pb::StreamRequest {
        types: types.to_vec(),
        ..stream("", plain())
    };
    let cases = [
        // The original crashes where the request is absent.
        (
            pb::StreamRequest {
                req: None,
                ..stream("", plain())
            },
            all(),
        ),
        (
            pb::StreamRequest {
                req: Some(reflexpb::StreamRequest::default()),
                ..stream("", plain())
            },
            all(),
        ),
        (stream("", plain()), all()),
        (stream("0", plain()), all()),
        (stream("12", plain()), all().from(StreamFrom::After(event_id(12)))),
        (
            stream(&i64::MAX.to_string(), plain()),
            all().from(StreamFrom::After(event_id(i64::MAX))),
        ),
        (stream("12", from_head()), all().from(StreamFrom::Head)),
        (stream("nonsense", from_head()), all().from(StreamFrom::Head)),
        (stream("-1", from_head()), all().from(StreamFrom::Head)),
        (stream("", to_head), all().to_head()),
        (stream("", lag(0, 0)), all()),
        (stream("", lag(-5, 0)), all()),
        (
            stream("", lag(1, 500_000_000)),
            StreamRequest {
                lag: Some(Duration::from_millis(1500)),
                ..all()
            },
        ),
        (
            pb::StreamRequest {
                after_tag: Some(u64::MAX),
                ..stream("12", plain())
            },
            all().from(StreamFrom::Resume(position(12))),
        ),
        (
            pb::StreamRequest {
                after_tag: Some(u64::MAX),
                ..stream("", plain())
            },
            all().from(StreamFrom::Resume(position(0))),
        ),
        (
            pb::StreamRequest {
                after_tag: Some(1),
                ..stream("12", from_head())
            },
            all().from(StreamFrom::Head),
        ),
        (
            pb::StreamRequest {
                progress_ms: 250,
                ..stream("", plain())
            },
            StreamRequest {
                progress: Some(Duration::from_millis(250)),
                ..all()
            },
        ),
        (
            of_types(&[2, 3, 2]),
            StreamRequest {
                types: [EventType::Delete, EventType::Expire].into_iter().collect(),
                ..all()
            },
        ),
        (
            of_types(&[0]),
            StreamRequest {
                types: EventTypes::from_iter([]),
                ..all()
            },
        ),
    ];
    for (request, asked) in cases {
        grpc.stream(request.clone()).await.unwrap();
        assert_eq!(served.fake.asked(), [Asked::Stream(asked)], "{request:?}");
    }
}

/// The original answers a prefix that is longer than any key as one that no key begins with; ours refused it.
#[tokio::test]
async fn a_prefix_longer_than_any_key_is_that_of_none() {
    let served = Served::new();
    let mut grpc = served.grpc();
    // As much of it as is a prefix ends within a character.
    let long = format!("{}é", "p".repeat(1023));
    let prefix = || Prefix::from_bytes(&long.as_bytes()[..1024]).unwrap();

    let list = pb::ListRequest {
        prefix: long.clone(),
        keys_only: true,
        ..pb::ListRequest::default()
    };
    let answer = grpc.list(list).await.unwrap();
    assert_eq!(answer.metadata().get("goku-head").unwrap(), "33");
    let asked = ListRequest {
        limit: Some(0),
        keys_only: true,
        ..ListRequest::new(prefix())
    };
    assert_eq!(served.fake.asked(), [Asked::List(asked)]);

    let to_head = reflexpb::StreamOptions {
        to_head: true,
        ..reflexpb::StreamOptions::default()
    };
    let request = pb::StreamRequest {
        prefix: long.clone(),
        types: vec![1],
        ..stream("12", to_head)
    };
    grpc.stream(request).await.unwrap();
    let asked = StreamRequest {
        types: EventTypes::from_iter([]),
        ..StreamRequest::new(prefix())
            .from(StreamFrom::After(event_id(12)))
            .to_head()
    };
    assert_eq!(served.fake.asked(), [Asked::Stream(asked)]);
}

/// A reflex consumer that moves from an original goku to a fresh store brings a cursor that this one comes to in months.
#[tokio::test]
async fn a_cursor_beyond_the_head_is_logged_once() {
    let served = Served::new();
    let logged = Logged::new();
    let mut grpc = served.grpc();
    let mut reflex = ReflexClient::new(served.channel());
    let options = reflexpb::StreamOptions::default;
    let beyond = stream("34", options());
    grpc.stream(beyond.clone()).await.unwrap();
    let [line] = &logged.lines()[..] else {
        panic!("one line");
    };
    for part in ["WARN", "beyond the head", "after=34", "head=33", r#"prefix="p""#] {
        assert!(line.contains(part), "{part} in {line}");
    }
    // It comes again and again, by either service.
    grpc.stream(beyond.clone()).await.unwrap();
    reflex.stream(beyond.req.unwrap()).await.unwrap();
    assert_eq!(logged.lines(), [""; 0]);

    for within in [
        stream("33", options()),
        stream("", options()),
        stream(
            "34",
            reflexpb::StreamOptions {
                from_head: true,
                ..options()
            },
        ),
        // A full position beyond the head is an error of the store's.
        pb::StreamRequest {
            after_tag: Some(1),
            ..stream("34", options())
        },
    ] {
        grpc.stream(within).await.unwrap();
        assert_eq!(logged.lines(), [""; 0]);
    }
}

#[tokio::test]
async fn stream_refuses_what_is_no_position() {
    let served = Served::new();
    let mut grpc = served.grpc();
    for after in ["x", "1.5", "-1", "-3", " 1", "9223372036854775808", "0x10"] {
        let request = stream(after, reflexpb::StreamOptions::default());
        let status = grpc.stream(request).await.unwrap_err();
        assert_eq!(
            refusal(&status),
            (Code::InvalidArgument, INVALID_CURSOR.to_owned()),
            "{after}"
        );
    }
    let unknown_type = pb::StreamRequest {
        types: vec![4],
        ..pb::StreamRequest::default()
    };
    let status = grpc.stream(unknown_type).await.unwrap_err();
    assert_eq!(refusal(&status).1, INVALID_ARGUMENT);
    assert_eq!(served.fake.asked(), []);
}

#[tokio::test]
async fn update_lease_asks_for_what_its_fields_say() {
    let served = Served::new();
    let mut grpc = served.grpc();
    let update = || pb::UpdateLeaseRequest {
        lease_id: 6,
        ..pb::UpdateLeaseRequest::default()
    };
    let cases = [
        (update(), Expiry::Never),
        (
            pb::UpdateLeaseRequest {
                expires_at: timestamp(-62_135_596_800, 0),
                ..update()
            },
            Expiry::Never,
        ),
        (
            pb::UpdateLeaseRequest {
                expires_at: timestamp(1, 0),
                ..update()
            },
            Expiry::At(time(1000)),
        ),
        (
            pb::UpdateLeaseRequest {
                ttl_ms: Some(9),
                ..update()
            },
            Expiry::After(Duration::from_millis(9)),
        ),
        (
            pb::UpdateLeaseRequest {
                keep_expiry: true,
                ..update()
            },
            Expiry::Keep,
        ),
    ];
    for (request, expiry) in cases {
        let answer = grpc.update_lease(request).await.unwrap().into_inner();
        assert_eq!(answer.lease.unwrap().version, 42);
        let asked = LeaseRequest::Update(lease_id(6), expiry);
        assert_eq!(served.fake.asked(), [Asked::Write(Write::Lease(asked))]);
    }
}

#[tokio::test]
async fn a_lease_that_cannot_be_is_not_found() {
    let served = Served::new();
    let mut grpc = served.grpc();
    let id = 0;
    let expected = (Code::NotFound, LEASE_NOT_FOUND.to_owned());
    let request = pb::UpdateLeaseRequest {
        lease_id: id,
        ..pb::UpdateLeaseRequest::default()
    };
    assert_eq!(refusal(&grpc.update_lease(request).await.unwrap_err()), expected);
    let request = pb::ExpireLeaseRequest { lease_id: id };
    assert_eq!(refusal(&grpc.expire_lease(request).await.unwrap_err()), expected);
    let request = pb::GetLeaseRequest { lease_id: id };
    assert_eq!(refusal(&grpc.get_lease(request).await.unwrap_err()), expected);
    let request = pb::KeepAliveRequest { lease_id: id };
    assert_eq!(refusal(&grpc.keep_alive(request).await.unwrap_err()), expected);
    assert_eq!(served.fake.asked(), []);
}

#[tokio::test]
async fn txn_refuses_what_a_newer_client_may_mean() {
    let served = Served::new();
    let mut grpc = served.grpc();
    let compare = |relation, target| pb::TxnRequest {
        compare: vec![pb::Compare {
            key: "k".to_owned(),
            relation,
            target,
            ..pb::Compare::default()
        }],
        ..pb::TxnRequest::default()
    };
    let exists = Some(pb::compare::Target::Exists(true));
    let empty_operation = pb::TxnRequest {
        then: vec![pb::Operation::default()],
        ..pb::TxnRequest::default()
    };
    for request in [
        compare(0, exists.clone()),
        compare(9, exists),
        compare(1, None),
        empty_operation,
    ] {
        let status = grpc.txn(request.clone()).await.unwrap_err();
        assert_eq!(refusal(&status).1, INVALID_ARGUMENT, "{request:?}");
    }
    assert_eq!(served.fake.asked(), []);
}
