//! Values that any language can read: lines of `name: text`, an empty line, and what follows. In the text of a line `%`,
//! carriage return and line feed are written as `%25`, `%0D` and `%0A`, and a byte that belongs to no character likewise.

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

    /// The bytes of a line, as they were before they were written.
    pub(super) fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        self.0.get(name).map(|line| unescape(line))
    }

    /// The text of a line, as it was before it was written.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        String::from_utf8(self.bytes(name)?).ok()
    }

    /// The number that a line is.
    pub(super) fn number<N: std::str::FromStr>(&self, name: &str) -> Option<N> {
        self.0.get(name)?.parse().ok()
    }
}

/// Lines with their names and what they hold, and the empty line after them.
pub(super) fn write(lines: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut text = String::new();
    for (name, line) in lines {
        text.extend([name, ": "]);
        escape(line, &mut text);
        text.push('\n');
    }
    text.push('\n');
    text.into_bytes()
}

/// The beginning of an error's text.
pub(super) fn shortened(text: &str) -> &str {
    let end = (0..=ERROR_BYTES_MAX.min(text.len())).rfind(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

fn escape(line: &[u8], text: &mut String) {
    for chunk in line.utf8_chunks() {
        let valid = chunk.valid().replace('%', "%25");
        text.push_str(&valid.replace('\r', "%0D").replace('\n', "%0A"));
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut line = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let escaped = (*first == b'%')
            .then(|| others.first_chunk().and_then(byte_of))
            .flatten();
        line.push(escaped.unwrap_or(*first));
        rest = &others[if escaped.is_some() { 2 } else { 0 }..];
    }
    line
}

/// The byte that two hexadecimal digits stand for.
fn byte_of(digits: &[u8; 2]) -> Option<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    u8::try_from(digit(digits[0])? * 16 + digit(digits[1])?).ok()
}
