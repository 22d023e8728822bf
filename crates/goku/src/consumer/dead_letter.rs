//! Dead letters: deliveries that were given up, kept as keys of the store.
//!
//! The key is `goku:consumers/dead/NAME/ID`, with the event's id in 19 digits, so that a list is in the order of the
//! events. The value is text for any language to read: lines of `name: text`, an empty line, the value of the event.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;

use super::RESERVED_PREFIX;
use super::handler::{Delivery, Failure};
use super::lines::{self, Lines};
use crate::client::Client;
use crate::clock::Timestamp;
use crate::cursor::ConsumerName;
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, EventType};
use crate::id::{EventId, LeaseId, Revision, Tag, Version};
use crate::key::{Key, Prefix};
use crate::limits::ENTRY_BYTES_MAX;
use crate::origin::Origin;
use crate::request::{DeleteRequest, ListRequest, SetRequest};
use crate::value::Value;

/// The type of a delivery that is no event.
const STATE: &str = "state";

/// A delivery that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The key of the dead letter; deleting it forgets the letter.
    pub key: Key,
    /// The delivery that was given up.
    pub delivery: Delivery,
    /// The number of attempts that failed.
    pub attempts: u32,
    /// Why the last one did.
    pub error: String,
}

/// Reads the dead letters of a consumer, in the order of the events.
///
/// # Errors
///
/// The errors of [`Client::list`], and `Internal` when a dead letter cannot be understood.
pub async fn dead_letters(client: &dyn Client, consumer: &ConsumerName) -> Result<Vec<DeadLetter>> {
    let prefix = Prefix::new(prefix_of(consumer))?;
    let mut entries = client.list(ListRequest::new(prefix)).await?;
    let mut letters = Vec::new();
    while let Some(entry) = entries.next().await {
        letters.push(read(entry?)?);
    }
    Ok(letters)
}

/// Counts the dead letters of each consumer that has some, by its name. With a `limit` only so many of all are counted, the
/// first by name. Their contents are not read.
///
/// # Errors
///
/// The errors of [`Client::list`].
pub async fn dead_letter_counts(
    client: &dyn Client,
    limit: impl Into<Option<usize>> + Send,
) -> Result<BTreeMap<String, usize>> {
    let prefix = prefix();
    let request = ListRequest {
        limit: limit.into(),
        keys_only: true,
        ..ListRequest::new(Prefix::new(&prefix)?)
    };
    let mut entries = client.list(request).await?;
    let mut counts = BTreeMap::new();
    while let Some(entry) = entries.next().await {
        let key = entry?.key;
        let rest = key.text().and_then(|key| key.strip_prefix(&prefix));
        if let Some((name, _)) = rest.and_then(|rest| rest.split_once('/')) {
            *counts.entry(name.to_owned()).or_default() += 1;
        }
    }
    Ok(counts)
}

/// The prefix of the keys of all dead letters.
fn prefix() -> String {
    format!("{RESERVED_PREFIX}dead/")
}

/// The prefix of the keys of a consumer's dead letters.
fn prefix_of(consumer: &ConsumerName) -> String {
    format!("{}{consumer}/", prefix())
}

/// Keeps a delivery; one that is kept already is written anew.
pub(super) async fn keep(
    client: &dyn Client,
    consumer: &ConsumerName,
    delivery: &Delivery,
    attempts: u32,
    failure: &Failure,
) -> Result<()> {
    let key = Key::new(format!("{}{:019}", prefix_of(consumer), delivery.id().get()))?;
    let mut error = failure.to_string();
    let mut value = write(delivery, attempts, &error)?;
    if key.as_bytes().len() + value.len() > ENTRY_BYTES_MAX {
        // The largest values leave no room for a long story.
        error.truncate(0);
        value = write(delivery, attempts, &error)?;
    }
    client.set(SetRequest::new(key, value)).await.map(drop)
}

/// Removes a dead letter; one that is gone already was removed.
pub(super) async fn remove(client: &dyn Client, letter: &DeadLetter) -> Result<()> {
    match client.delete(DeleteRequest::new(letter.key.clone())).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        outcome => outcome.map(drop),
    }
}

