//! JSON for programs.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use goku::access::{AccessName, Token};
use goku::consumer::{DeadLetter, Delivery, Member, Replayed};
use goku::{
    Entry, Event, EventId, EventType, Key, Lease, OperationAnswer, Origin, Replica, Result, Revision, Snapshot, Status,
    TxnAnswer,
};
use goku_server::Server;
use serde::Serialize;

use super::Term;
use super::consumer_status::ConsumerStatus;
use super::held_keys::HeldKeys;
use crate::position::show as show_position;
use crate::time::show as show_time;

/// An entry with its value.
pub(super) fn entry(entry: &Entry) -> Result<impl Serialize> {
    entry_form(entry)
}

/// An entry without its value.
pub(super) fn state(entry: &Entry) -> impl Serialize {
    state_form(entry)
}

/// An entry that was set, with the end of its lease.
pub(super) fn set(entry: &Entry, term: Term) -> impl Serialize {
    SetForm {
        entry: state_form(entry),
        term: match term {
            Term::Unknown => None,
            Term::Endless => Some(TermForm::default()),
            Term::Of(lease) => Some(term_form(&lease)),
            Term::Ended => Some(TermForm {
                remaining_ms: Some(0),
                ..TermForm::default()
            }),
        },
    }
}

pub(super) fn deleted(keys: u64) -> impl Serialize {
    DeletedForm { deleted: keys }
}

/// The only place where a token is written: it is asked for by whoever is to have it.
pub(super) fn token(token: &Token, id: &AccessName) -> impl Serialize {
    serde_json::json!({ "id": id.as_str(), "token": token.reveal() })
}

pub(super) fn note(message: &str) -> String {
    serde_json::json!({ "note": message }).to_string()
}

pub(super) fn event(event: &Event) -> Result<impl Serialize> {
    event_form(event)
}

fn event_form(event: &Event) -> Result<EventForm<'_>> {
    let origin = event.origin.as_deref();
    Ok(EventForm {
        id: event.id.get(),
        position: show_position(event.position()),
        time: show_time(event.timestamp),
        r#type: event.event_type.name(),
        key: key(&event.key),
        value: match event.event_type {
            EventType::Set => Some(value(event.inline_value()?)),
            EventType::Delete | EventType::Expire => None,
        },
        version: event.version.get(),
        rev: event.rev.get(),
        prev_ref: event.prev_ref.get(),
        created_ref: event.created_ref.get(),
        created_version: event.created_version.get(),
        created_rev: event.created_rev.get(),
        lease: event.lease_id.get(),
        actor: origin.and_then(Origin::actor),
        request_id: origin.and_then(Origin::request_id),
        trace: origin.and_then(Origin::trace).map(|trace| trace.to_string()),
    })
}

pub(super) fn delivery(delivery: &Delivery) -> Result<impl Serialize> {
    Ok(match delivery {
        Delivery::Event(event) => DeliveryForm::Event(Box::new(event_form(event)?)),
        Delivery::State(entry) => DeliveryForm::State {
            r#type: "state",
            entry: Box::new(entry_form(entry)?),
        },
    })
}

pub(super) fn dead_letter(letter: &DeadLetter) -> Result<impl Serialize> {
    Ok(DeadLetterForm {
        attempts: letter.attempts,
        error: &letter.error,
        dead_letter: letter.key.to_string(),
        delivery: delivery(&letter.delivery)?,
    })
}

pub(super) fn replayed(replayed: Replayed) -> impl Serialize {
    ReplayedForm {
        handled: replayed.handled,
        failed: replayed.failed,
    }
}

