//! Keys in the lines of the log.

use std::error::Error;
use std::fmt;

use tracing::field::{Field, Visit};

/// The fields of lines that hold keys, or the beginnings of keys. Messages and other fields hold none.
const KEY_FIELDS: [&str; 2] = ["key", "prefix"];

/// The bytes of a key that a line tells: a key may have a thousand.
pub(crate) const KEY_BYTES_MAX: usize = 64;

/// Hands fields on to another visitor, keys cut, or left out.
pub(super) struct Keys<'a, V> {
    visitor: &'a mut V,
    with_keys: bool,
}

impl<'a, V: Visit> Keys<'a, V> {
    pub(super) fn new(visitor: &'a mut V, with_keys: bool) -> Keys<'a, V> {
        Keys { visitor, with_keys }
    }
}

impl<V: Visit> Visit for Keys<'_, V> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.visitor.record_f64(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.visitor.record_i64(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.visitor.record_u64(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.visitor.record_bool(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if KEY_FIELDS.contains(&field.name()) {
            self.record_debug(field, &value);
        } else {
            self.visitor.record_str(field, value);
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.visitor.record_error(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if !KEY_FIELDS.contains(&field.name()) {
            self.visitor.record_debug(field, value);
        } else if self.with_keys {
            self.visitor
                .record_debug(field, &format_args!("{}", cut(format!("{value:?}"))));
        }
    }
}

/// A key as it is shown, of which the end is missing where it is long.
fn cut(mut shown: String) -> String {
    if shown.len() > KEY_BYTES_MAX {
        let end = (0..=KEY_BYTES_MAX).rev().find(|end| shown.is_char_boundary(*end));
        shown.truncate(end.unwrap_or_default());
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_key_is_cut_between_characters() {
        assert_eq!(cut("\"a\"".to_owned()), "\"a\"");
        assert_eq!(cut("k".repeat(64)), "k".repeat(64));
        assert_eq!(cut("k".repeat(65)), "k".repeat(64) + "…");
        assert_eq!(cut("k".repeat(63) + "ü"), "k".repeat(63) + "…");
    }
}
