//! The output of commands, as text and as JSON.

mod bench;
mod configuration;
mod consumer_status;
mod findings;
mod held_keys;
mod json;
mod report;
mod table;
mod text;

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use clap::ValueEnum;
use goku::access::{AccessName, Token};
use goku::check::Finding;
use goku::consumer::{self, DeadLetter, Delivery, Member, Replayed};
use goku::{Entry, Event, Lease, OperationAnswer, Snapshot, Status, TxnAnswer};
use goku_grpc::Reloaded;
use goku_server::{MetricsEndpoint, Server, telemetry};
use serde::Serialize;

pub(crate) use self::consumer_status::ConsumerStatus;
pub(crate) use self::held_keys::HeldKeys;
pub(crate) use self::report::Report;
use self::table::Table;
use crate::configuration::Effective;
use crate::exit::{Failure, Outcome};
use crate::position;

/// The form of answers and errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
}

/// Standard output in one of the formats. What is written shows at the latest with [`flush`](Self::flush).
pub(crate) struct Output {
    format: Format,
    out: BufWriter<StdoutLock<'static>>,
    /// On a terminal.
    table: Option<Table>,
}

/// When the lease of a key ends that was set.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Term {
    /// Not by itself.
    Endless,
    /// As the lease says.
    Of(Lease),
    /// The lease has ended already.
    Ended,
    /// The lease could not be read.
    Unknown,
}

/// The JSON that a consumer's command is given.
pub(crate) fn delivery_json(delivery: &Delivery) -> Result<Vec<u8>, consumer::Failure> {
    Ok(serde_json::to_vec(&json::delivery(delivery)?)?)
}

impl Output {
    pub(crate) fn new(format: Format) -> Output {
        let is_terminal = io::stdout().is_terminal();
        Output {
            format,
            out: BufWriter::new(io::stdout().lock()),
            table: is_terminal.then(Table::default),
        }
    }

    /// Whether somebody looks at what is written.
    pub(crate) fn is_terminal(&self) -> bool {
        self.table.is_some()
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if let Some(table) = &mut self.table {
            table.flush(&mut self.out)?;
        }
        self.out.flush()
    }

    /// Writes bytes as they are, in either format.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    /// The answer to a Get: the value's bytes and nothing else, but on a terminal, where it is made visible.
    pub(crate) fn value(&mut self, entry: &Entry) -> Outcome {
        let written = match self.format {
            Format::Text if self.is_terminal() => writeln!(self.out, "{}", text::visible(entry.inline_value()?)),
            Format::Text => self.out.write_all(entry.inline_value()?),
            Format::Json => self.json(&json::entry(entry)?),
        };
        Ok(written?)
    }

    /// The state that a Set left, and when its key ends.
    pub(crate) fn set(&mut self, entry: &Entry, term: Term) -> io::Result<()> {
        match self.format {
            Format::Text => writeln!(self.out, "{}{}", text::state(entry), text::term(term)),
            Format::Json => self.json(&json::set(entry, term)),
        }
    }

    /// The number of keys that were deleted.
    pub(crate) fn deleted(&mut self, keys: u64) -> io::Result<()> {
        match self.format {
            Format::Text if keys == 1 => writeln!(self.out, "deleted 1 key"),
            Format::Text => writeln!(self.out, "deleted {keys} keys"),
            Format::Json => self.json(&json::deleted(keys)),
        }
    }

    /// The state that a Delete left.
    pub(crate) fn written(&mut self, entry: &Entry) -> io::Result<()> {
        match self.format {
            Format::Text => writeln!(self.out, "{}", text::state(entry)),
            Format::Json => self.json(&json::state(entry)),
        }
    }

    /// A key of a list.
    pub(crate) fn listed(&mut self, entry: &Entry, keys_only: bool) -> Outcome {
        let written = match (self.format, keys_only) {
            (Format::Text, false) => self.row(&text::ROW, text::row(entry)?),
            (Format::Text, true) => self.row(&["key"], text::key(&entry.key)),
            (Format::Json, false) => self.json(&json::entry(entry)?),
            (Format::Json, true) => self.json(&json::state(entry)),
        };
        Ok(written?)
    }

    /// The point in history that a list is of.
    pub(crate) fn position(&mut self, at: Snapshot) -> io::Result<()> {
        match self.format {
            Format::Text => writeln!(self.out, "{}", position::show(at.position)),
            Format::Json => self.json(&json::snapshot(at)),
        }
    }