pub(super) fn consumer(status: &ConsumerStatus) -> impl Serialize {
    let cursor = status.cursor.as_ref();
    ConsumerForm {
        consumer: status.id.consumer.as_str(),
        partition: status.id.partition,
        position: cursor.map(|cursor| show_position(cursor.at.position)),
        epoch: cursor.map(|cursor| cursor.at.epoch.to_string()),
        token: cursor.map(|cursor| cursor.token.get()),
        moved_at: cursor.map(|cursor| show_time(cursor.moved_at)),
        lag_events: status.lag.map(|lag| lag.events),
        lag_seconds: status.lag.map(|lag| lag.age.as_secs_f64()),
        dead_letters: status.dead,
        member: status.holder.as_ref().map(|member| member.label.as_str()),
        member_lease: status.holder.as_ref().map(|member| member.lease.get()),
        failing: status.failing.as_ref().map(|failing| FailingForm {
            event: failing.event.get(),
            key: key(&failing.key),
            attempts: failing.attempts,
            error: &failing.error,
            since: show_time(failing.since),
            told_at: show_time(failing.told_at),
        }),
    }
}

pub(super) fn member(member: &Member) -> impl Serialize {
    let held = member.partitions.iter();
    MemberForm {
        member: &member.label,
        lease: member.lease.get(),
        partitions: held
            .map(|(partition, token)| HeldForm {
                partition: *partition,
                token: token.get(),
            })
            .collect(),
    }
}

pub(super) fn lease(lease: &Lease) -> impl Serialize {
    lease_form(lease)
}

fn lease_form(lease: &Lease) -> LeaseForm {
    LeaseForm {
        lease: lease.id.get(),
        version: lease.version.get(),
        expired: false,
        expired_keys: None,
        term: term_form(lease),
    }
}

pub(super) fn expired(lease: &Lease, held: Option<&HeldKeys>) -> impl Serialize {
    LeaseForm {
        lease: lease.id.get(),
        version: lease.version.get(),
        expired: true,
        expired_keys: held.filter(|held| !held.more).map(|held| held.keys.len()),
        term: TermForm {
            remaining_ms: Some(0),
            ttl_ms: lease.ttl.map(milliseconds),
            ..TermForm::default()
        },
    }
}

pub(super) fn lease_with_keys(lease: &Lease, held: Option<&HeldKeys>) -> impl Serialize {
    LeaseWithKeysForm {
        lease: lease_form(lease),
        keys: held.map(|held| held.keys.iter().filter_map(Key::text).collect()),
        keys_base64: held
            .into_iter()
            .flat_map(|held| &held.keys)
            .filter(|key| key.text().is_none())
            .map(|key| BASE64.encode(key.as_bytes()))
            .collect(),
        more_keys: held.map(|held| held.more),
    }
}

fn term_form(lease: &Lease) -> TermForm {
    TermForm {
        expires_at: lease.expires_at.map(show_time),
        remaining_ms: lease.remaining().map(milliseconds),
        ttl_ms: lease.ttl.map(milliseconds),
    }
}

pub(super) fn snapshot(at: Snapshot) -> impl Serialize {
    snapshot_form(at)
}

pub(super) fn txn(answer: &TxnAnswer) -> Result<impl Serialize> {
    Ok(TxnForm {
        succeeded: answer.succeeded,
        rev: answer.rev.map(Revision::get),
        at: snapshot_form(answer.at),
        answers: answer.answers.iter().map(operation).collect::<Result<_>>()?,
    })
}

pub(super) fn status(status: &Status) -> impl Serialize {
    StatusForm {
        version: &status.version,
        store: &status.store,
        database: &status.database,
        time: show_time(status.time),
        epoch: status.head.epoch.to_string(),
        head: status.head.position.id.get(),
        position: show_position(status.head.position),
        rev: status.rev.get(),
        compacted: status.compacted.get(),
        keys: status.keys,
        events: status.events,
        leases: status.leases,
        replicas: status.replicas.iter().map(replica).collect(),
    }
}

fn replica(replica: &Replica) -> ReplicaForm<'_> {
    ReplicaForm {
        id: format!("{:016x}", replica.id),
        address: &replica.address,
        version: &replica.version,
        last_seen: show_time(replica.last_seen),
    }
}

