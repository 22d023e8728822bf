//! Text for people, which still cuts into columns at its tabs.

use std::fmt::Write;
use std::time::Duration;

use goku::consumer::{DeadLetter, Member};
use goku::{Entry, Event, EventType, Key, Lease, Result, Status};
use goku_server::Server;

use super::Term;
use super::consumer_status::ConsumerStatus;
use super::held_keys::HeldKeys;
use crate::position::show as show_position;
use crate::time::{show as show_time, show_duration, show_remaining};

/// Characters of a value that are shown before it is cut.
const PREVIEW_CHARACTERS_MAX: usize = 80;

/// A key, as it is or, where it has control characters or begins with a quote, as a JSON string; one that is no text as
/// `b"\xff\x00"`.
pub(super) fn key(key: &Key) -> String {
    match key.text() {
        Some(text) => quoted(text),
        None => bytes(key.as_bytes()),
    }
}

/// The state that a later condition needs: version, ref and lease.
pub(super) fn state(entry: &Entry) -> String {
    format!(
        "version {}\tref {}\tlease {}",
        entry.version, entry.updated_ref, entry.lease_id
    )
}

/// When the key of a state ends.
pub(super) fn term(term: Term) -> String {
    match term {
        Term::Endless | Term::Unknown => String::new(),
        Term::Ended => ", expired already".to_owned(),
        Term::Of(lease) => lease.remaining().map_or_else(String::new, |remaining| {
            format!(", expires in {}", show_remaining(remaining))
        }),
    }
}

/// The columns of a [`row`].
pub(super) const ROW: [&str; 3] = ["key", "version", "value"];

/// Key, version and value.
pub(super) fn row(entry: &Entry) -> Result<String> {
    let value = preview(entry.inline_value()?);
    Ok(format!("{}\t{}\t{value}", key(&entry.key), entry.version))
}

/// The columns of an [`event`].
pub(super) const EVENT: [&str; 6] = ["id", "time", "type", "key", "version", "value"];

/// Id, time, type, key, version and, for a Set, value.
pub(super) fn event(event: &Event) -> Result<String> {
    let mut line = format!(
        "{}\t{}\t{}\t{}\t{}",
        event.id,
        show_time(event.timestamp),
        event.event_type.name(),
        key(&event.key),
        event.version
    );
    if event.event_type == EventType::Set {
        line.push('\t');
        line.push_str(&preview(event.inline_value()?));
    }
    Ok(line)
}

/// Id and version of a lease that has ended, and how many keys it had.
pub(super) fn expired(lease: &Lease, held: Option<&HeldKeys>) -> String {
    let keys = match held {
        None => String::new(),
        Some(held) if held.more => format!("\tmore than {} keys", held.keys.len()),
        Some(held) => format!("\t{} keys", held.keys.len()),
    };
    format!("lease {}\tversion {}\texpired{keys}", lease.id, lease.version)
}

/// Id, version, deadline with what remains, time to live.
pub(super) fn lease(lease: &Lease) -> String {
    let mut line = format!("lease {}\tversion {}\t", lease.id, lease.version);
    match (lease.expires_at, lease.remaining()) {
        (Some(expires_at), Some(remaining)) => {
            line.push_str(&format!(
                "expires {} (in {})",
                show_time(expires_at),
                show_remaining(remaining)
            ));
        }
        _ => line.push_str("no deadline"),
    }
    if let Some(ttl) = lease.ttl {
        line.push_str(&format!("\tttl {}", show_duration(ttl)));
    }
    line
}

/// The columns of a [`consumer`].
pub(super) const CONSUMER: [&str; 8] = [
    "consumer",
    "partition",
    "position",
    "lag",
    "dead_letters",
    "moved_at",
    "member",
    "failing",
];

