//! Statements as text, in packets that the server takes.

use std::io::Write as _;
use std::ops::RangeInclusive;

use crate::error::{Error, ErrorKind, Result};

/// Bytes of a packet beside its statements: the command, and the end of a transaction.
const PACKET_BYTES_RESERVED: usize = 256;

/// Longest list in an `in (…)`: MariaDB makes a temporary table of one with 1,000 or more.
const LIST_ITEMS_MAX: usize = 500;

/// Most bytes of one list, so that several fit into a packet of 1 MiB.
const LIST_BYTES_MAX: usize = 128 * 1024;

/// Statements to send one after another.
#[derive(Debug)]
pub(super) struct Script {
    packet_bytes_max: usize,
    packets: Vec<Packet>,
    too_large: Option<usize>,
}

/// Statements that are sent at once. The server stops at the first that fails.
#[derive(Debug, Default)]
pub(super) struct Packet {
    pub(super) text: Sql,
    pub(super) statements: usize,
    /// The rows that some of the statements must change.
    pub(super) changes: Vec<RowsChanged>,
}

/// The rows that a statement changes, as the server counts them: an insert that finds a row and changes it counts two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RowsChanged {
    /// The statement's number in the packet, from 1.
    pub(super) statement: usize,
    pub(super) count: RangeInclusive<u64>,
}

/// The text of SQL.
#[derive(Clone, Debug, Default)]
pub(super) struct Sql(Vec<u8>);

/// The text around the rows of an insert.
pub(super) struct Insert {
    pub(super) before: &'static str,
    pub(super) after: &'static str,
    /// Whether none of the rows is there before.
    pub(super) is_of_new_rows: bool,
}

impl Script {
    /// A script without a statement, for a server that takes packets of so many bytes.
    pub(super) fn new(packet_bytes_max: usize) -> Script {
        Script {
            packet_bytes_max: packet_bytes_max.saturating_sub(PACKET_BYTES_RESERVED),
            packets: Vec::new(),
            too_large: None,
        }
    }

    /// Adds a statement.
    pub(super) fn statement(&mut self, statement: impl AsRef<[u8]>) {
        let statement = statement.as_ref();
        self.start(statement.len());
        self.last().text.raw(statement);
    }

    /// Adds a statement that must change so many rows.
    pub(super) fn change(&mut self, statement: impl AsRef<[u8]>, count: RangeInclusive<u64>) {
        self.statement(statement);
        self.expect(count);
    }

    /// Adds an insert of `rows`, in as many statements as packets need.
    pub(super) fn insert<T>(
        &mut self,
        insert: &Insert,
        rows: impl IntoIterator<Item = T>,
        write: impl for<'s> Fn(&'s mut Sql, T) -> &'s mut Sql,
    ) {
        // Rows of the statement that is open.
        let mut open = 0;
        let mut row = Sql::default();
        for item in rows {
            row.0.clear();
            write(&mut row, item);
            let bytes = row.0.len() + insert.after.len() + 1;
            if open > 0 && self.last().text.0.len() + bytes > self.packet_bytes_max {
                self.end_insert(insert, open);
                open = 0;
            }
            if open > 0 {
                self.last().text.raw(",");
            } else {
                self.start(insert.before.len() + row.0.len() + insert.after.len());
                self.last().text.raw(insert.before);
            }
            open += 1;
            self.last().text.raw(&row);
        }
        if open > 0 {
            self.end_insert(insert, open);
        }
    }

    fn end_insert(&mut self, insert: &Insert, rows: u64) {
        self.last().text.raw(insert.after);
        if insert.is_of_new_rows {
            self.expect(rows..=rows);
        }
    }

    /// Requires the last statement to change so many rows.
    fn expect(&mut self, count: RangeInclusive<u64>) {
        let last = self.last();
        let statement = last.statements;
        last.changes.push(RowsChanged { statement, count });
    }

    /// Ends the packet if it is larger than `bytes_max`; a statement must follow.
    pub(super) fn end_packet_over(&mut self, bytes_max: usize) {
        if self
            .packets
            .last()
            .is_some_and(|packet| packet.text.0.len() > bytes_max)
        {
            self.packets.push(Packet::default());
        }
    }

    /// Most bytes of a list in one statement.
    pub(super) fn list_bytes_max(&self) -> usize {
        LIST_BYTES_MAX.min(self.packet_bytes_max / 2)
    }

    /// The packets; `TooLarge` where a row alone is over the limit.
    pub(super) fn into_packets(self) -> Result<Vec<Packet>> {
        match self.too_large {
            Some(bytes) => Err(Error::new(
                ErrorKind::TooLarge,
                format!(
                    "a write of {bytes} bytes is over the database's limit of {}: raise its max_allowed_packet",
                    self.packet_bytes_max
                ),
            )),
            None => Ok(self.packets),
        }
    }

    /// The only packet; `None` where there are more.
    pub(super) fn into_one_packet(self) -> Result<Option<Packet>> {
        let mut packets = self.into_packets()?;
        Ok(packets.pop().filter(|_| packets.is_empty()))
    }

    /// Statements of the last packet.
    pub(super) fn statements(&self) -> usize {
        self.packets.last().map_or(0, |packet| packet.statements)
    }

    /// Makes room for a statement of so many bytes.
    fn start(&mut self, bytes: usize) {
        if bytes > self.packet_bytes_max {
            self.too_large = Some(bytes);
        }
        let packet_bytes_max = self.packet_bytes_max;
        match self.packets.last_mut() {
            Some(last) if last.text.0.len() + 1 + bytes <= packet_bytes_max => {
                if last.statements > 0 {
                    last.text.raw(";");
                }
            }
            _ => self.packets.push(Packet::default()),
        }
        self.last().statements += 1;
    }

    fn last(&mut self) -> &mut Packet {
        self.packets
            .last_mut()
            .expect("the start of a statement makes a packet")
    }
}