pub(super) fn serving(server: &Server) -> impl Serialize {
    ServingForm {
        listening_on: server.listening_on(),
        endpoint: server.endpoint(),
        store: server.store(),
        metrics: server.metrics_url(),
    }
}

pub(super) fn failure(error: &str, message: &str, exit_code: u8) -> String {
    serde_json::json!({ "error": error, "message": message, "exit_code": exit_code }).to_string()
}

fn entry_form(entry: &Entry) -> Result<EntryForm<'_>> {
    Ok(EntryForm {
        value: Some(value(entry.inline_value()?)),
        ..state_form(entry)
    })
}

fn state_form(entry: &Entry) -> EntryForm<'_> {
    EntryForm {
        key: key(&entry.key),
        value: None,
        version: entry.version.get(),
        r#ref: entry.updated_ref.get(),
        rev: entry.updated_rev.get(),
        created_ref: entry.created_ref.get(),
        created_version: entry.created_version.get(),
        created_rev: entry.created_rev.get(),
        deleted_ref: entry.deleted_ref.map(EventId::get),
        lease: entry.lease_id.get(),
    }
}

fn operation(answer: &OperationAnswer) -> Result<AnswerForm<'_>> {
    Ok(match answer {
        OperationAnswer::Get(found) => AnswerForm::Get(found.as_ref().map(entry_form).transpose()?),
        OperationAnswer::Set(set) => AnswerForm::Set(state_form(set)),
        OperationAnswer::Delete(deleted) => AnswerForm::Delete(deleted.as_ref().map(state_form)),
        OperationAnswer::List(entries) => AnswerForm::List(entries.iter().map(entry_form).collect::<Result<_>>()?),
    })
}

fn snapshot_form(at: Snapshot) -> SnapshotForm {
    SnapshotForm {
        epoch: at.epoch.to_string(),
        position: show_position(at.position),
    }
}

fn key(key: &Key) -> KeyForm<'_> {
    match key.text() {
        Some(text) => KeyForm::Text(text),
        None => KeyForm::Bytes(BASE64.encode(key.as_bytes())),
    }
}

fn value(value: &[u8]) -> ValueForm<'_> {
    match std::str::from_utf8(value) {
        Ok(text) => ValueForm::Text(text),
        Err(_) => ValueForm::Bytes(BASE64.encode(value)),
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// An entry; without its value where only the state is told.
#[derive(Serialize)]
struct EntryForm<'a> {
    #[serde(flatten)]
    key: KeyForm<'a>,
    #[serde(flatten)]
    value: Option<ValueForm<'a>>,
    version: i64,
    r#ref: i64,
    rev: i64,
    created_ref: i64,
    created_version: i64,
    created_rev: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_ref: Option<i64>,
    lease: i64,
}

#[derive(Serialize)]
struct SetForm<'a> {
    #[serde(flatten)]
    entry: EntryForm<'a>,
    /// `None` if the lease could not be read.
    #[serde(flatten)]
    term: Option<TermForm>,
}

#[derive(Serialize)]
struct DeletedForm {
    deleted: u64,
}

/// The event that a consumer is given.
#[derive(Serialize)]
#[serde(untagged)]
enum DeliveryForm<'a> {
    Event(Box<EventForm<'a>>),
    State {
        r#type: &'static str,
        #[serde(flatten)]
        entry: Box<EntryForm<'a>>,
    },
}

#[derive(Serialize)]
struct DeadLetterForm<'a, D> {
    attempts: u32,
    error: &'a str,
    /// The key that it is kept under.
    dead_letter: String,
    #[serde(flatten)]
    delivery: D,
}

#[derive(Serialize)]
struct ReplayedForm {
    handled: usize,
    failed: usize,
}

