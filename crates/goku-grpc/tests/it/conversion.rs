//! What goes out comes back the same: goku's types over the bytes of the protocol.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use goku::{
    Compare, Condition, DeleteRequest, Entry, Epoch, Event, EventId, EventType, EventTypes, Expiry, Key, Lease,
    LeaseId, LeaseKeys, LeaseKeysRequest, LeaseRequest, LeasesRequest, ListRequest, Operation, OperationAnswer, Origin,
    Partition, Position, Prefix, Relation, Revision, SetLease, SetRequest, Snapshot, Status, StreamFrom, StreamItem,
    StreamRequest, Tag, Target, Timestamp, TraceContext, Txn, TxnAnswer, Value, Version,
};
use goku_grpc::proto::{gokupb as pb, reflexpb};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message;

/// Sends `value` as a message of type `M`, and reads it back.
fn around<M, T>(value: T) -> T
where
    M: Message + Default + TryFrom<T, Error: Debug>,
    T: TryFrom<M, Error = goku::Error>,
{
    let message = M::try_from(value).unwrap();
    M::decode(message.encode_to_vec().as_slice())
        .unwrap()
        .try_into()
        .unwrap()
}

fn key() -> impl Strategy<Value = Key> {
    prop_oneof![
        "\\PC{1,20}".prop_map(|key| Key::new(key).unwrap()),
        "[%_\\\\\0 aAáé]{1,60}".prop_map(|key| Key::new(key).unwrap()),
        Just(Key::new("k".repeat(255)).unwrap()),
        Just(Key::from_bytes("k".repeat(256)).unwrap()),
        vec(any::<u8>(), 1..1025).prop_map(|key| Key::from_bytes(key).unwrap()),
    ]
}

fn prefix() -> impl Strategy<Value = Prefix> {
    prop_oneof![Just(Prefix::default()), key().prop_map(|key| Prefix::from(&key))]
}

/// Values on both sides of the size at which they are no longer copied.
fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        vec(any::<u8>(), 0..20).prop_map(Value::from),
        (4090_usize..4100).prop_map(|length| Value::from(vec![7; length])),
    ]
}

fn version() -> impl Strategy<Value = Version> {
    (1..=i64::MAX).prop_map(|version| Version::new(version).unwrap())
}

fn event_id() -> impl Strategy<Value = EventId> {
    prop_oneof![
        Just(EventId::ZERO),
        (1..=i64::MAX).prop_map(|id| EventId::new(id).unwrap())
    ]
}

fn some_event_id() -> impl Strategy<Value = EventId> {
    (1..=i64::MAX).prop_map(|id| EventId::new(id).unwrap())
}

fn lease_id() -> impl Strategy<Value = LeaseId> {
    prop_oneof![1..=i64::MAX, i64::MIN..=-1].prop_map(|id| LeaseId::new(id).unwrap())
}

fn revision() -> impl Strategy<Value = Revision> {
    (0..=i64::MAX).prop_map(|revision| Revision::new(revision).unwrap())
}

fn timestamp() -> impl Strategy<Value = Timestamp> {
    (Timestamp::MIN.as_millis() + 1..=Timestamp::MAX.as_millis()).prop_map(|ms| Timestamp::from_millis(ms).unwrap())
}

/// Whole milliseconds.
fn duration() -> impl Strategy<Value = Duration> {
    (1..=1_u64 << 40).prop_map(Duration::from_millis)
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    (0..=i64::MAX, any::<u64>(), event_id(), any::<u64>()).prop_map(|(number, salt, id, tag)| Snapshot {
        epoch: Epoch::new(number, salt),
        position: Position { id, tag: Tag::new(tag) },
        rev: None,
    })
}

fn condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        Just(Condition::Any),
        Just(Condition::Absent),
        version().prop_map(Condition::AbsentAt),
        version().prop_map(Condition::Version),
        some_event_id().prop_map(Condition::Ref),
    ]
}

