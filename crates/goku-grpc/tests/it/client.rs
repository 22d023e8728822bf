//! The client: what it asks, what it answers, and what it makes of a server that is not there.

use std::time::Duration;

use futures::StreamExt;
use goku::{
    Admin, Client, Compare, ConfigureRequest, DeleteRequest, ErrorKind, Expiry, LeaseId, LeaseKeysRequest,
    LeaseRequest, LeasesRequest, ListRequest, Operation, SetRequest, SettingChangesRequest, SettingName,
    SettingsRequest, StreamItem, StreamRequest, Txn, Write,
};
use goku_grpc::GrpcClient;

use crate::fake::Asked;
use crate::port::ReservedPort;
use crate::replica::Replica;
use crate::sample::{self, key, lease_id};
use crate::served::{self, Served, drain};

#[tokio::test]
async fn every_call_asks_and_answers_what_the_store_was_asked_and_answered() {
    let (fake, endpoint, _serving) = served::on_tcp().await;
    let client = GrpcClient::connect(&endpoint).unwrap().retries(false);
    let asked = |asked| assert_eq!(fake.asked(), [asked]);

    assert_eq!(client.get(&key("k")).await.unwrap(), sample::entry());
    asked(Asked::Get(key("k")));

    let set = SetRequest::new(key("k"), "v");
    assert_eq!(client.set(set.clone()).await.unwrap(), sample::written());
    asked(Asked::Write(Write::Set(set)));

    let delete = DeleteRequest::new(key("k"));
    assert_eq!(client.delete(delete.clone()).await.unwrap(), sample::deleted());
    asked(Asked::Write(Write::Delete(delete)));

    let txn = Txn {
        compare: vec![Compare::absent(key("k"))],
        then: vec![Operation::Set(SetRequest::new(key("k"), "v"))],
        otherwise: vec![Operation::Get(key("k"))],
    };
    assert_eq!(client.txn(txn.clone()).await.unwrap(), sample::txn_answer());
    asked(Asked::Write(Write::Txn(txn)));

    for request in [
        LeaseRequest::Grant(Expiry::After(Duration::from_secs(5))),
        LeaseRequest::Update(lease_id(3), Expiry::Keep),
        LeaseRequest::KeepAlive(lease_id(3)),
        LeaseRequest::Expire(lease_id(3)),
    ] {
        assert_eq!(client.lease(request).await.unwrap(), sample::lease());
        asked(Asked::Write(Write::Lease(request)));
    }

    assert_eq!(client.get_lease(lease_id(3)).await.unwrap(), sample::lease());
    asked(Asked::GetLease(lease_id(3)));

    let leases = LeasesRequest {
        after: Some(lease_id(2)),
        limit: Some(1),
    };
    assert_eq!(client.list_leases(leases).await.unwrap(), [sample::lease()]);
    asked(Asked::ListLeases(leases));

    let keys = LeaseKeysRequest {
        after: Some(key("a")),
        limit: Some(2),
        ..LeaseKeysRequest::new(lease_id(3))
    };
    assert_eq!(client.lease_keys(keys.clone()).await.unwrap(), sample::lease_keys());
    asked(Asked::LeaseKeys(keys));

    fake.have([Ok(sample::entry()), Ok(sample::entry())]);
    let listing = client.list(ListRequest::default()).await.unwrap();
    assert_eq!(listing.at(), sample::snapshot());
    let entries: Vec<_> = drain(listing).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(entries, [sample::entry(), sample::entry()]);
    asked(Asked::List(ListRequest::default()));

    let progress = StreamItem::Progress(sample::snapshot());
    fake.deliver([Ok(StreamItem::Event(sample::event())), Ok(progress.clone())]);
    let mut stream = client.stream(StreamRequest::default()).await.unwrap();
    assert_eq!(stream.opened_at(), sample::snapshot());
    assert_eq!(
        stream.next().await.unwrap().unwrap(),
        StreamItem::Event(sample::event())
    );
    assert_eq!(stream.next().await.unwrap().unwrap(), progress);
    assert_eq!(stream.next().await.unwrap().unwrap_err().kind(), ErrorKind::Stopped);
    assert!(stream.next().await.is_none());
    asked(Asked::Stream(StreamRequest::default()));

    assert_eq!(client.status().await.unwrap(), sample::status());
    asked(Asked::Status);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_and_named() {
    let port = ReservedPort::find();
    let endpoint = format!("http://{}", port.address);
    let client = GrpcClient::connect(&endpoint).unwrap();
    let errors = [
        client.get(&key("k")).await.unwrap_err(),
        client.set(SetRequest::new(key("k"), "v")).await.unwrap_err(),
        client.list(ListRequest::default()).await.err().unwrap(),
        client.stream(StreamRequest::default()).await.err().unwrap(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.message().contains(&endpoint), "{error}");
        assert!(error.message().contains("goku serve"), "{error}");
    }
}

/// An earlier goku does not look at the id, and grants a lease of another one.
#[tokio::test]
async fn a_lease_that_has_another_id_than_was_chosen_is_none() {
    let server = Replica::start(std::sync::Arc::new(crate::fake::Fake::default())).await;
    let client = GrpcClient::connect(&server.endpoint).unwrap();
    let grant = |id| client.lease(LeaseRequest::GrantAs(LeaseId::chosen(id).unwrap(), Expiry::Never));
    let error = grant(1 << 50).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("granted 41"), "{error}");
}