impl Sql {
    /// Adds text as it is.
    pub(super) fn raw(&mut self, text: impl AsRef<[u8]>) -> &mut Sql {
        self.0.extend_from_slice(text.as_ref());
        self
    }

    /// Adds a whole number.
    pub(super) fn int(&mut self, number: impl Into<i128>) -> &mut Sql {
        write!(self.0, "{}", number.into()).expect("a vector takes any write");
        self
    }

    /// Adds a whole number, or NULL.
    pub(super) fn optional_int(&mut self, number: Option<i64>) -> &mut Sql {
        match number {
            Some(number) => self.int(number),
            None => self.raw("null"),
        }
    }

    pub(super) fn optional_bytes(&mut self, bytes: Option<&[u8]>) -> &mut Sql {
        match bytes {
            Some(bytes) => self.bytes(bytes),
            None => self.raw("null"),
        }
    }

    /// Adds a string of bytes. The session reads its statements as bytes and knows backslashes.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Sql {
        self.0.reserve(bytes.len() + 2);
        self.0.push(b'\'');
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\'' | b'\\' | 0)) {
            self.0.extend_from_slice(&rest[..at]);
            self.0.push(b'\\');
            self.0.push(if rest[at] == 0 { b'0' } else { rest[at] });
            rest = &rest[at + 1..];
        }
        self.0.extend_from_slice(rest);
        self.0.push(b'\'');
        self
    }
}

impl AsRef<[u8]> for Sql {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Lists of items for `in (…)`, each within the limits, and the items of each.
pub(super) fn lists<T>(
    items: impl IntoIterator<Item = T>,
    bytes_max: usize,
    write: impl for<'s, 't> Fn(&'s mut Sql, &'t T) -> &'s mut Sql,
) -> Vec<(Sql, Vec<T>)> {
    let mut lists: Vec<(Sql, Vec<T>)> = Vec::new();
    for item in items {
        match lists.last_mut() {
            Some((sql, members)) if members.len() < LIST_ITEMS_MAX && sql.0.len() < bytes_max => {
                write(sql.raw(","), &item);
                members.push(item);
            }
            _ => {
                let mut sql = Sql::default();
                write(&mut sql, &item);
                lists.push((sql, vec![item]));
            }
        }
    }
    lists
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSERT: Insert = Insert {
        before: "insert ",
        after: " end",
        is_of_new_rows: true,
    };

    #[test]
    fn rows_are_split_into_statements_and_packets_that_fit() {
        let mut script = Script::new(PACKET_BYTES_RESERVED + 40);
        script.insert(&INSERT, 0..10, |sql, number| sql.int(1_000_000 + number));
        script.statement("commit");
        let packets = script.into_packets().unwrap();
        assert!(packets.len() > 1);
        let mut rows = 0;
        for packet in &packets {
            assert!(packet.text.0.len() <= 40, "{packet:?}");
            let text = std::str::from_utf8(&packet.text.0).unwrap();
            assert_eq!(packet.statements, text.split(';').count());
            for RowsChanged { statement, count } in &packet.changes {
                let list = text.split(';').nth(statement - 1).unwrap();
                let rows = list.split(',').count() as u64;
                assert_eq!(*count, rows..=rows);
            }
            for statement in text.split(';').filter(|statement| *statement != "commit") {
                let list = statement.strip_prefix("insert ").unwrap().strip_suffix(" end").unwrap();
                rows += list.split(',').count();
            }
        }
        assert_eq!(rows, 10);
    }

    #[test]
    fn a_row_over_the_limit_is_too_large() {
        let mut script = Script::new(100);
        script.insert(&INSERT, ["x".repeat(100)], |sql, row| sql.raw(row));
        assert_eq!(script.into_packets().unwrap_err().kind(), ErrorKind::TooLarge);
    }

    #[test]
    fn bytes_are_escaped() {
        let mut sql = Sql::default();
        sql.bytes(b"a'b\\c\0\xff;\n");
        assert_eq!(sql.0, b"'a\\'b\\\\c\\0\xff;\n'");
    }

    #[test]
    fn lists_are_bounded_by_count_and_bytes() {
        let by_count = lists(0..1_200, usize::MAX, |sql, number| sql.int(*number));
        assert_eq!(
            by_count.iter().map(|(_, items)| items.len()).collect::<Vec<_>>(),
            [500, 500, 200]
        );
        let by_bytes = lists(0..10, 1, |sql, number| sql.int(*number));
        assert_eq!(by_bytes.len(), 10);
    }
}