fn expiry() -> impl Strategy<Value = Expiry> {
    prop_oneof![
        Just(Expiry::Keep),
        Just(Expiry::Never),
        timestamp().prop_map(Expiry::At),
        duration().prop_map(Expiry::After),
    ]
}

fn set() -> impl Strategy<Value = SetRequest> {
    let lease = prop_oneof![
        expiry().prop_map(|expiry| (SetLease::Own, expiry)),
        (lease_id(), expiry()).prop_map(|(id, expiry)| (SetLease::MoveTo(id), expiry)),
        lease_id().prop_map(|id| (SetLease::Attach(id), Expiry::Keep)),
        Just((SetLease::Detach, Expiry::Keep)),
        Just((SetLease::Stay, Expiry::Keep)),
    ];
    (key(), value(), condition(), lease).prop_map(|(key, value, condition, (lease, expiry))| SetRequest {
        key,
        value,
        condition,
        lease,
        expiry,
    })
}

fn delete() -> impl Strategy<Value = DeleteRequest> {
    (key(), condition()).prop_map(|(key, condition)| DeleteRequest { key, condition })
}

fn list() -> impl Strategy<Value = ListRequest> {
    let bounds = (option::of(key()), option::of(any::<usize>()));
    (prefix(), bounds, any::<bool>(), option::of(event_id())).prop_map(|(prefix, (start, limit), keys_only, at)| {
        ListRequest {
            prefix,
            start,
            limit,
            keys_only,
            at,
        }
    })
}

fn stream() -> impl Strategy<Value = StreamRequest> {
    let from = prop_oneof![
        Just(StreamFrom::Beginning),
        Just(StreamFrom::Head),
        some_event_id().prop_map(StreamFrom::After),
        (event_id(), any::<u64>()).prop_map(|(id, tag)| StreamFrom::Resume(Position { id, tag: Tag::new(tag) })),
    ];
    let types = vec(proptest::sample::select(EventType::ALL.to_vec()), 0..4);
    let partition = (1..=1_024_u32).prop_flat_map(|count| (0..count, Just(count)));
    let partition = partition.prop_map(|(number, count)| Partition::new(number, count).unwrap());
    (
        prefix(),
        from,
        any::<bool>(),
        option::of(duration()),
        types,
        option::of(duration()),
        option::of(partition),
    )
        .prop_map(
            |(prefix, from, to_head, lag, types, progress, partition)| StreamRequest {
                prefix,
                from,
                to_head,
                lag,
                types: EventTypes::from_iter(types),
                progress,
                partition,
            },
        )
}

fn txn() -> impl Strategy<Value = Txn> {
    let target = prop_oneof![
        any::<bool>().prop_map(Target::Exists),
        any::<i64>().prop_map(Target::Version),
        value().prop_map(Target::Value),
        option::of(lease_id()).prop_map(Target::Lease),
        event_id().prop_map(Target::CreatedRef),
        event_id().prop_map(Target::UpdatedRef),
    ];
    let relation = proptest::sample::select(vec![
        Relation::Equal,
        Relation::NotEqual,
        Relation::Less,
        Relation::Greater,
    ]);
    let compare = (key(), relation, target).prop_map(|(key, relation, target)| Compare { key, relation, target });
    let operation = || {
        prop_oneof![
            key().prop_map(Operation::Get),
            set().prop_map(Operation::Set),
            delete().prop_map(Operation::Delete),
            list().prop_map(Operation::List),
        ]
    };
    (vec(compare, 0..4), vec(operation(), 0..4), vec(operation(), 0..4)).prop_map(|(compare, then, otherwise)| Txn {
        compare,
        then,
        otherwise,
    })
}

