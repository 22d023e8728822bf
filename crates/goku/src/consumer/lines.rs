//! Values that any language can read: lines of `name: text`, an empty line, and what follows. In the text of a line `%`,
//! carriage return and line feed are written as `%25`, `%0D` and `%0A`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytes::Bytes;

/// Bytes of an error's text that are kept.
const ERROR_BYTES_MAX: usize = 2_048;

/// Lines that were read, by their names.
pub(super) struct Lines<'a>(BTreeMap<&'a str, &'a str>);

impl Lines<'_> {
    /// The lines of a value, and what follows them; `None` where it has no lines.
    pub(super) fn read(value: &Bytes) -> Option<(Lines<'_>, Bytes)> {
        let end = value.windows(2).position(|pair| pair == b"\n\n")?;
        let text = std::str::from_utf8(&value[..end]).ok()?;
        let lines = text.lines().filter_map(|line| line.split_once(": "));
        Some((Lines(lines.collect()), value.slice(end + 2..)))
    }

    /// The text of a line, as it was before it was written.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|text| unescape(text))
    }

    /// The number that a line is.
    pub(super) fn number<N: std::str::FromStr>(&self, name: &str) -> Option<N> {
        self.0.get(name)?.parse().ok()
    }
}

/// Lines with their names and texts, and the empty line after them.
pub(super) fn write(lines: &[(&str, String)]) -> Vec<u8> {
    let mut text = String::new();
    for (name, line) in lines {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name}: {}", escape(line));
    }
    text.push('\n');
    text.into_bytes()
}

/// The beginning of an error's text.
pub(super) fn shortened(text: &str) -> &str {
    let end = (0..=ERROR_BYTES_MAX.min(text.len())).rfind(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

fn escape(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn unescape(text: &str) -> String {
    text.replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%")
}