    /// An event.
    pub(crate) fn event(&mut self, event: &Event) -> Outcome {
        let written = match self.format {
            Format::Text => self.row(&text::EVENT, text::event(event)?),
            Format::Json => self.json(&json::event(event)?),
        };
        Ok(written?)
    }

    /// A new lease: its id alone, for `--lease $(goku lease grant)`.
    pub(crate) fn granted(&mut self, lease: &Lease) -> io::Result<()> {
        match self.format {
            Format::Text => writeln!(self.out, "{}", lease.id),
            Format::Json => self.json(&json::lease(lease)),
        }
    }

    /// A lease that was ended, with the keys that it had where they are known.
    pub(crate) fn expired(&mut self, lease: &Lease, held: Option<&HeldKeys>) -> io::Result<()> {
        match self.format {
            Format::Text => writeln!(self.out, "{}", text::expired(lease, held)),
            Format::Json => self.json(&json::expired(lease, held)),
        }
    }

    /// A lease's state.
    pub(crate) fn lease(&mut self, lease: &Lease) -> io::Result<()> {
        match self.format {
            Format::Text => writeln!(self.out, "{}", text::lease(lease)),
            Format::Json => self.json(&json::lease(lease)),
        }
    }

    /// A lease's state, with its keys where they are known.
    pub(crate) fn lease_with_keys(&mut self, lease: &Lease, held: Option<&HeldKeys>) -> io::Result<()> {
        if self.format == Format::Json {
            return self.json(&json::lease_with_keys(lease, held));
        }
        writeln!(self.out, "{}", text::lease(lease))?;
        for key in held.iter().flat_map(|held| &held.keys) {
            writeln!(self.out, "\t{}", text::key(key))?;
        }
        if held.is_some_and(|held| held.more) {
            writeln!(self.out, "\t… and more")?;
        }
        Ok(())
    }

    /// A consumer's cursor, how far it is behind, and its dead letters.
    pub(crate) fn consumer(&mut self, status: &ConsumerStatus) -> io::Result<()> {
        match self.format {
            Format::Text => self.row(&text::CONSUMER, text::consumer(status)),
            Format::Json => self.json(&json::consumer(status)),
        }
    }

    /// A member of a group.
    pub(crate) fn member(&mut self, member: &Member) -> io::Result<()> {
        match self.format {
            Format::Text => self.row(&text::MEMBER, text::member(member)),
            Format::Json => self.json(&json::member(member)),
        }
    }

    /// A dead letter.
    pub(crate) fn dead_letter(&mut self, letter: &DeadLetter) -> Outcome {
        let written = match self.format {
            Format::Text => self.row(&text::DEAD_LETTER, text::dead_letter(letter)),
            Format::Json => self.json(&json::dead_letter(letter)?),
        };
        Ok(written?)
    }

    /// The outcome of dead letters that were handled once more.
    pub(crate) fn replayed(&mut self, replayed: Replayed) -> io::Result<()> {
        match self.format {
            Format::Text => writeln!(self.out, "handled {}\tfailed {}", replayed.handled, replayed.failed),
            Format::Json => self.json(&json::replayed(replayed)),
        }
    }

    /// The report of a load.
    pub(crate) fn report(&mut self, report: &Report<'_>) -> io::Result<()> {
        match self.format {
            Format::Text => self.out.write_all(bench::text(report).as_bytes()),
            Format::Json => self.json(&bench::json(report)),
        }
    }

