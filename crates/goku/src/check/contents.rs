//! Judgements of a store: its format, its history, its consumers, the replicas that use it and its settings.

use std::collections::BTreeSet;
use std::time::Duration;

use super::finding::{Finding, Subject};
use crate::access;
use crate::clock::Timestamp;
use crate::cursor::Cursor;
use crate::id::Snapshot;
use crate::setting::Setting;
use crate::status::Replica;

/// The time by which the clocks of the database and of this machine may differ before there is a warning, in milliseconds.
pub const CLOCK_WARN_MS: i64 = 1_000;

/// The time by which the clocks of the database and of this machine may differ before it is an error, in milliseconds.
pub const CLOCK_ERROR_MS: i64 = 10_000;

/// The bytes of the log from which there is a warning: nothing removes events.
pub const LOG_BYTES_WARN: u64 = 10 * 1024 * 1024 * 1024;

/// The time without a move from which a cursor that has events before it is taken to stand still.
pub const CURSOR_IDLE_MAX: Duration = Duration::from_secs(24 * 3600);

/// Cursors, settings or replicas that a finding names.
const NAMED_MAX: usize = 5;

/// The clock of a database, which was ahead of this machine's by so many milliseconds when it was asked, within an answer that took
/// `round_trip_ms`.
pub fn clock(ahead_ms: i64, round_trip_ms: i64) -> Finding {
    const CLOCK: Subject = Subject::database("clock");
    // The question was read at some time between its sending and the answer.
    let at_least = ahead_ms
        .saturating_abs()
        .saturating_sub(round_trip_ms.max(0) / 2)
        .max(0);
    let message = format!(
        "the database's clock is {} ms {} this machine's: leases and times of events go by the former, tokens and certificates by \
         the latter",
        ahead_ms.unsigned_abs(),
        if ahead_ms < 0 { "behind" } else { "ahead of" },
    );
    const ADVICE: &str = "have both clocks set by NTP: `timedatectl set-ntp true`, and see `timedatectl timesync-status` on both machines";
    match at_least {
        CLOCK_ERROR_MS.. => CLOCK.error(message, ADVICE),
        CLOCK_WARN_MS.. => CLOCK.warning(message, ADVICE),
        _ => CLOCK.ok(format!(
            "the database's clock and this machine's are within {CLOCK_WARN_MS} ms of each other"
        )),
    }
}

/// The format of a store's tables, where there are any, beside the format that this program knows.
pub(crate) fn format(found: Option<i64>, known: i64) -> Finding {
    const FORMAT: Subject = Subject::store("format");
    match found {
        None => FORMAT.ok(format!("there are no tables yet: the first start makes them, in format {known}")),
        Some(found) if found > known => FORMAT.error(
            format!("the tables have format {found}, and this goku knows {known}"),
            "use a newer goku",
        ),
        Some(found) if found < known => FORMAT.warning(
            format!("the tables have format {found}, and this goku writes {known}: what an earlier goku cannot read is refused"),
            "start this version, and stop the servers of earlier ones: the format is raised when none is left",
        ),
        Some(found) => FORMAT.ok(format!("the tables have format {found}")),
    }
}

/// The history that a store is in, and the cursors that stand in an earlier one, or beyond its end.
pub fn epoch(head: &Snapshot, cursors: &[Cursor]) -> Finding {
    const EPOCH: Subject = Subject::store("epoch");
    let number = head.epoch.number();
    let history = match number {
        1 => "all events that were ever seen are there".to_owned(),
        _ => format!(
            "history {number}: the database came back {} times without events that had been seen",
            number.saturating_sub(1)
        ),
    };
    let lost: Vec<_> = cursors.iter().filter(|cursor| is_lost(cursor, head)).collect();
    if lost.is_empty() {
        return EPOCH.ok(history);
    }
    EPOCH.warning(
        format!(
            "at events that the store does not have: {} ({}); {history}",
            counted(lost.len(), "cursor"),
            named(&lost)
        ),
        "look at what these consumers have done, then `goku consumers reset NAME --to ID`",
    )
}

fn is_lost(cursor: &Cursor, head: &Snapshot) -> bool {
    cursor.at.epoch != head.epoch || cursor.at.position.id > head.position.id
}

/// The cursors of consumers at a time: which of them stand still though there are events for them to pass.
pub fn cursors(cursors: &[Cursor], head: &Snapshot, now: Timestamp) -> Finding {
    const CURSORS: Subject = Subject::store("cursors");
    let idle_since = now.saturating_sub(CURSOR_IDLE_MAX);
    let still: Vec<_> = cursors
        .iter()
        .filter(|cursor| {
            !is_lost(cursor, head) && cursor.at.position.id < head.position.id && cursor.moved_at < idle_since
        })
        .collect();
    if still.is_empty() {
        let count = counted(cursors.len(), "cursor");
        return CURSORS.ok(format!("of {count} none stands still before events"));
    }
    CURSORS.warning(
        format!(
            "not moved for {} h or more, with events to pass: {} ({})",
            CURSOR_IDLE_MAX.as_secs() / 3600,
            counted(still.len(), "cursor"),
            named(&still)
        ),
        "start these consumers, see what fails with `goku consumers`, or `goku consumers delete NAME` where they are gone for good",
    )
}