#[derive(Serialize)]
struct ConsumerForm<'a> {
    consumer: &'a str,
    partition: u32,
    /// Null, as the next three, where there is no cursor in the store.
    position: Option<String>,
    epoch: Option<String>,
    token: Option<u64>,
    moved_at: Option<String>,
    /// Null where the position is gone, too.
    lag_events: Option<u64>,
    lag_seconds: Option<f64>,
    dead_letters: usize,
    /// Null where nobody holds the partition, or it is no group's.
    member: Option<&'a str>,
    member_lease: Option<i64>,
    /// Null where nothing fails at the moment.
    failing: Option<FailingForm<'a>>,
}

#[derive(Serialize)]
struct FailingForm<'a> {
    event: i64,
    #[serde(flatten)]
    key: KeyForm<'a>,
    attempts: u32,
    error: &'a str,
    since: String,
    told_at: String,
}

#[derive(Serialize)]
struct MemberForm<'a> {
    member: &'a str,
    lease: i64,
    partitions: Vec<HeldForm>,
}

#[derive(Serialize)]
struct HeldForm {
    partition: u32,
    token: u64,
}

/// An event, with the position to go on after it.
#[derive(Serialize)]
struct EventForm<'a> {
    id: i64,
    position: String,
    time: String,
    r#type: &'static str,
    #[serde(flatten)]
    key: KeyForm<'a>,
    #[serde(flatten)]
    value: Option<ValueForm<'a>>,
    version: i64,
    rev: i64,
    prev_ref: i64,
    created_ref: i64,
    created_version: i64,
    created_rev: i64,
    lease: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    /// As a header `traceparent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<String>,
}

#[derive(Serialize)]
enum KeyForm<'a> {
    #[serde(rename = "key")]
    Text(&'a str),
    #[serde(rename = "key_base64")]
    Bytes(String),
}

#[derive(Serialize)]
enum ValueForm<'a> {
    #[serde(rename = "value")]
    Text(&'a str),
    #[serde(rename = "value_base64")]
    Bytes(String),
}

#[derive(Serialize)]
struct LeaseForm {
    lease: i64,
    version: i64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    expired: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    expired_keys: Option<usize>,
    #[serde(flatten)]
    term: TermForm,
}

#[derive(Serialize)]
struct LeaseWithKeysForm<'a> {
    #[serde(flatten)]
    lease: LeaseForm,
    /// Absent where the server does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<Vec<&'a str>>,
    /// Keys that are no text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    keys_base64: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    more_keys: Option<bool>,
}

/// When a lease ends: all null where it does not by itself.
#[derive(Default, Serialize)]
struct TermForm {
    expires_at: Option<String>,
    remaining_ms: Option<u64>,
    ttl_ms: Option<u64>,
}

#[derive(Serialize)]
struct SnapshotForm {
    epoch: String,
    position: String,
}

#[derive(Serialize)]
struct TxnForm<'a> {
    succeeded: bool,
    rev: Option<i64>,
    at: SnapshotForm,
    answers: Vec<AnswerForm<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum AnswerForm<'a> {
    Get(Option<EntryForm<'a>>),
    Set(EntryForm<'a>),
    Delete(Option<EntryForm<'a>>),
    List(Vec<EntryForm<'a>>),
}

#[derive(Serialize)]
struct StatusForm<'a> {
    version: &'a str,
    store: &'a str,
    database: &'a str,
    time: String,
    epoch: String,
    head: i64,
    position: String,
    rev: i64,
    compacted: i64,
    keys: u64,
    events: u64,
    leases: u64,
    replicas: Vec<ReplicaForm<'a>>,
}

#[derive(Serialize)]
struct ReplicaForm<'a> {
    id: String,
    address: &'a str,
    version: &'a str,
    last_seen: String,
}

#[derive(Serialize)]
struct ServingForm<'a> {
    /// The address that the server listens at.
    listening_on: &'a str,
    /// The address at which clients on this machine reach the server.
    endpoint: &'a str,
    store: &'a str,
    metrics: Option<String>,
}
