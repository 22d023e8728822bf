//! Rows on a terminal, under names of their columns.

use std::io::{self, Write};

/// Rows that are waited for, so that columns are as wide as they need, before the first of them shows.
const ROWS_WAITED_FOR_MAX: usize = 100;

/// The widest column that others are lined up after, in characters.
const COLUMN_CHARACTERS_MAX: usize = 48;

/// Rows, whose columns are divided by tabs.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// The names first, then rows that were not shown yet.
    rows: Vec<String>,
    /// Of all columns but the last, once the first rows were shown.
    widths: Option<Vec<usize>>,
}

impl Table {
    /// Adds a row under these names; it shows at the latest with [`flush`](Self::flush).
    pub(super) fn push(&mut self, names: &[&str], row: String, out: &mut impl Write) -> io::Result<()> {
        if self.rows.is_empty() && self.widths.is_none() {
            self.rows.push(names.join("\t").to_uppercase());
        }
        self.rows.push(row);
        if self.widths.is_some() || self.rows.len() > ROWS_WAITED_FOR_MAX {
            self.flush(out)?;
        }
        Ok(())
    }

    /// Shows the rows that were added.
    pub(super) fn flush(&mut self, out: &mut impl Write) -> io::Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let widths = self.widths.get_or_insert_with(|| widths(&self.rows));
        for row in self.rows.drain(..) {
            let mut columns = row.split('\t').enumerate().peekable();
            while let Some((index, column)) = columns.next() {
                match widths.get(index) {
                    Some(width) if columns.peek().is_some() => write!(out, "{column:<width$}  ")?,
                    _ => write!(out, "{column}")?,
                }
            }
            writeln!(out)?;
        }
        Ok(())
    }
}

fn widths(rows: &[String]) -> Vec<usize> {
    let mut widths = Vec::new();
    for row in rows {
        for (index, column) in row.split('\t').enumerate() {
            let width = column.chars().count().min(COLUMN_CHARACTERS_MAX);
            match widths.get_mut(index) {
                Some(widest) => *widest = width.max(*widest),
                None => widths.push(width),
            }
        }
    }
    widths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(rows: &[&str]) -> String {
        let (mut table, mut out) = (Table::default(), Vec::new());
        for row in rows {
            table
                .push(&["key", "version", "value"], (*row).to_owned(), &mut out)
                .unwrap();
        }
        table.flush(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_are_lined_up_under_their_names() {
        assert_eq!(
            shown(&["a\t1\tx", "config/motd\t12\ty z"]),
            "KEY          VERSION  VALUE\na            1        x\nconfig/motd  12       y z\n"
        );
    }

    #[test]
    fn no_rows_show_nothing() {
        assert_eq!(shown(&[]), "");
    }

    #[test]
    fn many_rows_show_as_they_come() {
        let (mut table, mut out) = (Table::default(), Vec::new());
        for number in 0..ROWS_WAITED_FOR_MAX + 2 {
            table.push(&["number"], number.to_string(), &mut out).unwrap();
        }
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), ROWS_WAITED_FOR_MAX + 3);
    }
}