fn write(delivery: &Delivery, attempts: u32, error: &str) -> Result<Bytes> {
    let mut lines: Vec<(&str, Vec<u8>)> = vec![
        ("attempts", attempts.to_string().into()),
        ("error", lines::shortened(error).into()),
        ("key", delivery.key().as_bytes().to_vec()),
    ];
    let value = match delivery {
        Delivery::State(entry) => {
            lines.push(("type", STATE.into()));
            lines.extend(numbers(
                entry.updated_ref,
                entry.updated_rev,
                entry.version,
                entry.created_ref,
                entry.created_version,
                entry.created_rev,
                entry.lease_id,
            ));
            lines.extend(leased_line(entry.leased));
            entry.inline_value()?
        }
        Delivery::Event(event) => {
            lines.push(("type", event.event_type.name().into()));
            lines.extend(numbers(
                event.id,
                event.rev,
                event.version,
                event.created_ref,
                event.created_version,
                event.created_rev,
                event.lease_id,
            ));
            lines.extend(leased_line(event.leased));
            lines.push(("tag", event.tag.get().to_string().into()));
            lines.push(("timestamp-ms", event.timestamp.as_millis().to_string().into()));
            lines.push(("prev-ref", event.prev_ref.to_string().into()));
            lines.extend(event.origin.iter().flat_map(|origin| origin_lines(origin)));
            event.inline_value()?
        }
    };
    let mut bytes = lines::write(&lines);
    bytes.extend_from_slice(value);
    Ok(bytes.into())
}

fn numbers(
    id: EventId,
    rev: Revision,
    version: Version,
    created_ref: EventId,
    created_version: Version,
    created_rev: Revision,
    lease_id: LeaseId,
) -> [(&'static str, Vec<u8>); 7] {
    [
        ("id", id.to_string().into()),
        ("rev", rev.to_string().into()),
        ("version", version.to_string().into()),
        ("created-ref", created_ref.to_string().into()),
        ("created-version", created_version.to_string().into()),
        ("created-rev", created_rev.to_string().into()),
        ("lease-id", lease_id.to_string().into()),
    ]
}

/// Where the event comes from, as far as that is known.
fn origin_lines(origin: &Origin) -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    let actor = origin.actor().map(|actor| ("actor", actor.into()));
    let request_id = origin.request_id().map(|id| ("request-id", id.into()));
    let trace = origin.trace().map(|trace| ("traceparent", trace.to_string().into()));
    [actor, request_id, trace].into_iter().flatten()
}

fn origin_of(lines: &Lines<'_>) -> Result<Option<Arc<Origin>>> {
    let text = |name: &str| lines.text(name).unwrap_or_default();
    let origin = Origin::default()
        .with_actor(text("actor"))?
        .with_request_id(text("request-id"))?;
    let origin = match lines.text("traceparent") {
        Some(trace) => origin.with_trace(trace.parse()?),
        None => origin,
    };
    Ok(origin.shared())
}

/// Whether the lease was granted, where that is known.
fn leased_line(leased: Option<bool>) -> Option<(&'static str, Vec<u8>)> {
    leased.map(|leased| ("leased", leased.to_string().into()))
}

fn read(entry: Entry) -> Result<DeadLetter> {
    let (lines, rest) = Lines::read(entry.inline_value()?).ok_or_else(|| malformed(&entry.key, "it has no lines"))?;
    let text = |name: &str| {
        let line = lines.text(name);
        line.ok_or_else(|| malformed(&entry.key, &format!("it has no line {name:?}")))
    };
    let number = |name: &str| {
        let number = text(name)?.parse::<i64>();
        number.map_err(|_| malformed(&entry.key, &format!("its line {name:?} is no number")))
    };
    let key = lines
        .bytes("key")
        .ok_or_else(|| malformed(&entry.key, "it has no line \"key\""))?;
    let key = Key::from_bytes(key)?;
    let (version, created_version) = (
        Version::new(number("version")?)?,
        Version::new(number("created-version")?)?,
    );
    let (created_ref, created_rev) = (
        EventId::new(number("created-ref")?)?,
        Revision::new(number("created-rev")?)?,
    );
    let (id, rev) = (EventId::new(number("id")?)?, Revision::new(number("rev")?)?);
    let lease_id = LeaseId::new(number("lease-id")?)?;
    let leased = lines.text("leased").and_then(|leased| leased.parse().ok());
    let event_type = text("type")?;
    let value = Value::from(rest);
    let delivery = if event_type == STATE {
        Delivery::State(Entry {
            key,
            value,
            version,
            created_ref,
            updated_ref: id,
            deleted_ref: None,
            lease_id,
            leased,
            created_version,
            created_rev,
            updated_rev: rev,
        })
    } else {
        let known = EventType::ALL.into_iter().find(|known| known.name() == event_type);
        let tag = text("tag")?
            .parse()
            .map_err(|_| malformed(&entry.key, "its tag is no number"))?;
        Delivery::Event(Event {
            id,
            rev,
            tag: Tag::new(tag),
            event_type: known.ok_or_else(|| malformed(&entry.key, "its type is unknown"))?,
            key,
            timestamp: Timestamp::from_millis(number("timestamp-ms")?)?,
            value,
            version,
            created_ref,
            created_version,
            created_rev,
            lease_id,
            leased,
            prev_ref: EventId::new(number("prev-ref")?)?,
            origin: origin_of(&lines)?,
        })
    };
    let attempts = u32::try_from(number("attempts")?).unwrap_or(u32::MAX);
    let error = text("error")?;
    Ok(DeadLetter {
        key: entry.key,
        delivery,
        attempts,
        error,
    })
}