fn origin() -> impl Strategy<Value = Option<Arc<Origin>>> {
    let trace = (any::<u128>(), any::<u64>(), any::<u8>()).prop_map(|(trace, span, flags)| TraceContext {
        trace_id: trace.max(1).to_be_bytes(),
        span_id: span.max(1).to_be_bytes(),
        flags,
    });
    ("\\PC{0,20}", "\\PC{0,16}", option::of(trace)).prop_map(|(actor, request_id, trace)| {
        let origin = Origin::default()
            .with_actor(actor)
            .unwrap()
            .with_request_id(request_id)
            .unwrap();
        let origin = trace.map_or(origin.clone(), |trace| origin.with_trace(trace));
        (origin != Origin::default()).then(|| Arc::new(origin))
    })
}

/// As Get and List answer with it.
fn entry() -> impl Strategy<Value = Entry> {
    let refs = (event_id(), event_id());
    let created = (version(), revision(), revision());
    let lease = (lease_id(), option::of(any::<bool>()));
    (key(), value(), version(), refs, lease, created).prop_map(
        |(key, value, version, (created_ref, updated_ref), (lease_id, leased), created)| Entry {
            key,
            value,
            version,
            created_ref,
            updated_ref,
            deleted_ref: None,
            lease_id,
            leased,
            created_version: created.0,
            created_rev: created.1,
            updated_rev: created.2,
        },
    )
}

/// As Set or Delete answers with it.
fn written() -> impl Strategy<Value = Entry> {
    (entry(), option::of(some_event_id())).prop_map(|(entry, deleted_ref)| Entry {
        value: Value::default(),
        deleted_ref,
        ..entry
    })
}

fn lease() -> impl Strategy<Value = Lease> {
    (
        lease_id(),
        version(),
        option::of(timestamp()),
        option::of(duration()),
        timestamp(),
    )
        .prop_map(|(id, version, expires_at, ttl, now)| Lease {
            id,
            version,
            expires_at,
            ttl,
            now,
        })
}

fn event() -> impl Strategy<Value = Event> {
    let place = (some_event_id(), revision(), any::<u64>(), timestamp());
    let what = (
        proptest::sample::select(EventType::ALL.to_vec()),
        key(),
        value(),
        version(),
        lease_id(),
        option::of(any::<bool>()),
        origin(),
    );
    let created = (event_id(), version(), revision(), event_id());
    (place, what, created).prop_map(|(place, what, created)| Event {
        id: place.0,
        rev: place.1,
        tag: Tag::new(place.2),
        timestamp: place.3,
        event_type: what.0,
        key: what.1,
        value: what.2,
        version: what.3,
        lease_id: what.4,
        leased: what.5,
        origin: what.6,
        created_ref: created.0,
        created_version: created.1,
        created_rev: created.2,
        prev_ref: created.3,
    })
}

fn txn_answer() -> impl Strategy<Value = TxnAnswer> {
    let answer = prop_oneof![
        option::of(entry()).prop_map(OperationAnswer::Get),
        written().prop_map(OperationAnswer::Set),
        option::of(written()).prop_map(OperationAnswer::Delete),
        vec(entry(), 0..3).prop_map(OperationAnswer::List),
    ];
    let rev = option::of((1..=i64::MAX).prop_map(|revision| Revision::new(revision).unwrap()));
    (any::<bool>(), rev, snapshot(), vec(answer, 0..4)).prop_map(|(succeeded, rev, at, answers)| TxnAnswer {
        succeeded,
        rev,
        at,
        answers,
    })
}

