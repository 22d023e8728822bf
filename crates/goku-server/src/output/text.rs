//! Text for people, which still cuts into columns at its tabs.

use std::fmt::Write;
use std::time::Duration;

use goku::consumer::{DeadLetter, Member};
use goku::{Entry, Event, EventType, Key, Lease, Status};
use goku_server::Server;

use crate::cli::{Standing, show_duration, show_position, show_time};

/// Characters of a value that are shown before it is cut.
const PREVIEW_CHARACTERS_MAX: usize = 80;

/// A key, as it is or, where it has control characters or begins with a quote, as a JSON string.
pub(super) fn key(key: &Key) -> String {
    quoted(key.as_str())
}

/// What a later condition needs: version, ref and lease.
pub(super) fn state(entry: &Entry) -> String {
    format!(
        "version {}\tref {}\tlease {}",
        entry.version, entry.updated_ref, entry.lease_id
    )
}

/// Key, version and value.
pub(super) fn row(entry: &Entry) -> String {
    format!("{}\t{}\t{}", key(&entry.key), entry.version, preview(&entry.value))
}

/// Id, time, type, key, version and, for a Set, value.
pub(super) fn event(event: &Event) -> String {
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
        line.push_str(&preview(&event.value));
    }
    line
}

/// Id, version, deadline with what remains, time to live.
pub(super) fn lease(lease: &Lease) -> String {
    let mut line = format!("lease {}\tversion {}\t", lease.id, lease.version);
    match (lease.expires_at, lease.remaining()) {
        (Some(expires_at), Some(remaining)) => {
            line.push_str(&format!(
                "expires {} (in {})",
                show_time(expires_at),
                show_duration(remaining)
            ));
        }
        _ => line.push_str("no deadline"),
    }
    if let Some(ttl) = lease.ttl {
        line.push_str(&format!("\tttl {}", show_duration(ttl)));
    }
    line
}

/// Name, partition, position, lag, dead letters, when the cursor was moved, and who holds the partition.
pub(super) fn consumer(standing: &Standing) -> String {
    let Standing {
        cursor,
        lag,
        dead,
        holder,
    } = standing;
    let holder = holder.as_ref();
    let holder = holder.map(|member| format!("\theld by {} (lease {})", quoted(&member.label), member.lease));
    let lag = match lag {
        Some(lag) if lag.events == 0 => "at the head".to_owned(),
        Some(lag) => {
            let age = Duration::from_secs(lag.age.as_secs());
            format!("{} events behind ({})", lag.events, show_duration(age))
        }
        None => "position gone".to_owned(),
    };
    format!(
        "{}\t{}\t{}\t{lag}\t{dead} dead\tmoved {}{}",
        quoted(cursor.id.consumer.as_str()),
        cursor.id.partition,
        show_position(cursor.at.position),
        show_time(cursor.moved_at),
        holder.unwrap_or_default(),
    )
}

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
        ("head", show_position(status.head.position)),
        ("revision", status.rev.to_string()),
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

/// Where a server listens, and last, when all is there, its store.
pub(super) fn serving(server: &Server) -> String {
    let metrics = server
        .metrics_url()
        .map_or_else(String::new, |url| format!("metrics at {url}\n"));
    format!(
        "listening on {}\n{metrics}store {}\n",
        server.endpoint(),
        server.store()
    )
}

fn quoted(text: &str) -> String {
    if text.starts_with('"') || text.chars().any(char::is_control) {
        serde_json::Value::from(text).to_string()
    } else {
        text.to_string()
    }
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
            (format!("b\"{}\"", head.escape_ascii()), head.len() < value.len())
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
    fn long_values_are_cut_between_characters() {
        let value = "é".repeat(81);
        assert_eq!(preview(value.as_bytes()), format!("{}… (162 bytes)", "é".repeat(80)));
        assert_eq!(preview("é".repeat(80).as_bytes()), "é".repeat(80));
        assert!(preview(&[0xff; 1000]).ends_with("… (1000 bytes)"));
    }
}
