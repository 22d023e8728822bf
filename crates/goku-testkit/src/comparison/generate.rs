//! Random steps over few keys and leases, so that they meet.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use goku::{
    Compare, Condition, DeleteRequest, EventId, Expiry, HistoryRequest, Key, LeaseId, LeaseKeysRequest, LeaseRequest,
    LeasesRequest, ListRequest, Operation, Prefix, Relation, SetLease, SetRequest, Target, Timestamp, Txn, Value,
    Version,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::Step;

const KEYS: [&[u8]; 8] = [b"a", b"A", b"ab", b"a%", b"b", "á".as_bytes(), b"a\xff", b"\xff"];
const PREFIXES: [&[u8]; 6] = [b"", b"a", b"a%", b"b", b"c", b"\xff"];
/// One of them is too large to be kept with its row by a store that keeps small values there.
const VALUES: [&[u8]; 5] = [b"", b"x", b"y", b"\0\xff", &[b'v'; 20_000]];

/// The time at which a manual clock starts: 2050-01-01, later than any other clock shows.
pub fn start() -> Timestamp {
    Timestamp::from_millis(2_524_608_000_000).unwrap()
}

/// 2000-01-01, longer ago than any clock shows.
fn past() -> Timestamp {
    Timestamp::from_millis(946_684_800_000).unwrap()
}

/// 2100-01-01, later than a manual clock gets.
fn far() -> Timestamp {
    Timestamp::from_millis(4_102_444_800_000).unwrap()
}

/// The times to live that are asked for.
#[derive(Clone, Copy, Debug)]
pub enum Ttl {
    /// Seconds, which a manual clock goes through.
    Seconds,
    /// Hours, which no test lasts.
    Hours,
}

/// Up to `count` steps.
pub fn steps(ttl: Ttl, count: Range<usize>) -> impl Strategy<Value = Vec<Step>> {
    vec(step(ttl), count)
}

fn step(ttl: Ttl) -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => set(expiry(ttl)).prop_map(Step::Set),
        7 => delete().prop_map(Step::Delete),
        6 => txn(ttl).prop_map(Step::Txn),
        3 => lease(ttl).prop_map(Step::Lease),
        1 => key().prop_map(Step::Get),
        1 => list().prop_map(Step::List),
        1 => (list(), 0..30_i64).prop_map(|(list, at)| Step::List(ListRequest {
            at: Some(EventId::new(at).unwrap()),
            ..list
        })),
        1 => lease_id().prop_map(Step::GetLease),
        1 => leases().prop_map(Step::ListLeases),
        1 => lease_keys().prop_map(Step::LeaseKeys),
        1 => history().prop_map(Step::History),
        2 => (0..4_000_u64).prop_map(|ms| Step::Advance(Duration::from_millis(ms))),
    ]
}

fn key() -> impl Strategy<Value = Key> {
    prop::sample::select(&KEYS[..]).prop_map(|key| Key::from_bytes(key).unwrap())
}

fn value() -> impl Strategy<Value = Value> {
    prop::sample::select(&VALUES[..]).prop_map(|value| Bytes::from_static(value).into())
}

fn lease_id() -> impl Strategy<Value = LeaseId> {
    let counted = prop_oneof![4 => 1..4_i64, 1 => 4..12_i64].prop_map(|id| LeaseId::new(id).unwrap());
    prop_oneof![3 => counted, 1 => chosen_id()]
}

fn chosen_id() -> impl Strategy<Value = LeaseId> {
    prop::sample::select(vec![1, 2, i64::MAX, -7]).prop_map(|id| LeaseId::chosen(id).unwrap())
}

fn event_id() -> impl Strategy<Value = EventId> {
    (1..30_i64).prop_map(|id| EventId::new(id).unwrap())
}

fn version() -> impl Strategy<Value = Version> {
    (1..6_i64).prop_map(|version| Version::new(version).unwrap())
}

fn condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        12 => Just(Condition::Any),
        1 => Just(Condition::Absent),
        1 => version().prop_map(Condition::AbsentAt),
        2 => version().prop_map(Condition::Version),
        1 => event_id().prop_map(Condition::Ref),
    ]
}

/// In a transaction no deadline has passed when it is given: what follows would see the lease gone, or not yet.
fn expiry_in_txn(ttl: Ttl) -> impl Strategy<Value = Expiry> {
    let unit_ms = match ttl {
        Ttl::Seconds => 1_000,
        Ttl::Hours => 3_600_000,
    };
    prop_oneof![
        8 => Just(Expiry::Keep),
        1 => Just(Expiry::Never),
        1 => Just(Expiry::At(far())),
        2 => (1..5_u64).prop_map(move |units| Expiry::After(Duration::from_millis(units * unit_ms))),
    ]
}

