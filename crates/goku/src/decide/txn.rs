//! Transactions over several keys.

use std::cmp::Ordering;

use super::needs::{Needs, RangeNeed};
use super::state::{Row, State};
use super::working::{Decided, Stop, Working};
use super::write;
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{LeaseId, Tag};
use crate::key::{Key, KeyRange};
use crate::limits::{TXN_BYTES_MAX, TXN_ROWS_MAX};
use crate::request::{Condition, ListRequest};
use crate::txn::{Compare, Operation, OperationAnswer, Relation, Target, Txn, TxnAnswer};

/// Rows that one list may read: one row more than is allowed shows that there are too many.
const LIST_ROWS_PROBE: usize = TXN_ROWS_MAX + 1;

/// Decides a transaction. If it fails, the caller rolls back its changes.
pub(super) fn decide(working: &mut Working<'_>, txn: &Txn) -> Decided<TxnAnswer> {
    let succeeded = compare(working, &txn.compare)?;
    let branch = if succeeded { &txn.then } else { &txn.otherwise };
    let mut answers = Vec::with_capacity(branch.len());
    let mut size = AnswerSize::default();
    for (index, operation) in branch.iter().enumerate() {
        let answer = operate(working, operation, &size).map_err(|stop| name_operation(stop, index))?;
        size.add(&answer)?;
        answers.push(answer);
    }
    Ok(TxnAnswer {
        succeeded,
        rev: working.rev(),
        at: working.snapshot(),
        answers,
    })
}

/// Decides a transaction that only reads, on rows as of one snapshot; returns what it still needs, or its answer.
pub(crate) fn read(txn: &Txn, state: &State) -> Result<Result<TxnAnswer>, Box<Needs>> {
    let mut working = Working::new(state, Tag::default());
    match decide(&mut working, txn) {
        Ok(answer) => Ok(Ok(answer)),
        Err(Stop::Failed(error)) => Ok(Err(error)),
        Err(Stop::Missing) => Err(Box::new(working.needs)),
    }
}

/// The rows that a transaction reads, both branches.
pub(crate) fn needs_of(txn: &Txn) -> Needs {
    let mut needs = Needs::default();
    first_needs(txn, &mut needs);
    needs
}

/// Adds the rows that a transaction reads to the needs of others.
pub(super) fn first_needs(txn: &Txn, needs: &mut Needs) {
    for compare in &txn.compare {
        needs.key(&compare.key, matches!(compare.target, Target::Value(_)));
    }
    for operation in txn.then.iter().chain(&txn.otherwise) {
        match operation {
            Operation::Get(key) => needs.key(key, true),
            Operation::Set(set) => {
                needs.key(&set.key, false);
                needs.leases.extend(set.lease.named());
            }
            Operation::Delete(delete) => needs.key(&delete.key, false),
            Operation::List(list) => {
                let rows_max = list.limit.map_or(LIST_ROWS_PROBE, |limit| limit.min(LIST_ROWS_PROBE));
                needs.range(RangeNeed {
                    range: range_of(list),
                    rows_max,
                    values: !list.keys_only,
                });
            }
        }
    }
}

fn compare(working: &mut Working<'_>, compares: &[Compare]) -> Decided<bool> {
    let mut holds = true;
    for compare in compares {
        let row = match compare.target {
            Target::Value(_) => working.live_with_value(&compare.key)?,
            _ => working.row(&compare.key)?.filter(Row::is_live),
        };
        holds &= holds_for(compare, row.as_ref())?;
    }
    Ok(holds)
}

/// Whether one comparison holds for the row of a key that exists, or for an absent one.
fn holds_for(compare: &Compare, row: Option<&Row>) -> Result<bool> {
    let left = |number: fn(&Row) -> i64| row.map_or(0, number);
    let ordering = match &compare.target {
        Target::Exists(wanted) => row.is_some().cmp(wanted),
        Target::Version(wanted) => left(|row| row.version.get()).cmp(wanted),
        // By what is shown; two leases that are shown alike differ all the same.
        Target::Lease(wanted) => {
            let order = |lease: LeaseId| (lease.shown(), lease.get());
            row.map_or((0, 0), |row| order(row.lease_id))
                .cmp(&wanted.map_or((0, 0), order))
        }
        Target::CreatedRef(wanted) => left(|row| row.created_ref.get()).cmp(&wanted.get()),
        Target::UpdatedRef(wanted) => left(|row| row.updated_ref.get()).cmp(&wanted.get()),
        Target::Value(wanted) => match row.map(|row| row.inline_value(&compare.key)).transpose()?.flatten() {
            Some(value) => value.cmp(wanted.as_argument()?),
            None => return Ok(compare.relation == Relation::NotEqual),
        },
    };
    Ok(match compare.relation {
        Relation::Equal => ordering == Ordering::Equal,
        Relation::NotEqual => ordering != Ordering::Equal,
        Relation::Less => ordering == Ordering::Less,
        Relation::Greater => ordering == Ordering::Greater,
    })
}

