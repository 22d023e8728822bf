//! Messages of the protocol: what is accepted can be sent, and is the same then.

use goku::{
    ConfigureRequest, CursorMove, CursorsRequest, DeleteRequest, HistoryRequest, Key, LeaseKeysRequest, LeaseRequest,
    LeasesRequest, ListRequest, Prefix, SetRequest, SettingChangesRequest, SettingsRequest, StreamRequest, Txn,
};
use goku_grpc::proto::{gokupb as pb, reflexpb};
use prost::Message;

/// Reads `$bytes` as a message that is a request of goku's, and sends that around.
macro_rules! goes_around {
    ($bytes:expr, $message:ty, $request:ty) => {
        if let Ok(request) = <$message>::decode($bytes)
            .map_err(drop)
            .and_then(|message| <$request>::try_from(message).map_err(drop))
        {
            let sent = <$message>::try_from(request.clone()).expect("what was accepted can be sent");
            let received = <$message>::decode(sent.encode_to_vec().as_slice()).expect("what was sent can be read");
            let received = <$request>::try_from(received).expect("what was sent is accepted");
            assert_eq!(received, request);
        }
    };
}

/// The first byte says as which message the others are read.
pub(crate) fn run(input: &[u8]) {
    let Some((kind, bytes)) = input.split_first() else {
        return;
    };
    match kind % 15 {
        0 => goes_around!(bytes, pb::SetRequest, SetRequest),
        1 => goes_around!(bytes, pb::DeleteRequest, DeleteRequest),
        2 => goes_around!(bytes, pb::ListRequest, ListRequest),
        3 => goes_around!(bytes, pb::TxnRequest, Txn),
        4 => goes_around!(bytes, pb::StreamRequest, StreamRequest),
        5 => goes_around!(bytes, pb::ListLeasesRequest, LeasesRequest),
        6 => goes_around!(bytes, pb::ListLeaseKeysRequest, LeaseKeysRequest),
        7 => goes_around!(bytes, pb::HistoryRequest, HistoryRequest),
        8 => goes_around!(bytes, pb::MoveCursorsRequest, Vec<CursorMove>),
        9 => goes_around!(bytes, pb::ListCursorsRequest, CursorsRequest),
        10 => goes_around!(bytes, pb::ListSettingsRequest, SettingsRequest),
        11 => goes_around!(bytes, pb::ConfigureRequest, ConfigureRequest),
        12 => goes_around!(bytes, pb::ListSettingChangesRequest, SettingChangesRequest),
        13 => leases(bytes),
        _ => answers(bytes),
    }
}

/// Leases are granted and updated by the same request of goku's.
fn leases(bytes: &[u8]) {
    let granted = pb::GrantLeaseRequest::decode(bytes).map(LeaseRequest::try_from);
    if let Ok(Ok(request)) = granted {
        let sent = match request {
            LeaseRequest::Grant(expiry) => pb::GrantLeaseRequest::from((None, expiry)),
            LeaseRequest::GrantAs(id, expiry) => pb::GrantLeaseRequest::from((Some(id), expiry)),
            other => panic!("a lease is granted by {other:?}"),
        };
        assert_eq!(
            LeaseRequest::try_from(sent).expect("what was sent is accepted"),
            request
        );
    }
    let updated = pb::UpdateLeaseRequest::decode(bytes).map(LeaseRequest::try_from);
    if let Ok(Ok(request)) = updated {
        let LeaseRequest::Update(id, expiry) = request else {
            panic!("a lease is updated by {request:?}");
        };
        let sent = pb::UpdateLeaseRequest::from((id, expiry));
        assert_eq!(
            LeaseRequest::try_from(sent).expect("what was sent is accepted"),
            request
        );
    }
}

/// A client is as careful with what a server sends.
fn answers(bytes: &[u8]) {
    let _ = pb::Kv::decode(bytes).map(goku::Entry::try_from);
    let _ = reflexpb::Event::decode(bytes).map(goku::StreamItem::try_from);
    let _ = pb::TxnResponse::decode(bytes).map(goku::TxnAnswer::try_from);
    let _ = pb::StatusResponse::decode(bytes).map(goku::Status::try_from);
    let _ = pb::HistoryResponse::decode(bytes).map(goku::History::try_from);
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let key = || Key::new("services/web/1").unwrap();
    let seed = |kind: u8, message: Vec<u8>| [vec![kind], message].concat();
    let set = pb::SetRequest::try_from(SetRequest::new(key(), "10.0.0.7:80")).unwrap();
    let delete = pb::DeleteRequest::from(DeleteRequest::new(Key::from_bytes(b"k\xff").unwrap()));
    let list = pb::ListRequest::from(ListRequest::new(Prefix::new("services/").unwrap()));
    let stream = pb::StreamRequest::from(StreamRequest::new(Prefix::new("services/").unwrap()));
    let txn = pb::TxnRequest {
        compare: vec![pb::Compare {
            key: "k".to_owned(),
            relation: 1,
            target: Some(pb::compare::Target::Exists(true)),
            ..pb::Compare::default()
        }],
        then: vec![pb::Operation {
            operation: Some(pb::operation::Operation::Set(set.clone())),
        }],
        otherwise: vec![pb::Operation {
            operation: Some(pb::operation::Operation::List(list.clone())),
        }],
    };
    let mut seeds = vec![
        seed(0, set.encode_to_vec()),
        seed(1, delete.encode_to_vec()),
        seed(2, list.encode_to_vec()),
        seed(3, txn.encode_to_vec()),
        seed(4, stream.encode_to_vec()),
    ];
    // A key, an id or a number as the first field is what most of the others have.
    for kind in 5..15 {
        seeds.push(seed(kind, b"\x0a\x01k\x10\x07\x18\x01".to_vec()));
        seeds.push(seed(kind, b"\x08\x07\x10\xc0\x9a\x0c".to_vec()));
    }
    seeds
}
