//! ServeOptions as a file of them and as JSON, and what came of a reload.

use std::fmt::Write;

use goku_grpc::Reloaded;
use serde_json::Value;

use crate::configuration::{Effective, Entry, Kind};

/// A configuration file of these options. Those that are not set are comments.
pub(super) fn text(effective: &Effective, with_origin: bool) -> String {
    let mut text = String::new();
    let mut table = None;
    for entry in effective.entries() {
        let (of_entry, name) = match entry.key.rsplit_once('.') {
            Some((table, name)) => (Some(table), name),
            None => (None, entry.key.as_str()),
        };
        if of_entry != table {
            table = of_entry;
            // Writing to a string cannot fail.
            let _ = writeln!(text, "\n[{}]", of_entry.unwrap_or_default());
        }
        let origin = match entry.origin() {
            _ if !with_origin => String::new(),
            (kind, None) => format!("  # {kind}"),
            (kind, Some(which)) => format!("  # {kind} {which}"),
        };
        let line = match entry.shown.is_empty() {
            true if entry.is_list => format!("#{name} = [{}]", toml_of(entry.kind, &entry.form)),
            true => format!("#{name} = {}", toml_of(entry.kind, &entry.form)),
            false => format!("{name} = {}", toml(entry)),
        };
        let _ = writeln!(text, "{line}{origin}");
    }
    text
}

/// One option.
pub(super) fn json(entry: &Entry) -> Value {
    let (origin, which) = entry.origin();
    let mut values: Vec<_> = entry.shown.iter().map(|value| json_of(entry.kind, value)).collect();
    let value = if entry.is_list {
        Value::Array(values)
    } else {
        values.pop().unwrap_or_default()
    };
    serde_json::json!({ "key": entry.key, "value": value, "origin": origin, "at": which })
}

/// What came of a reload, a key a line.
pub(super) fn reloaded(endpoint: &str, reloaded: &Reloaded) -> String {
    let mut text = format!("reloaded\t{endpoint}\n");
    for (what, keys) in [
        ("changed", &reloaded.changed),
        ("needs restart", &reloaded.needs_restart),
    ] {
        for key in keys {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{what}\t{key}");
        }
    }
    text
}

fn toml(entry: &Entry) -> String {
    let values: Vec<_> = entry.shown.iter().map(|value| toml_of(entry.kind, value)).collect();
    if entry.is_list {
        format!("[{}]", values.join(", "))
    } else {
        values.concat()
    }
}

/// A value in TOML.
fn toml_of(kind: Kind, value: &str) -> String {
    match (kind, value.parse::<i64>()) {
        (Kind::Text, _) => toml::Value::String(value.to_owned()).to_string(),
        // As it may be written on the command line, `+1` or `01`, it may be nothing in TOML.
        (Kind::Integer, Ok(number)) => number.to_string(),
        (Kind::Integer | Kind::Boolean, _) => value.to_owned(),
    }
}

fn json_of(kind: Kind, value: &str) -> Value {
    match kind {
        Kind::Text => value.into(),
        Kind::Integer | Kind::Boolean => serde_json::from_str(&toml_of(kind, value)).unwrap_or_else(|_| value.into()),
    }
}