fn expiry(ttl: Ttl) -> impl Strategy<Value = Expiry> {
    prop_oneof![
        8 => expiry_in_txn(ttl),
        1 => Just(Expiry::At(past())),
        1 => (1..15_000_u64).prop_map(|ms| Expiry::At(start().saturating_add(Duration::from_millis(ms)))),
    ]
}

fn set(expiry: impl Strategy<Value = Expiry>) -> impl Strategy<Value = SetRequest> {
    let lease = prop_oneof![
        12 => Just(SetLease::Own),
        2 => lease_id().prop_map(SetLease::MoveTo),
        2 => lease_id().prop_map(SetLease::Attach),
        1 => Just(SetLease::Detach),
        1 => Just(SetLease::Stay),
    ];
    (key(), value(), condition(), lease, expiry).prop_map(|(key, value, condition, lease, expiry)| SetRequest {
        key,
        value,
        condition,
        lease,
        expiry: match lease {
            SetLease::Own | SetLease::MoveTo(_) => expiry,
            SetLease::Attach(_) | SetLease::Detach | SetLease::Stay => Expiry::Keep,
        },
    })
}

fn delete() -> impl Strategy<Value = DeleteRequest> {
    (key(), condition()).prop_map(|(key, condition)| DeleteRequest { key, condition })
}

fn list() -> impl Strategy<Value = ListRequest> {
    let prefix = prop::sample::select(&PREFIXES[..]);
    let bounds = (option::of(key()), option::of(0..4_usize));
    (prefix, bounds, any::<bool>()).prop_map(|(prefix, (start, limit), keys_only)| ListRequest {
        prefix: Prefix::from_bytes(prefix).unwrap(),
        start,
        limit,
        keys_only,
        at: None,
    })
}

fn lease(ttl: Ttl) -> impl Strategy<Value = LeaseRequest> {
    prop_oneof![
        2 => expiry(ttl).prop_map(LeaseRequest::Grant),
        2 => (chosen_id(), expiry(ttl)).prop_map(|(id, expiry)| LeaseRequest::GrantAs(id, expiry)),
        3 => (lease_id(), expiry(ttl)).prop_map(|(id, expiry)| LeaseRequest::Update(id, expiry)),
        2 => lease_id().prop_map(LeaseRequest::KeepAlive),
        2 => lease_id().prop_map(LeaseRequest::Expire),
    ]
}

fn leases() -> impl Strategy<Value = LeasesRequest> {
    (option::of(lease_id()), option::of(1..4_usize)).prop_map(|(after, limit)| LeasesRequest { after, limit })
}

fn lease_keys() -> impl Strategy<Value = LeaseKeysRequest> {
    (lease_id(), option::of(key()), option::of(1..4_usize)).prop_map(|(id, after, limit)| LeaseKeysRequest {
        id,
        after,
        limit,
    })
}

fn history() -> impl Strategy<Value = HistoryRequest> {
    let from = prop_oneof![3 => Just(None), 1 => event_id().prop_map(Some)];
    (key(), from, option::of(1..4_usize)).prop_map(|(key, from, limit)| HistoryRequest { key, from, limit })
}

fn txn(ttl: Ttl) -> impl Strategy<Value = Txn> {
    let branch = || vec(operation(ttl), 0..7);
    (vec(compare(), 0..3), branch(), branch()).prop_map(|(compare, then, otherwise)| Txn {
        compare,
        then,
        otherwise,
    })
}

fn operation(ttl: Ttl) -> impl Strategy<Value = Operation> {
    prop_oneof![
        2 => key().prop_map(Operation::Get),
        5 => set(expiry_in_txn(ttl)).prop_map(Operation::Set),
        2 => delete().prop_map(Operation::Delete),
        1 => list().prop_map(Operation::List),
    ]
}

fn compare() -> impl Strategy<Value = Compare> {
    let relation = prop::sample::select(vec![
        Relation::Equal,
        Relation::NotEqual,
        Relation::Less,
        Relation::Greater,
    ]);
    let target = prop_oneof![
        any::<bool>().prop_map(Target::Exists),
        (0..5_i64).prop_map(Target::Version),
        value().prop_map(Target::Value),
        option::of(lease_id()).prop_map(Target::Lease),
        event_id().prop_map(Target::CreatedRef),
        event_id().prop_map(Target::UpdatedRef),
    ];
    (key(), relation, target).prop_map(|(key, relation, target)| Compare { key, relation, target })
}