fn named(cursors: &[&Cursor]) -> String {
    let names: BTreeSet<_> = cursors.iter().map(|cursor| cursor.id.consumer.as_str()).collect();
    some_of(names.iter().map(|name| format!("{name:?}")))
}

/// The bytes that the log takes in the database, as the database tells them.
pub(crate) fn log_bytes(bytes: u64) -> Finding {
    const LOG: Subject = Subject::store("log");
    let message = format!("the log takes {}", mebibytes(bytes));
    match bytes {
        LOG_BYTES_WARN.. => LOG.warning(
            format!("{message}, and goes on to grow: nothing removes events in this version"),
            "see to it that the database's disk has room, and that keys are not written more often than they change",
        ),
        _ => LOG.ok(message),
    }
}

/// The replicas that use a store at the moment, beside the version of this program.
pub fn replicas(replicas: &[Replica], version: &str) -> Finding {
    const REPLICAS: Subject = Subject::store("replicas");
    let versions: BTreeSet<_> = replicas.iter().map(|replica| replica.version.as_str()).collect();
    let told = || {
        some_of(
            replicas
                .iter()
                .map(|replica| format!("{} {}", replica.address, replica.version)),
        )
    };
    match versions.len() {
        0 => REPLICAS.ok("no server uses the store at the moment"),
        1 if versions.contains(version) => {
            REPLICAS.ok(format!("{} of version {version}", counted(replicas.len(), "server")))
        }
        1 => REPLICAS.warning(
            format!("this program is {version}, the servers are others ({})", told()),
            "run `goku check` of the version that serves",
        ),
        _ => REPLICAS.warning(
            format!("the servers have different versions ({})", told()),
            "go on with the upgrade: what an earlier version cannot read is refused until its servers are gone",
        ),
    }
}

/// The settings of a store: those whose values this program cannot read, with the reason.
pub(crate) fn settings<'s>(settings: impl Iterator<Item = &'s Setting>) -> Finding {
    const SETTINGS: Subject = Subject::store("settings");
    let mut count = 0;
    let mut unreadable = Vec::new();
    for setting in settings {
        count += 1;
        if let Err(error) = access::check_value(&setting.name, Some(&setting.value)) {
            unreadable.push(error.message().to_owned());
        }
    }
    if unreadable.is_empty() {
        return SETTINGS.ok(format!("this goku can read {}", counted(count, "setting")));
    }
    SETTINGS.error(
        format!(
            "without effect, since this goku cannot read the value: {} ({})",
            counted(unreadable.len(), "setting"),
            some_of(unreadable.into_iter())
        ),
        "set them anew by `goku role set`, `goku token create` or `goku auth enable`, or use the goku that set them",
    )
}

/// A number of things by their name.
pub(crate) fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// Some of many, separated by commas.
fn some_of(names: impl ExactSizeIterator<Item = String>) -> String {
    let more = names.len().saturating_sub(NAMED_MAX);
    let mut told: Vec<_> = names.take(NAMED_MAX).collect();
    if more > 0 {
        told.push(format!("and {more} more"));
    }
    told.join(", ")
}