fn operate(working: &mut Working<'_>, operation: &Operation, size: &AnswerSize) -> Decided<OperationAnswer> {
    match operation {
        Operation::Get(key) => {
            let row = working.live_with_value(key)?;
            let entry = row.map(|row| answer_of(key, &row)).transpose()?;
            Ok(OperationAnswer::Get(entry))
        }
        Operation::Set(set) => write::set(working, set).map(OperationAnswer::Set),
        Operation::Delete(delete) => {
            let exists = working.row(&delete.key)?.is_some_and(|row| row.is_live());
            if !exists && delete.condition == Condition::Any {
                return Ok(OperationAnswer::Delete(None));
            }
            write::delete(working, delete).map(|entry| OperationAnswer::Delete(Some(entry)))
        }
        Operation::List(list) => list_rows(working, list, size).map(OperationAnswer::List),
    }
}

fn list_rows(working: &mut Working<'_>, list: &ListRequest, size: &AnswerSize) -> Decided<Vec<Entry>> {
    let limit = list.limit.map_or(LIST_ROWS_PROBE, |limit| limit.min(LIST_ROWS_PROBE));
    if limit == 0 {
        return Ok(Vec::new());
    }
    let rows = working.list(&range_of(list), limit, !list.keys_only)?;
    if rows.len() + size.rows > TXN_ROWS_MAX {
        let message = format!("the lists of a transaction read at most {TXN_ROWS_MAX} keys together: give a limit");
        return Err(Error::new(ErrorKind::TooLarge, message).into());
    }
    rows.into_iter()
        .map(|(key, row)| entry_of(working, key, row, list.keys_only))
        .collect()
}

fn entry_of(working: &mut Working<'_>, key: Key, mut row: Row, keys_only: bool) -> Decided<Entry> {
    if keys_only {
        row.value = None;
    } else if row.value.is_none() {
        working.needs.key(&key, true);
        return Err(Stop::Missing);
    }
    Ok(answer_of(&key, &row)?)
}

/// The state of a key as it is answered: with its value, which is not a large one.
fn answer_of(key: &Key, row: &Row) -> Result<Entry> {
    row.inline_value(key)?;
    Ok(row.to_entry(key))
}

fn range_of(list: &ListRequest) -> KeyRange {
    match &list.start {
        Some(start) => list.prefix.range().starting_at(start),
        None => list.prefix.range(),
    }
}

fn name_operation(stop: Stop, index: usize) -> Stop {
    match stop {
        Stop::Failed(error) => Stop::Failed(error.context(format!("operation {index}, nothing was applied"))),
        Stop::Missing => Stop::Missing,
    }
}

/// The size of a transaction's answer so far.
#[derive(Default)]
struct AnswerSize {
    rows: usize,
    bytes: usize,
}

impl AnswerSize {
    fn add(&mut self, answer: &OperationAnswer) -> Result<()> {
        let entries = match answer {
            OperationAnswer::Get(entry) | OperationAnswer::Delete(entry) => entry.as_slice(),
            OperationAnswer::Set(entry) => std::slice::from_ref(entry),
            OperationAnswer::List(entries) => {
                self.rows += entries.len();
                entries
            }
        };
        self.bytes += entries
            .iter()
            .map(|entry| entry.key.as_bytes().len() + entry.value.bytes_in_memory())
            .sum::<usize>();
        if self.bytes > TXN_BYTES_MAX {
            let message = format!("the answer of a transaction holds at most {TXN_BYTES_MAX} bytes: read less in one");
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        Ok(())
    }
}
