//! The model's transactions.

use std::cmp::Ordering;

use goku::limits::{TXN_BYTES_MAX, TXN_OPERATIONS_MAX, TXN_ROWS_MAX};
use goku::{
    Compare, Condition, Entry, ErrorKind, Key, LeaseId, Operation, OperationAnswer, Relation, Result, Target, Txn,
    TxnAnswer,
};

use super::{Model, error, without_value};

impl Model {
    /// Decides a transaction.
    pub fn txn(&mut self, txn: &Txn) -> Result<TxnAnswer> {
        check_size(txn)?;
        let reads_the_past = |operation: &Operation| matches!(operation, Operation::List(list) if list.at.is_some());
        if txn.then.iter().chain(&txn.otherwise).any(reads_the_past) {
            return Err(error(ErrorKind::InvalidArgument, "a transaction reads what is there"));
        }
        let (before, rev) = (self.head(), self.rev.next());
        let (succeeded, answers) = self.request(|model| {
            let mut succeeded = true;
            for compare in &txn.compare {
                succeeded &= model.holds(compare)?;
            }
            let branch = if succeeded { &txn.then } else { &txn.otherwise };
            let mut rows_left = TXN_ROWS_MAX;
            let mut answers = Vec::new();
            for operation in branch {
                answers.push(model.operate(operation, &mut rows_left)?);
            }
            if answers.iter().map(answer_bytes).sum::<usize>() > TXN_BYTES_MAX {
                return Err(error(ErrorKind::TooLarge, "the answer is too large"));
            }
            Ok((succeeded, answers))
        })?;
        Ok(TxnAnswer {
            succeeded,
            rev: (self.head() > before).then_some(rev),
            at: self.snapshot(),
            answers,
        })
    }

    fn operate(&mut self, operation: &Operation, rows_left: &mut usize) -> Result<OperationAnswer> {
        match operation {
            Operation::Get(key) => Ok(OperationAnswer::Get(self.get(key).ok())),
            Operation::Set(request) => self.do_set(request).map(OperationAnswer::Set),
            Operation::Delete(request) if request.condition == Condition::Any && self.live(&request.key).is_none() => {
                Ok(OperationAnswer::Delete(None))
            }
            Operation::Delete(request) => Ok(OperationAnswer::Delete(Some(self.do_delete(request)?))),
            Operation::List(request) => {
                let entries = self.list(request);
                *rows_left = rows_left
                    .checked_sub(entries.len())
                    .ok_or_else(|| error(ErrorKind::TooLarge, "too many rows"))?;
                Ok(OperationAnswer::List(entries))
            }
        }
    }

    fn holds(&self, compare: &Compare) -> Result<bool> {
        let entry = self.live(&compare.key);
        let ordering = match &compare.target {
            Target::Exists(exists) => {
                if matches!(compare.relation, Relation::Less | Relation::Greater) {
                    return Err(error(ErrorKind::InvalidArgument, "existence has no order"));
                }
                Some(entry.is_some().cmp(exists))
            }
            Target::Value(value) => {
                let value = value.as_argument()?;
                let found = entry.map(Entry::inline_value).transpose()?;
                found.map(|found| found.cmp(value))
            }
            Target::Version(version) => Some(number(entry, |entry| entry.version.get()).cmp(version)),
            Target::Lease(lease) => {
                // By the numbers that are shown; the store's own lease and a chosen one of the same number differ.
                let shown = |id: Option<LeaseId>| id.map_or((0, 0), |id| (id.shown(), id.get()));
                Some(shown(entry.map(|entry| entry.lease_id)).cmp(&shown(*lease)))
            }
            Target::CreatedRef(id) => Some(number(entry, |entry| entry.created_ref.get()).cmp(&id.get())),
            Target::UpdatedRef(id) => Some(number(entry, |entry| entry.updated_ref.get()).cmp(&id.get())),
        };
        Ok(match compare.relation {
            Relation::Equal => ordering == Some(Ordering::Equal),
            Relation::NotEqual => ordering != Some(Ordering::Equal),
            Relation::Less => ordering == Some(Ordering::Less),
            Relation::Greater => ordering == Some(Ordering::Greater),
        })
    }
}

fn number(entry: Option<&Entry>, of: impl Fn(&Entry) -> i64) -> i64 {
    entry.map_or(0, of)
}

fn check_size(txn: &Txn) -> Result<()> {
    let counts = [txn.compare.len(), txn.then.len(), txn.otherwise.len()];
    if counts.iter().any(|count| *count > TXN_OPERATIONS_MAX) {
        return Err(error(ErrorKind::TooLarge, "too many operations"));
    }
    let compared = txn.compare.iter().map(|compare| {
        bytes_of(&compare.key)
            + match &compare.target {
                Target::Value(value) => value.bytes_in_memory(),
                _ => 0,
            }
    });
    let operated = txn.then.iter().chain(&txn.otherwise).map(|operation| match operation {
        Operation::Get(key) => bytes_of(key),
        Operation::Set(request) => bytes_of(&request.key) + request.value.bytes_in_memory(),
        Operation::Delete(request) => bytes_of(&request.key),
        Operation::List(request) => request.prefix.as_bytes().len() + request.start.as_ref().map_or(0, bytes_of),
    });
    if compared.chain(operated).sum::<usize>() > TXN_BYTES_MAX {
        return Err(error(ErrorKind::TooLarge, "the request is too large"));
    }
    Ok(())
}

fn answer_bytes(answer: &OperationAnswer) -> usize {
    let bytes = |entry: &Entry| bytes_of(&entry.key) + entry.value.bytes_in_memory();
    match answer {
        OperationAnswer::Get(entry) => entry.as_ref().map_or(0, bytes),
        OperationAnswer::Set(entry) => bytes(&without_value(entry)),
        OperationAnswer::Delete(entry) => entry.as_ref().map_or(0, bytes),
        OperationAnswer::List(entries) => entries.iter().map(bytes).sum(),
    }
}

fn bytes_of(key: &Key) -> usize {
    key.as_bytes().len()
}
