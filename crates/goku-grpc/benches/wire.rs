//! Between goku's types and the bytes of the protocol: what every call and every event of every stream takes.

use std::fmt::Debug;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use goku::{
    Entry, Event, EventId, EventType, Key, LeaseId, Operation, Result, Revision, SetRequest, StreamItem, Tag,
    Timestamp, Txn, Version,
};
use goku_grpc::proto::{gokupb as pb, reflexpb};
use prost::Message;

/// Bytes of a value, as in other measurements.
const VALUE_BYTES: usize = 255;

/// Sets of a transaction.
const SETS: usize = 100;

/// A key's state and the event that left it.
fn state() -> Result<(Entry, Event)> {
    let entry = Entry {
        key: Key::new("/bench/17/123")?,
        value: vec![b'v'; VALUE_BYTES].into(),
        version: Version::new(1_000)?,
        created_ref: EventId::new(1_000_000)?,
        updated_ref: EventId::new(2_000_000)?,
        deleted_ref: None,
        lease_id: LeaseId::new(1_000_000)?,
        leased: Some(false),
        created_version: Version::FIRST,
        created_rev: Revision::new(1_000_000)?,
        updated_rev: Revision::new(2_000_000)?,
    };
    let event = Event {
        id: entry.updated_ref,
        rev: entry.updated_rev,
        tag: Tag::new(u64::MAX / 3),
        event_type: EventType::Set,
        key: entry.key.clone(),
        timestamp: Timestamp::from_millis(1_790_000_000_000)?,
        value: entry.value.clone(),
        version: entry.version,
        created_ref: entry.created_ref,
        created_version: entry.created_version,
        created_rev: entry.created_rev,
        lease_id: entry.lease_id,
        leased: entry.leased,
        origin: None,
        prev_ref: entry.created_ref,
    };
    Ok((entry, event))
}

/// A value as a message's bytes, and back.
fn both_ways<T, M>(c: &mut Criterion, name: &str, value: T)
where
    T: Clone + TryFrom<M, Error = goku::Error>,
    M: Message + Default + TryFrom<T, Error: Debug>,
{
    let mut group = c.benchmark_group("wire");
    group.bench_function(format!("{name} to bytes"), |b| {
        b.iter_batched(
            || value.clone(),
            |value| M::try_from(value).expect("its values are small").encode_to_vec(),
            BatchSize::SmallInput,
        );
    });
    let bytes = Bytes::from(M::try_from(value).expect("its values are small").encode_to_vec());
    group.bench_function(format!("{name} from bytes"), |b| {
        b.iter(|| {
            let message = M::decode(bytes.clone()).expect("it was encoded");
            T::try_from(message).expect("it was made of one")
        });
    });
    group.finish();
}

fn wire(c: &mut Criterion) {
    let (entry, event) = state().expect("these are what they say");
    let set = SetRequest::new(entry.key.clone(), entry.value.clone());
    let txn = Txn {
        then: vec![Operation::Set(set.clone()); SETS],
        ..Txn::default()
    };
    both_ways::<SetRequest, pb::SetRequest>(c, "a Set", set);
    both_ways::<Entry, pb::Kv>(c, "an entry", entry);
    both_ways::<Txn, pb::TxnRequest>(c, "a transaction of 100 Sets", txn);
    both_ways::<StreamItem, reflexpb::Event>(c, "an event", StreamItem::Event(event));
}

criterion_group!(benches, wire);
criterion_main!(benches);