/// Name, partition, position, lag, dead letters, when the cursor was moved, who holds the partition, and what fails.
pub(super) fn consumer(status: &ConsumerStatus) -> String {
    let ConsumerStatus {
        id,
        cursor,
        lag,
        dead,
        holder,
        failing,
    } = status;
    let cursor = cursor.as_ref();
    let position = cursor.map_or_else(|| "-".to_owned(), |cursor| show_position(cursor.at.position));
    let moved = cursor.map_or_else(|| "-".to_owned(), |cursor| show_time(cursor.moved_at));
    let lag = match (cursor, lag) {
        (_, Some(lag)) if lag.events == 0 => "at the head".to_owned(),
        (_, Some(lag)) => {
            let age = Duration::from_secs(lag.age.as_secs());
            format!("{} events behind ({})", lag.events, show_duration(age))
        }
        (Some(_), None) => "position gone".to_owned(),
        (None, None) => "no cursor here".to_owned(),
    };
    let mut line = format!(
        "{}\t{}\t{position}\t{lag}\t{dead} dead\tmoved {moved}",
        quoted(id.consumer.as_str()),
        id.partition,
    );
    match holder {
        Some(member) => line.push_str(&format!("\theld by {} (lease {})", quoted(&member.label), member.lease)),
        None if failing.is_some() => line.push_str("\t-"),
        None => {}
    }
    if let Some(failing) = failing {
        line.push_str(&format!(
            "\tfailing since {}: event {} of {}, {} attempts: {}",
            show_time(failing.since),
            failing.event,
            key(&failing.key),
            failing.attempts,
            quoted(&failing.error)
        ));
    }
    line
}

/// The columns of a [`member`].
pub(super) const MEMBER: [&str; 4] = ["member", "lease", "held", "partitions"];

/// Label, lease and partitions.
pub(super) fn member(member: &Member) -> String {
    let partitions: Vec<_> = member
        .partitions
        .iter()
        .map(|(partition, _)| partition.to_string())
        .collect();
    format!(
        "{}\tlease {}\t{} partitions\t{}",
        quoted(&member.label),
        member.lease,
        partitions.len(),
        partitions.join(" ")
    )
}

/// The columns of a [`dead_letter`].
pub(super) const DEAD_LETTER: [&str; 4] = ["id", "key", "attempts", "error"];

/// Event, key, attempts and the error of the last.
pub(super) fn dead_letter(letter: &DeadLetter) -> String {
    format!(
        "{}\t{}\t{} attempts\t{}",
        letter.delivery.id(),
        key(letter.delivery.key()),
        letter.attempts,
        quoted(&letter.error)
    )
}

pub(super) fn status(status: &Status) -> String {
    let mut text = String::new();
    for (name, value) in [
        ("version", status.version.clone()),
        ("store", status.store.clone()),
        ("database", status.database.clone()),
        ("time", show_time(status.time)),
        ("epoch", status.head.epoch.to_string()),
        ("head", status.head.position.id.to_string()),
        ("position", show_position(status.head.position)),
        ("rev", status.rev.to_string()),
        ("compacted", status.compacted.to_string()),
        ("keys", status.keys.to_string()),
        ("events", status.events.to_string()),
        ("leases", status.leases.to_string()),
    ] {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<10} {value}");
    }
    for replica in &status.replicas {
        let address = if replica.address.is_empty() {
            "(embedded)"
        } else {
            &replica.address
        };
        let silence = show_duration(Duration::from_secs(
            status.time.saturating_since(replica.last_seen).as_secs(),
        ));
        let _ = writeln!(
            text,
            "{:<10} {address} version {} seen {silence} ago",
            "replica", replica.version
        );
    }
    text
}

/// The addresses of a server, and last, when all is there, its store.
pub(super) fn serving(server: &Server) -> String {
    let metrics = server
        .metrics_url()
        .map_or_else(String::new, |url| format!("metrics at {url}\n"));
    format!(
        "listening on {}\n{metrics}store {}\n",
        server.listening_on(),
        server.store()
    )
}

/// A value as a terminal shows it harmlessly: lines as they are, other control characters and what is not UTF-8 as `\x1b`.
/// The text ends without the end of its last line.
pub(super) fn visible(value: &[u8]) -> String {
    let mut text = String::new();
    for chunk in value.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\n' | '\t' => text.push(character),
                control if control.is_control() => {
                    // Writing to a string cannot fail.
                    let _ = write!(text, "\\x{:02x}", u32::from(control));
                }
                plain => text.push(plain),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    if text.ends_with('\n') {
        text.pop();
    }
    text
}

