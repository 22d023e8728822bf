//! Keys that are no text, and text that is longer than goku's own doors write it.

use goku::limits::KEY_BYTES_MAX;
use goku::{
    Compare, DeleteRequest, ErrorKind, EventType, Expiry, Key, LeaseKeysRequest, ListRequest, Operation,
    OperationAnswer, Prefix, SetRequest, StreamFrom, StreamRequest, Txn,
};

use crate::probe::{Probe, kind};

/// Neighbours of each other, of the ends of all keys and of the borders of UTF-8; in the order of their bytes.
fn byte_keys() -> Vec<Key> {
    let mut keys: Vec<Vec<u8>> = [
        &b"\0"[..],
        b"\0\0",
        b"\0\xff",
        b"\x01",
        b"a",
        b"a\0",
        b"a\x7f",
        b"a\x80",
        b"a\xc3",
        b"a\xc3\xa9",
        b"a\xed\xa0\x80",
        b"a\xff",
        b"a\xff\0",
        b"a\xff\xff",
        b"b",
        b"\xc0\x80",
        b"\xf4\x8f\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\xfe",
        b"\xfe\xff",
        b"\xff",
        b"\xff\0",
        b"\xff\xfe",
        b"\xff\xff",
    ]
    .map(<[u8]>::to_vec)
    .into();
    keys.push(vec![0; KEY_BYTES_MAX]);
    keys.push(vec![b'k'; 256]);
    keys.push(vec![b'k'; KEY_BYTES_MAX]);
    keys.push(vec![0xff; KEY_BYTES_MAX - 1]);
    keys.push(vec![0xff; KEY_BYTES_MAX]);
    keys.sort();
    keys.into_iter().map(|key| Key::from_bytes(key).unwrap()).collect()
}

async fn put_all(store: &Probe) -> Vec<Key> {
    let keys = byte_keys();
    for (number, key) in keys.iter().enumerate() {
        let set = SetRequest::new(key.clone(), number.to_string());
        let entry = store.set(set).await.unwrap();
        assert_eq!((&entry.key, entry.version.get()), (key, 1));
    }
    keys
}

async fn listed(store: &Probe, request: ListRequest) -> Vec<Key> {
    let (_, entries) = store.listing(request).await;
    entries.into_iter().map(|entry| entry.key).collect()
}

fn streamed(prefix: Prefix) -> StreamRequest {
    StreamRequest::new(prefix).to_head()
}

pub async fn each_is_a_key_of_its_own(store: Probe) {
    let keys = put_all(&store).await;
    for (number, key) in keys.iter().enumerate() {
        let entry = store.get(key).await.unwrap();
        assert_eq!((&entry.key, entry.value), (key, number.to_string().into()));
    }
    assert_eq!(listed(&store, ListRequest::default()).await, keys);
    let log = store.watch(streamed(Prefix::default())).await.rest().await;
    assert!(log.iter().map(|event| &event.key).eq(&keys));
}

pub async fn each_is_found_by_every_prefix_of_its_own_only(store: Probe) {
    let keys = put_all(&store).await;
    let others = [&b""[..], b"\xff\xff\xff", b"\xfd", b"a\xc3\xa8", b"\0\0\0"];
    let prefixes = keys.iter().map(Key::as_bytes).chain(others);
    for prefix in prefixes.map(|prefix| Prefix::from_bytes(prefix).unwrap()) {
        let expected: Vec<&Key> = keys.iter().filter(|key| prefix.matches(key)).collect();
        let found = listed(&store, ListRequest::new(prefix.clone())).await;
        assert!(found.iter().eq(expected.iter().copied()), "list {prefix:?}: {found:?}");
        let events = store.watch(streamed(prefix.clone())).await.rest().await;
        let found = events.iter().map(|event| &event.key);
        assert!(found.eq(expected.iter().copied()), "stream {prefix:?}");
    }
}

pub async fn a_list_goes_on_at_each(store: Probe) {
    let keys = put_all(&store).await;
    for (number, start) in keys.iter().enumerate() {
        let request = ListRequest {
            start: Some(start.clone()),
            limit: Some(3),
            keys_only: true,
            ..ListRequest::default()
        };
        let rest = &keys[number..];
        assert_eq!(listed(&store, request).await, rest[..rest.len().min(3)]);
    }
}