fn malformed(key: &Key, why: &str) -> Error {
    Error::new(ErrorKind::Internal, format!("{key:?} is no dead letter: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(value: Bytes) -> Entry {
        Entry {
            key: Key::new("goku:consumers/dead/c/1").unwrap(),
            value: value.into(),
            version: Version::FIRST,
            created_ref: EventId::ZERO,
            updated_ref: EventId::ZERO,
            deleted_ref: None,
            lease_id: LeaseId::new(1).unwrap(),
            leased: None,
            created_version: Version::FIRST,
            created_rev: Revision::default(),
            updated_rev: Revision::default(),
        }
    }

    fn origin() -> Origin {
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let origin = Origin::default().with_actor("a\n").unwrap();
        origin.with_request_id("%r").unwrap().with_trace(trace.parse().unwrap())
    }

    fn event(event_type: EventType, key: &str, value: &[u8]) -> Delivery {
        Delivery::Event(Event {
            id: EventId::new(i64::MAX).unwrap(),
            rev: Revision::new(2).unwrap(),
            tag: Tag::new(u64::MAX),
            event_type,
            key: Key::new(key).unwrap(),
            timestamp: Timestamp::from_millis(-5).unwrap(),
            value: value.into(),
            version: Version::new(3).unwrap(),
            created_ref: EventId::new(4).unwrap(),
            created_version: Version::new(1).unwrap(),
            created_rev: Revision::new(6).unwrap(),
            lease_id: LeaseId::new(7).unwrap(),
            leased: Some(true),
            prev_ref: EventId::new(8).unwrap(),
            origin: (event_type == EventType::Delete).then(|| Arc::new(origin())),
        })
    }

    #[test]
    fn a_dead_letter_is_read_as_it_was_written() {
        let mut state = entry(Bytes::from_static(b"\n\n\0"));
        state.key = Key::new("a: b").unwrap();
        let mut of_bytes = state.clone();
        of_bytes.key = Key::from_bytes(b"%\xff%FF\r\xc3").unwrap();
        let deliveries = [
            event(EventType::Set, "k", b"v"),
            event(EventType::Set, "\n\n%0A%\r: ", b"\n\nvalue\n\n"),
            event(EventType::Delete, "k", b""),
            Delivery::State(state),
            Delivery::State(of_bytes),
        ];
        for delivery in deliveries {
            for error in ["", "it\nfailed: 100 % %25\r"] {
                let letter = read(entry(write(&delivery, 5, error).unwrap())).unwrap();
                assert_eq!((letter.attempts, letter.error.as_str()), (5, error));
                assert_eq!(letter.delivery, delivery);
            }
        }
    }

    #[test]
    fn a_delivery_with_a_large_value_becomes_no_dead_letter() {
        let change = Delivery::Event(Event {
            value: Value::large(5_000_000_000),
            ..event(EventType::Set, "k", b"").event().unwrap().clone()
        });
        let state = Delivery::State(Entry {
            value: Value::large(5_000_000_000),
            ..entry(Bytes::new())
        });
        for delivery in [change, state] {
            assert_eq!(write(&delivery, 5, "").unwrap_err().kind(), ErrorKind::TooLarge);
            assert_eq!(delivery.inline_value().unwrap_err().kind(), ErrorKind::TooLarge);
        }
        assert_eq!(event(EventType::Delete, "k", b"").inline_value().unwrap(), None);
    }

    #[test]
    fn what_is_no_dead_letter_is_told() {
        for value in ["", "key: k\n\n", "no lines"] {
            let error = read(entry(Bytes::copy_from_slice(value.as_bytes()))).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Internal);
        }
    }
}