    /// The answer of a transaction.
    pub(crate) fn txn(&mut self, answer: &TxnAnswer) -> Outcome {
        if self.format == Format::Json {
            return Ok(self.json(&json::txn(answer)?)?);
        }
        writeln!(self.out, "{}", if answer.succeeded { "then" } else { "else" })?;
        for operation in &answer.answers {
            match operation {
                OperationAnswer::Get(Some(entry)) => writeln!(self.out, "get\t{}", text::row(entry)?)?,
                OperationAnswer::Get(None) => writeln!(self.out, "get\tnot found")?,
                OperationAnswer::Set(entry) => {
                    writeln!(self.out, "set\t{}\t{}", text::key(&entry.key), text::state(entry))?
                }
                OperationAnswer::Delete(Some(entry)) => {
                    writeln!(self.out, "delete\t{}\t{}", text::key(&entry.key), text::state(entry))?;
                }
                OperationAnswer::Delete(None) => writeln!(self.out, "delete\tnot found")?,
                OperationAnswer::List(entries) => {
                    writeln!(self.out, "list\t{} keys", entries.len())?;
                    for entry in entries {
                        writeln!(self.out, "\t{}", text::row(entry)?)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The state of a server's store.
    pub(crate) fn status(&mut self, status: &Status) -> io::Result<()> {
        match self.format {
            Format::Text => self.out.write_all(text::status(status).as_bytes()),
            Format::Json => self.json(&json::status(status)),
        }
    }

    /// The address and the store of a server; shown at once.
    pub(crate) fn serving(&mut self, server: &Server) -> io::Result<()> {
        match self.format {
            Format::Text => self.out.write_all(text::serving(server).as_bytes())?,
            Format::Json => self.json(&json::serving(server))?,
        }
        self.out.flush()
    }

    /// A token, which is shown this once, and the id by which it can be taken back.
    pub(crate) fn token(&mut self, token: &Token, id: &AccessName) -> io::Result<()> {
        match self.format {
            Format::Text => {
                note(
                    Format::Text,
                    &format!("token {id}: it is shown this once, keep it as a secret"),
                );
                writeln!(self.out, "{}", token.reveal())
            }
            Format::Json => self.json(&json::token(token, id)),
        }
    }

    /// What was done, in words or as an object.
    pub(crate) fn sentence(&mut self, text: &str, json: &impl Serialize) -> io::Result<()> {
        match self.format {
            Format::Text => writeln!(self.out, "{text}"),
            Format::Json => self.json(json),
        }
    }

    /// One of several things of a kind: cells under the names of their columns, or an object.
    pub(crate) fn record(&mut self, names: &[&str], cells: &[&str], json: &impl Serialize) -> io::Result<()> {
        match self.format {
            Format::Text => self.row(names, cells.join("\t")),
            Format::Json => self.json(json),
        }
    }

    /// What a check found, by the part of the installation.
    pub(crate) fn findings(&mut self, findings: &[Finding]) -> io::Result<()> {
        match self.format {
            Format::Text => {
                let is_coloured =
                    self.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
                self.out.write_all(findings::text(findings, is_coloured).as_bytes())
            }
            Format::Json => findings
                .iter()
                .try_for_each(|finding| self.json(&findings::json(finding))),
        }
    }

    /// The options that apply: as a file of them, or an object each.
    pub(crate) fn configuration(&mut self, effective: &Effective, with_origin: bool) -> io::Result<()> {
        match self.format {
            Format::Text => self
                .out
                .write_all(configuration::text(effective, with_origin).as_bytes()),
            Format::Json => effective
                .entries()
                .iter()
                .try_for_each(|entry| self.json(&configuration::json(entry))),
        }
    }

    /// Tells that options are right, those of the file where one was named.
    pub(crate) fn checked(&mut self, file: Option<&str>) -> io::Result<()> {
        match self.format {
            Format::Text => writeln!(self.out, "ok\t{}", file.unwrap_or("no file was named")),
            Format::Json => self.json(&serde_json::json!({ "ok": true, "file": file })),
        }
    }

    /// What came of the configuration that a server read again.
    pub(crate) fn reloaded(&mut self, endpoint: &str, reloaded: &Reloaded) -> io::Result<()> {
        match self.format {
            Format::Text => self
                .out
                .write_all(configuration::reloaded(endpoint, reloaded).as_bytes()),
            Format::Json => self.json(&serde_json::json!({
                "endpoint": endpoint,
                "changed": reloaded.changed,
                "needs_restart": reloaded.needs_restart,
            })),
        }
    }

    /// A row of the one table that a command writes; its names show on a terminal.
    fn row(&mut self, names: &[&str], row: String) -> io::Result<()> {
        match &mut self.table {
            Some(table) => table.push(names, row, &mut self.out),
            None => writeln!(self.out, "{row}"),
        }
    }

    fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, value)?;
        self.out.write_all(b"\n")
    }
}

/// Tells on standard error where metrics are served: standard output is another's.
pub(crate) fn metrics_at(endpoint: &MetricsEndpoint) {
    telemetry::write_line(&format!("metrics at {}", endpoint.url()));
}

/// Tells on standard error what whoever runs the command should know though nothing failed, in one line.
pub(crate) fn note(format: Format, message: &str) {
    let line = match format {
        Format::Text => format!("goku: {message}"),
        Format::Json => json::note(message),
    };
    telemetry::write_line(&line);
}

/// Tells of a failure on standard error, in one line, or one for each of several things that are wrong.
pub(crate) fn failure(format: Format, failure: &Failure) {
    let Some((kind, messages)) = failure.messages() else {
        return;
    };
    for message in messages {
        let line = match format {
            Format::Text => format!("goku: {message}"),
            Format::Json => json::failure(kind, &message, failure.code()),
        };
        telemetry::write_line(&line);
    }
}