/// So is every earlier goku.
#[tokio::test]
async fn a_server_without_operators_says_so() {
    let server = Replica::start(std::sync::Arc::new(crate::fake::Fake::default())).await;
    let client = GrpcClient::connect(&server.endpoint).unwrap();
    let name = SettingName::new("test/a").unwrap();
    let errors = [
        client.get_setting(&name).await.err(),
        client.list_settings(SettingsRequest::default()).await.err(),
        client.configure(ConfigureRequest::remove(name.clone())).await.err(),
        client.setting_changes(SettingChangesRequest::default()).await.err(),
    ];
    assert_eq!(errors.map(|error| error.unwrap().kind()), [ErrorKind::Unsupported; 4]);
}

#[tokio::test]
async fn a_client_finds_a_server_that_came_back() {
    let server = Replica::start(std::sync::Arc::new(crate::fake::Fake::default())).await;
    let client = GrpcClient::connect(&server.endpoint).unwrap().retries(false);
    client.get(&key("k")).await.unwrap();
    let port = server.kill().await;
    while client.get(&key("k")).await.is_ok() {}

    let _server = Replica::start_at(port, std::sync::Arc::new(crate::fake::Fake::default())).await;
    while client.get(&key("k")).await.is_err() {}
}

#[tokio::test]
async fn a_write_whose_connection_breaks_may_have_been_applied() {
    let (fake, endpoint, serving) = served::on_tcp().await;
    let client = GrpcClient::connect(&endpoint).unwrap().retries(false);
    fake.hold(true);
    let key = key("k");
    let (set, get, ()) = tokio::join!(client.set(SetRequest::new(key.clone(), "v")), client.get(&key), async {
        fake.was_asked(2).await;
        serving.abort();
    });
    assert_eq!(set.unwrap_err().kind(), ErrorKind::OutcomeUnknown);
    assert_eq!(get.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_call_that_is_not_answered_in_time_is_given_up() {
    let served = Served::new();
    served.fake.hold(true);
    let client = served.client().request_timeout(Some(Duration::from_millis(50)));
    let error = client.get(&key("k")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let error = client.set(SetRequest::new(key("k"), "v")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
    let error = client.list(ListRequest::default()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_stream_whose_server_says_nothing_at_first_is_handed_out_all_the_same() {
    let served = Served::new();
    served.fake.hold(true);
    served.fake.deliver([Ok(StreamItem::Event(sample::event()))]);
    let client = served.client().request_timeout(Some(Duration::from_millis(50)));
    let mut stream = client.stream(StreamRequest::default()).await.unwrap();
    assert_eq!(stream.opened_at(), goku::Snapshot::default());
    served.fake.hold(false);
    assert_eq!(
        stream.next().await.unwrap().unwrap(),
        StreamItem::Event(sample::event())
    );
}

/// A consumer that calls the store for each event would otherwise wait for an answer that waits behind its own streams.
#[tokio::test]
async fn streams_that_nobody_reads_do_not_hold_up_other_calls() {
    let (fake, endpoint, _serving) = served::on_tcp().await;
    fake.keep_streams_open();
    let client = GrpcClient::connect(&endpoint).unwrap();
    let mut unread = Vec::new();
    for _ in 0..8 {
        let event = goku::Event {
            value: vec![7; 3 * 1024 * 1024].into(),
            ..sample::event()
        };
        fake.deliver([Ok(StreamItem::Event(event.clone())), Ok(StreamItem::Event(event))]);
        let mut stream = client.stream(StreamRequest::default()).await.unwrap();
        stream.next().await.unwrap().unwrap();
        unread.push(stream);
    }
    client.get(&key("k")).await.unwrap();
    for mut stream in unread {
        stream.next().await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_stream_whose_connection_breaks_ends_as_unavailable() {
    let (fake, endpoint, serving) = served::on_tcp().await;
    fake.keep_streams_open();
    let client = GrpcClient::connect(&endpoint).unwrap().retries(false);
    let mut stream = client.stream(StreamRequest::default()).await.unwrap();
    serving.abort();
    assert_eq!(stream.next().await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn an_answer_over_what_a_client_takes_is_too_large() {
    let served = Served::new();
    let client = served.client();
    served.fake.have([Ok(goku::Entry {
        value: vec![0; 9 * 1024 * 1024].into(),
        ..sample::entry()
    })]);
    let mut listing = client.list(ListRequest::default()).await.unwrap();
    assert_eq!(listing.next().await.unwrap().unwrap_err().kind(), ErrorKind::TooLarge);
}

#[tokio::test]
async fn endpoints_of_other_forms_are_refused_with_the_right_form() {
    for endpoint in [
        "",
        "localhost:4658",
        "127.0.0.1:4658",
        "ftp://h",
        "http://",
        "no such thing",
    ] {
        let error = GrpcClient::connect(endpoint).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{endpoint}");
        assert!(error.message().contains("http://host:port"), "{error}");
    }
    assert!(GrpcClient::connect("http://localhost:4658/").is_ok());
    assert!(GrpcClient::connect("http://[::1]:4658").is_ok());
}

#[test]
fn outside_of_a_runtime_connecting_is_an_error_and_no_panic() {
    let error = GrpcClient::connect("http://127.0.0.1:4658").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}