pub async fn each_is_deleted_alone_and_made_anew(store: Probe) {
    let mut keys = put_all(&store).await;
    while let Some(key) = keys.pop() {
        store.delete(DeleteRequest::new(key.clone())).await.unwrap();
        assert_eq!(kind(store.get(&key).await), ErrorKind::NotFound);
        assert_eq!(listed(&store, ListRequest::default()).await, keys);
    }
    for key in byte_keys() {
        let entry = store.set(SetRequest::new(key, "again")).await.unwrap();
        assert_eq!((entry.version.get(), entry.created_version.get()), (3, 3));
    }
}

pub async fn each_reaches_a_live_stream_of_its_prefix(store: Probe) {
    for key in byte_keys() {
        let request = StreamRequest::new(Prefix::from(&key)).from(StreamFrom::Head);
        let mut stream = store.watch(request).await;
        store.set(SetRequest::new(key.clone(), "x")).await.unwrap();
        assert_eq!(stream.event().await.key, key);
    }
}

pub async fn a_transaction_takes_them_everywhere(store: Probe) {
    let keys = put_all(&store).await;
    let (old, new) = (keys.last().unwrap(), Key::from_bytes(b"\xff\x01").unwrap());
    let txn = Txn {
        compare: vec![Compare::exists(old.clone()), Compare::absent(new.clone())],
        then: vec![
            Operation::Get(old.clone()),
            Operation::Set(SetRequest::new(new.clone(), "new")),
            Operation::Delete(DeleteRequest::new(old.clone())),
            Operation::List(ListRequest::new(Prefix::from_bytes(b"\xff").unwrap())),
        ],
        otherwise: Vec::new(),
    };
    let answer = store.txn(txn).await.unwrap();
    assert!(answer.succeeded);
    let OperationAnswer::List(entries) = &answer.answers[3] else {
        panic!("a list is answered with {:?}", answer.answers[3])
    };
    let expected = listed(&store, ListRequest::new(Prefix::from_bytes(b"\xff").unwrap())).await;
    assert!(expected.contains(&new) && !expected.contains(old));
    assert!(entries.iter().map(|entry| &entry.key).eq(&expected));
}

pub async fn they_live_by_leases_as_others_do(store: Probe) {
    let lease = store.grant(Expiry::Never).await.id;
    let keys = byte_keys();
    for key in &keys {
        let set = SetRequest::new(key.clone(), "leased").lease(lease);
        store.set(set).await.unwrap();
    }
    let mut request = LeaseKeysRequest {
        limit: Some(4),
        ..LeaseKeysRequest::new(lease)
    };
    let mut held = Vec::new();
    loop {
        let page = store.lease_keys(request.clone()).await.unwrap();
        held.extend(page.keys);
        let Some(rest) = page.rest else { break };
        request.after = Some(rest);
    }
    assert_eq!(held, keys);
    let head = StreamRequest::default().from(StreamFrom::Head);
    let mut stream = store.watch(head).await;
    store.lease(goku::LeaseRequest::Expire(lease)).await.unwrap();
    let mut expired = stream.events(keys.len()).await;
    assert!(expired.iter().all(|event| event.event_type == EventType::Expire));
    expired.sort_by(|one, other| one.key.cmp(&other.key));
    assert!(expired.iter().map(|event| &event.key).eq(&keys));
}

pub async fn a_key_has_1_to_1024_bytes(store: Probe) {
    assert_eq!(kind(Key::from_bytes(b"")), ErrorKind::InvalidKey);
    assert_eq!(kind(Key::from_bytes([0xff; KEY_BYTES_MAX + 1])), ErrorKind::InvalidKey);
    assert_eq!(
        kind(Prefix::from_bytes([0xff; KEY_BYTES_MAX + 1])),
        ErrorKind::InvalidKey
    );
    let prefix = Prefix::from_bytes([b'k'; KEY_BYTES_MAX]).unwrap();
    put_all(&store).await;
    assert_eq!(listed(&store, ListRequest::new(prefix)).await.len(), 1);
}