/// A number of bytes as people read it.
pub(crate) fn mebibytes(bytes: u64) -> String {
    const MIB: u64 = 1024 * 1024;
    const TEN_GIB: u64 = 10 * 1024 * MIB;
    match bytes {
        TEN_GIB.. => format!("{} GiB", bytes / (1024 * MIB)),
        MIB.. => format!("{} MiB", bytes / MIB),
        _ => format!("{} KiB", bytes.div_ceil(1024)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Severity::{self, Error as Wrong, Ok as Good, Warning};
    use crate::cursor::{ConsumerName, CursorId};
    use crate::id::{Epoch, EventId, FencingToken, Position, SettingsRev, Tag};
    use crate::setting::SettingName;

    const EPOCH_OF_HEAD: Epoch = Epoch::new(2, 7);

    fn at(epoch: Epoch, event: i64) -> Snapshot {
        Snapshot {
            epoch,
            position: Position {
                id: EventId::new(event).unwrap(),
                tag: Tag::new(1),
            },
            rev: None,
        }
    }

    fn cursor(name: &str, at: Snapshot, moved_at: i64) -> Cursor {
        Cursor {
            id: CursorId {
                consumer: ConsumerName::new(name).unwrap(),
                partition: 0,
            },
            at,
            token: FencingToken::new(1),
            moved_at: Timestamp::from_millis(moved_at).unwrap(),
        }
    }

    fn replica(version: &str) -> Replica {
        Replica {
            id: 1,
            address: "a:1".to_owned(),
            version: version.to_owned(),
            last_seen: Timestamp::MIN,
        }
    }

    #[test]
    fn clocks_are_compared_within_what_can_be_known() {
        for (ahead_ms, round_trip_ms, severity) in [
            (0, 0, Good),
            (999, 0, Good),
            (-999, 0, Good),
            (1_000, 0, Warning),
            (-1_000, 0, Warning),
            (1_400, 1_000, Good),
            (9_999, 0, Warning),
            (10_000, 0, Wrong),
            (-10_000, 0, Wrong),
            (i64::MIN, 0, Wrong),
        ] {
            assert_eq!(
                clock(ahead_ms, round_trip_ms).severity,
                severity,
                "{ahead_ms} {round_trip_ms}"
            );
        }
        assert!(clock(-20_000, 0).message.contains("20000 ms behind"));
    }

    #[test]
    fn a_format_is_judged_by_the_one_that_is_known() {
        let severity = |found| format(found, 2).severity;
        assert_eq!(
            [None, Some(1), Some(2), Some(3)].map(severity),
            [Good, Warning, Good, Wrong]
        );
    }

    #[test]
    fn cursors_at_events_that_are_gone_are_named() {
        let head = at(EPOCH_OF_HEAD, 10);
        let found = |cursors: &[Cursor]| epoch(&head, cursors);
        assert_eq!(found(&[cursor("a", at(EPOCH_OF_HEAD, 10), 0)]).severity, Good);
        for lost in [at(Epoch::new(1, 6), 3), at(EPOCH_OF_HEAD, 11)] {
            let found = found(&[cursor("mailer", lost, 0)]);
            assert_eq!(found.severity, Warning);
            assert!(found.message.contains("\"mailer\""), "{}", found.message);
        }
        assert!(found(&[]).message.contains("history 2"));
        assert!(!epoch(&at(Epoch::new(1, 7), 1), &[]).message.contains("history"));
    }

    #[test]
    fn cursors_that_stand_still_before_events_are_named() {
        let day = i64::try_from(CURSOR_IDLE_MAX.as_millis()).unwrap();
        let (head, now) = (at(EPOCH_OF_HEAD, 10), Timestamp::from_millis(2 * day).unwrap());
        let severity = |event: i64, moved_at: i64| -> Severity {
            cursors(&[cursor("c", at(EPOCH_OF_HEAD, event), moved_at)], &head, now).severity
        };
        assert_eq!(severity(9, day - 1), Warning);
        assert_eq!(severity(9, day), Good);
        // One at the head has nothing to do.
        assert_eq!(severity(10, 0), Good);
        assert_eq!(cursors(&[], &head, now).severity, Good);
        let many: Vec<_> = (0..7)
            .map(|n| cursor(&format!("c{n}"), at(EPOCH_OF_HEAD, 1), 0))
            .collect();
        let message = cursors(&many, &head, now).message;
        assert!(message.contains("\"c4\", and 2 more"), "{message}");
    }

    #[test]
    fn a_large_log_is_told() {
        assert_eq!(log_bytes(LOG_BYTES_WARN - 1).severity, Good);
        let large = log_bytes(LOG_BYTES_WARN);
        assert_eq!(large.severity, Warning);
        assert!(large.message.contains("10 GiB"), "{}", large.message);
    }

    #[test]
    fn replicas_of_different_versions_are_told() {
        let severity = |versions: &[&str]| {
            let found: Vec<_> = versions.iter().map(|version| replica(version)).collect();
            replicas(&found, "1").severity
        };
        assert_eq!(severity(&[]), Good);
        assert_eq!(severity(&["1", "1"]), Good);
        assert_eq!(severity(&["1", "2"]), Warning);
        assert_eq!(severity(&["2", "2"]), Warning);
    }

    #[test]
    fn settings_that_cannot_be_read_are_named() {
        let setting = |name: &str, value: &str| Setting {
            name: SettingName::new(name).unwrap(),
            value: value.into(),
            rev: SettingsRev::new(1).unwrap(),
            changed_at: Timestamp::MIN,
            actor: None,
        };
        let good = setting("auth", r#"{"enabled":true}"#);
        assert_eq!(settings([&good].into_iter()).severity, Good);
        for wrong in [
            setting("role/x", "no JSON"),
            setting("auth", "{}"),
            setting("unheard/of", "{}"),
        ] {
            let found = settings([&good, &wrong].into_iter());
            assert_eq!(found.severity, Wrong);
            let name = wrong.name.to_string();
            assert!(
                found.message.contains("1 setting (") && found.message.contains(&name),
                "{}",
                found.message
            );
        }
    }

    #[test]
    fn bytes_are_told_in_units_that_fit() {
        let told = [1, 5 * 1024 * 1024, 12 * 1024 * 1024 * 1024].map(mebibytes);
        assert_eq!(told, ["1 KiB", "5 MiB", "12 GiB"]);
    }
}
