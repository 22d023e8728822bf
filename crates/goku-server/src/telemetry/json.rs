//! Lines of the log as JSON objects.

use std::error::Error;
use std::fmt;

use serde_json::{Map, Value};
use tracing::Event;
use tracing::field::{Field, Visit};

use super::keys::Keys;

/// The line of an event.
pub(super) fn event(event: &Event<'_>, with_keys: bool) -> String {
    let mut fields = Fields::default();
    event.record(&mut Keys::new(&mut fields, with_keys));
    let metadata = event.metadata();
    line(
        jiff::Timestamp::now(),
        metadata.level().as_str(),
        metadata.target(),
        &fields.message,
        fields.others,
    )
}

/// A line. Of two fields of one name the line's own counts.
pub(super) fn line(
    now: jiff::Timestamp,
    level: &str,
    target: &str,
    message: &str,
    mut fields: Map<String, Value>,
) -> String {
    for (name, value) in [
        ("timestamp", format!("{now:.6}")),
        ("level", level.to_owned()),
        ("target", target.to_owned()),
        ("message", message.to_owned()),
    ] {
        fields.insert(name.to_owned(), value.into());
    }
    format!("{}\n", Value::Object(fields))
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        let name = field.name().trim_start_matches("r#");
        self.others.insert(name.to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut error = value;
        while let Some(source) = error.source() {
            text += &format!(": {source}");
            error = source;
        }
        self.put(field, text);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.put(field, text);
        }
    }
}
