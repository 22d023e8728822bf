//! The form of the lines of the log.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::{DefaultVisitor, Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::LogConfig;
use super::json;
use super::keys::Keys;

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: time, level, target, message, and fields as `name=value`.
    #[default]
    Text,
    /// A JSON object a line: `timestamp`, `level`, `target`, `message`, and the fields by their names.
    Json,
}

/// The form of lines; clones share it, and it can be set while lines are written.
#[derive(Clone, Debug)]
pub(super) struct Form(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    is_json: AtomicBool,
    with_keys: AtomicBool,
    text: Format<Full>,
}

impl Form {
    pub(super) fn new(config: &LogConfig) -> Form {
        let form = Form(Arc::new(Inner {
            is_json: AtomicBool::default(),
            with_keys: AtomicBool::default(),
            text: Format::default(),
        }));
        form.set(config);
        form
    }

    pub(super) fn set(&self, config: &LogConfig) {
        self.0
            .is_json
            .store(config.format == LogFormat::Json, Ordering::Relaxed);
        self.0.with_keys.store(config.keys, Ordering::Relaxed);
    }

    /// The line that tells of lost ones.
    pub(super) fn loss(&self, lines: u64) -> String {
        let now = jiff::Timestamp::now();
        let target = "goku_server::telemetry";
        let message = "lines of the log were lost here, as they could not be written";
        if self.is_json() {
            let fields = [("lines".to_owned(), lines.into())];
            return json::line(now, "WARN", target, message, fields.into_iter().collect());
        }
        format!("{now:.6}  WARN {target}: {message} lines={lines}\n")
    }

    fn is_json(&self) -> bool {
        self.0.is_json.load(Ordering::Relaxed)
    }

    fn with_keys(&self) -> bool {
        self.0.with_keys.load(Ordering::Relaxed)
    }
}

impl<S, N> FormatEvent<S, N> for Form
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        if self.is_json() {
            return line.write_str(&json::event(event, self.with_keys()));
        }
        self.0.text.format_event(context, line, event)
    }
}

impl<'writer> FormatFields<'writer> for Form {
    fn format_fields<R: RecordFields>(&self, mut line: Writer<'writer>, fields: R) -> fmt::Result {
        use tracing_subscriber::field::VisitOutput;
        let mut text = DefaultVisitor::new(line.by_ref(), true);
        fields.record(&mut Keys::new(&mut text, self.with_keys()));
        text.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::Mutex;

    use serde_json::{Value, json};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines that `log` writes, without their times.
    fn lines(format: LogFormat, keys: bool, log: impl FnOnce()) -> Vec<String> {
        let form = Form::new(&LogConfig {
            format,
            keys,
            ..LogConfig::default()
        });
        let written = Written::default();
        let writer = written.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .fmt_fields(form.clone())
            .event_format(form);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let written = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        written.lines().map(str::to_owned).collect()
    }

    fn log() {
        let error = goku::Error::new(goku::ErrorKind::Internal, "outer").with_source(io::Error::other("inner"));
        let error: &(dyn std::error::Error + 'static) = &error;
        let long = "k".repeat(100);
        tracing::warn!(key = %long, prefix = "a/", of = "text", count = 3_u64, right = true, error, "a \"message\"");
        tracing::info!(target: "elsewhere", "two\nlines");
    }

    #[test]
    fn a_line_for_people_has_its_fields_and_the_beginning_of_a_key() {
        let told = lines(LogFormat::Text, true, log);
        let key = "k".repeat(64);
        let end = format!(
            "  WARN goku_server::telemetry::form::tests: a \"message\" key={key}… prefix=\"a/\" of=\"text\" count=3 right=true"
        );
        assert!(told[0].contains(&end), "{}", told[0]);
        assert!(
            told[0].contains(" error=outer") && told[0].contains("inner"),
            "{}",
            told[0]
        );
        let told = lines(LogFormat::Text, false, log);
        assert!(
            !told[0].contains("key") && !told[0].contains("prefix") && told[0].contains("count=3"),
            "{}",
            told[0]
        );
    }

    #[test]
    fn a_line_in_json_is_one_object_with_the_fields() {
        let parse = |line: &String| {
            let mut object: Value = serde_json::from_str(line).unwrap();
            let time = object.as_object_mut().unwrap().remove("timestamp").unwrap();
            assert!(time.as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{time}");
            object
        };
        let told: Vec<_> = lines(LogFormat::Json, true, log).iter().map(parse).collect();
        let first = json!({
            "level": "WARN",
            "target": "goku_server::telemetry::form::tests",
            "message": "a \"message\"",
            "key": "k".repeat(64) + "…",
            "prefix": "\"a/\"",
            "of": "text",
            "count": 3,
            "right": true,
            "error": "outer: inner",
        });
        let second = json!({ "level": "INFO", "target": "elsewhere", "message": "two\nlines" });
        assert_eq!(told, [first, second]);
        let told: Vec<_> = lines(LogFormat::Json, false, log).iter().map(parse).collect();
        assert_eq!(
            (&told[0]["key"], &told[0]["prefix"], &told[0]["count"]),
            (&Value::Null, &Value::Null, &json!(3))
        );

        let loss = Form::new(&LogConfig {
            format: LogFormat::Json,
            ..LogConfig::default()
        })
        .loss(7);
        assert_eq!(parse(&loss)["lines"], 7);
    }
}