/// Text as it is or, where it would break its line or be taken for something else, as a JSON string.
fn quoted(text: &str) -> String {
    if text.starts_with('"') || text.starts_with("b\"") || text.chars().any(char::is_control) {
        serde_json::Value::from(text).to_string()
    } else {
        text.to_string()
    }
}

fn bytes(bytes: &[u8]) -> String {
    format!("b\"{}\"", bytes.escape_ascii())
}

/// The beginning of a value: text as keys are written, other bytes as `b"\xff\x00"`.
fn preview(value: &[u8]) -> String {
    let (shown, cut) = match std::str::from_utf8(value) {
        Ok(text) => {
            let head: String = text.chars().take(PREVIEW_CHARACTERS_MAX).collect();
            let cut = head.len() < text.len();
            (quoted(&head), cut)
        }
        Err(_) => {
            let head = &value[..value.len().min(PREVIEW_CHARACTERS_MAX / 2)];
            (bytes(head), head.len() < value.len())
        }
    };
    if cut {
        format!("{shown}… ({} bytes)", value.len())
    } else {
        shown
    }
}

#[cfg(test)]
mod tests {
    use goku::{BlobId, ErrorKind, EventId, LargeRef, LeaseId, Revision, Tag, Timestamp, Value, Version};

    use super::super::json;
    use super::*;

    #[test]
    fn what_is_readable_is_shown_as_it_is() {
        for plain in ["", "a", "a b", "100%", "back\\slash", "say \"so\"", "é✓"] {
            assert_eq!(quoted(plain), plain);
            assert_eq!(preview(plain.as_bytes()), plain);
        }
    }

    #[test]
    fn what_would_break_the_line_is_quoted() {
        for (text, shown) in [
            ("a\tb", r#""a\tb""#),
            ("a\n", r#""a\n""#),
            ("\0", r#""\u0000""#),
            ("\u{1b}[2J", r#""\u001b[2J""#),
            ("\"a\"", r#""\"a\"""#),
        ] {
            assert_eq!(quoted(text), shown);
        }
        assert_eq!(preview(b"a\xff\x00"), r#"b"a\xff\x00""#);
    }

    #[test]
    fn text_is_not_taken_for_bytes() {
        assert_eq!(preview(br#"b"a\xff""#), r#""b\"a\\xff\"""#);
    }

    #[test]
    fn a_value_is_harmless_to_a_terminal() {
        for (value, shown) in [
            (&b"hello"[..], "hello"),
            (b"two\n\tlines\n", "two\n\tlines"),
            (b"\x1b[2J\r\x07", r"\x1b[2J\x0d\x07"),
            (b"\xff\x00", r"\xff\x00"),
            ("\u{9b}é".as_bytes(), r"\x9bé"),
            (b"", ""),
        ] {
            assert_eq!(visible(value), shown);
        }
    }

    #[test]
    fn a_large_value_is_an_error_and_no_empty_column() {
        let mut event = Event {
            id: EventId::ZERO,
            rev: Revision::default(),
            tag: Tag::default(),
            event_type: EventType::Set,
            key: Key::new("k").unwrap(),
            timestamp: Timestamp::default(),
            value: Value::Large(LargeRef::new(BlobId::new(1), 5_000_000_000, [2; 32])),
            version: Version::FIRST,
            created_ref: EventId::ZERO,
            created_version: Version::FIRST,
            created_rev: Revision::default(),
            lease_id: LeaseId::new(1).unwrap(),
            leased: None,
            prev_ref: EventId::ZERO,
            origin: None,
        };
        assert_eq!(super::event(&event).unwrap_err().kind(), ErrorKind::TooLarge);
        assert_eq!(json::event(&event).err().unwrap().kind(), ErrorKind::TooLarge);
        event.value = "v".into();
        assert!(super::event(&event).unwrap().ends_with("\tk\t1\tv"));
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        let value = "é".repeat(81);
        assert_eq!(preview(value.as_bytes()), format!("{}… (162 bytes)", "é".repeat(80)));
        assert_eq!(preview("é".repeat(80).as_bytes()), "é".repeat(80));
        assert!(preview(&[0xff; 1000]).ends_with("… (1000 bytes)"));
    }
}