proptest! {
    #[test]
    fn requests(set in set(), delete in delete(), list in list(), stream in stream(), txn in txn()) {
        prop_assert_eq!(around::<pb::SetRequest, _>(set.clone()), set);
        prop_assert_eq!(around::<pb::DeleteRequest, _>(delete.clone()), delete);
        prop_assert_eq!(around::<pb::ListRequest, _>(list.clone()), list);
        prop_assert_eq!(around::<pb::StreamRequest, _>(stream.clone()), stream);
        prop_assert_eq!(around::<pb::TxnRequest, _>(txn.clone()), txn);
    }

    #[test]
    fn requests_about_leases(
        id in lease_id(),
        expiry in expiry(),
        after in option::of(lease_id()),
        limit in option::of(any::<usize>()),
    ) {
        let update = LeaseRequest::try_from(pb::UpdateLeaseRequest::from((id, expiry))).unwrap();
        prop_assert_eq!(update, LeaseRequest::Update(id, expiry));
        // A new lease has no deadline to keep.
        let granted = if expiry == Expiry::Keep { Expiry::Never } else { expiry };
        let grant = LeaseRequest::try_from(pb::GrantLeaseRequest::from((None, expiry))).unwrap();
        prop_assert_eq!(grant, LeaseRequest::Grant(granted));
        let grant = LeaseRequest::try_from(pb::GrantLeaseRequest::from((Some(id), expiry))).unwrap();
        prop_assert_eq!(grant, LeaseRequest::GrantAs(id, granted));
        let leases = LeasesRequest { after, limit };
        prop_assert_eq!(around::<pb::ListLeasesRequest, _>(leases), leases);
        for after in [None, Some(crate::sample::key("a"))] {
            let keys = LeaseKeysRequest { id, after, limit };
            prop_assert_eq!(around::<pb::ListLeaseKeysRequest, _>(keys.clone()), keys);
        }
    }

    #[test]
    fn answers(entry in entry(), written in written(), lease in lease(), txn in txn_answer(), at in snapshot()) {
        prop_assert_eq!(around::<pb::Kv, _>(entry.clone()), entry);
        prop_assert_eq!(around::<pb::Empty, Entry>(written.clone()), written);
        prop_assert_eq!(around::<pb::Lease, _>(lease), lease);
        prop_assert_eq!(around::<pb::Empty, Lease>(lease), lease);
        prop_assert_eq!(around::<pb::ListLeasesResponse, _>(vec![lease, lease]), vec![lease, lease]);
        let keys = crate::sample::lease_keys();
        prop_assert_eq!(around::<pb::ListLeaseKeysResponse, _>(keys.clone()), keys);
        prop_assert_eq!(around::<pb::ListLeaseKeysResponse, _>(LeaseKeys::default()), LeaseKeys::default());
        prop_assert_eq!(around::<pb::TxnResponse, _>(txn.clone()), txn);
        let status = Status { head: at, ..crate::sample::status() };
        prop_assert_eq!(around::<pb::StatusResponse, _>(status.clone()), status);
    }

    #[test]
    fn what_streams_deliver(event in event(), at in snapshot()) {
        for item in [StreamItem::Event(event), StreamItem::Progress(at)] {
            prop_assert_eq!(around::<reflexpb::Event, _>(item.clone()), item);
        }
    }
}

#[test]
fn answers_that_no_goku_gives_are_errors_and_no_panic() {
    let entry = |change: fn(&mut pb::Kv)| {
        let mut kv = pb::Kv::try_from(crate::sample::entry()).unwrap();
        change(&mut kv);
        Entry::try_from(kv).unwrap_err().kind()
    };
    assert_eq!(entry(|kv| kv.key.clear()), goku::ErrorKind::Internal);
    assert_eq!(entry(|kv| kv.version = 0), goku::ErrorKind::Internal);
    assert_eq!(entry(|kv| kv.updated_ref = -1), goku::ErrorKind::Internal);
    assert_eq!(entry(|kv| kv.lease_id = 0), goku::ErrorKind::Internal);

    let event = |change: fn(&mut reflexpb::Event)| {
        let mut event = reflexpb::Event::try_from(StreamItem::Event(crate::sample::event())).unwrap();
        change(&mut event);
        StreamItem::try_from(event).unwrap_err().kind()
    };
    assert_eq!(event(|event| event.id = "x".to_owned()), goku::ErrorKind::Internal);
    assert_eq!(event(|event| event.r#type = 9), goku::ErrorKind::Internal);
    assert_eq!(event(|event| event.timestamp = None), goku::ErrorKind::Internal);
    assert_eq!(event(|event| event.detail = None), goku::ErrorKind::Unsupported);
}
