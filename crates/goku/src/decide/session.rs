//! Sessions: the outcomes of numbered writes, so that a write that is sent again is answered and not done again.

use serde::{Deserialize, Serialize};

use super::request::{Answer, Request};
use super::session_row::{Known, SessionRow, unreadable};
use super::working::Working;
use crate::clock::Timestamp;
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Epoch, EventId, LeaseId, Position, Revision, Snapshot, Tag, Version};
use crate::key::Key;
use crate::lease::Lease;
use crate::limits::OUTCOME_BYTES_MAX;
use crate::txn::{Operation, OperationAnswer, Txn, TxnAnswer};
use crate::value::Value;
use crate::write::WriteId;

/// Longest message of a refusal that is kept, in characters.
const MESSAGE_CHARS_MAX: usize = 400;

/// An outcome without what the request itself says.
#[derive(Serialize, Deserialize)]
enum Outcome {
    Entry(EntryRecord),
    Lease(LeaseRecord),
    Txn(TxnRecord),
    Refused(Refusal, String),
    /// Decided, as this revision if anything changed; the answer was too large to keep.
    NotKept(Option<i64>),
}

/// The entry was deleted.
const DELETED: u8 = 1;

/// Its lease was granted. Neither this nor [`NOT_LEASED`] where nobody said.
const LEASED: u8 = 2;

/// Its lease exists only because the key needed one.
const NOT_LEASED: u8 = 4;

#[derive(Serialize, Deserialize)]
struct EntryRecord {
    version: i64,
    created_ref: i64,
    updated_ref: i64,
    /// [`DELETED`], [`LEASED`] and [`NOT_LEASED`]. Before there were the last two it was a boolean, which is stored alike.
    flags: u8,
    lease_id: i64,
    created_version: i64,
    created_rev: i64,
    updated_rev: i64,
}

#[derive(Serialize, Deserialize)]
struct LeaseRecord {
    id: i64,
    version: i64,
    expires_at: Option<i64>,
    ttl_ms: Option<u64>,
    now: i64,
}

#[derive(Serialize, Deserialize)]
struct TxnRecord {
    succeeded: bool,
    rev: Option<i64>,
    epoch: (i64, u64),
    position: (i64, u64),
    answers: Vec<OperationRecord>,
}

#[derive(Serialize, Deserialize)]
enum OperationRecord {
    /// The answer of a Get, Set or Delete, with the value of a Get.
    Entry(Option<(EntryRecord, Vec<u8>)>),
    List(Vec<(Vec<u8>, EntryRecord, Vec<u8>)>),
}

/// The kinds of errors that a decision ends with.
#[derive(Serialize, Deserialize)]
enum Refusal {
    InvalidArgument,
    TooLarge,
    NotFound,
    LeaseNotFound,
    ConditionFailed,
    Internal,
}

/// Decides a numbered write: a new number with `decide`; a known one is answered as it was decided the first time.
pub(super) fn once(
    working: &mut Working<'_>,
    id: WriteId,
    request: &Request,
    decide: impl FnOnce(&mut Working<'_>) -> Result<Answer>,
) -> Result<Answer> {
    let Some(known) = working.session(id.session) else {
        // The session is in the needs now; this decision is thrown away.
        return decide(working);
    };
    let mut session = match known {
        Some(session) => session,
        // The number 1 begins a session that nobody has seen.
        None if id.number == 1 => SessionRow::default(),
        None => return Err(expired(id)),
    };
    match session.look_up(id.number) {
        Known::Outcome(outcome) => recall(&outcome, request),
        Known::Forgotten => Err(expired(id)),
        Known::Nothing => {
            let result = decide(working);
            // A refusal that passes is no outcome: the write is to be decided anew when it is sent again.
            if result
                .as_ref()
                .is_err_and(|error| matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::PermissionDenied))
            {
                return result;
            }
            session.forget(id.answered);
            session.keep(id.number, encode(&result), shortened);
            working.put_session(id.session, session);
            result
        }
    }
}

fn expired(id: WriteId) -> Error {
    let message = format!("the store does not know write {id} any more: whether it was applied before is not known");
    Error::new(ErrorKind::SessionExpired, message)
}

fn encode(result: &Result<Answer>) -> Vec<u8> {
    let outcome = to_bytes(&Outcome::of(result));
    if outcome.len() <= OUTCOME_BYTES_MAX {
        outcome
    } else {
        shortened(outcome)
    }
}

fn to_bytes(outcome: &Outcome) -> Vec<u8> {
    postcard::to_allocvec(outcome).expect("an outcome has nothing that could not be encoded")
}

/// An outcome without its large parts.
fn shortened(outcome: Vec<u8>) -> Vec<u8> {
    match postcard::from_bytes(&outcome) {
        Ok(Outcome::Txn(record)) => to_bytes(&Outcome::NotKept(record.rev)),
        Ok(Outcome::Refused(refusal, _)) => to_bytes(&Outcome::Refused(refusal, String::new())),
        Ok(Outcome::Entry(_) | Outcome::Lease(_) | Outcome::NotKept(_)) | Err(_) => outcome,
    }
}

/// The answer that the same request was given the first time.
fn recall(outcome: &[u8], request: &Request) -> Result<Answer> {
    match (postcard::from_bytes(outcome).map_err(unreadable)?, request.write()) {
        (Outcome::Refused(refusal, message), _) if message.is_empty() => {
            let message = "the write was refused when it was first sent; the reason was not kept";
            Err(Error::new(refusal.kind(), message))
        }
        (Outcome::Refused(refusal, message), _) => Err(Error::new(refusal.kind(), message)),
        (Outcome::NotKept(rev), _) => {
            let rev = rev.map(Revision::new).transpose()?;
            let what = match rev {
                Some(rev) => format!("applied, as revision {rev},"),
                None => "decided, without a change,".to_owned(),
            };
            let message =
                format!("the transaction was {what} when it was sent before; its answer was too large to keep");
            Err(Error::new(ErrorKind::AnswerNotKept { rev }, message))
        }
        (Outcome::Entry(entry), Request::Set(set)) => Ok(Answer::Entry(entry.to_entry(&set.key, Value::default())?)),
        (Outcome::Entry(entry), Request::Delete(delete)) => {
            Ok(Answer::Entry(entry.to_entry(&delete.key, Value::default())?))
        }
        (Outcome::Lease(lease), Request::Lease(_)) => lease.to_lease().map(Answer::Lease),
        (Outcome::Txn(record), Request::Txn(txn)) => record.to_answer(txn).map(Answer::Txn),
        _ => Err(other_request()),
    }
}

fn other_request() -> Error {
    Error::new(
        ErrorKind::InvalidArgument,
        "the number was used for another write: each write has a number of its own",
    )
}

impl Outcome {
    fn of(result: &Result<Answer>) -> Outcome {
        match result {
            Ok(Answer::Entry(entry)) => Outcome::Entry(EntryRecord::of(entry)),
            Ok(Answer::Lease(lease)) => Outcome::Lease(LeaseRecord::of(lease)),
            Ok(Answer::Txn(answer)) => {
                TxnRecord::of(answer).map_or(Outcome::NotKept(answer.rev.map(Revision::get)), Outcome::Txn)
            }
            Ok(
                Answer::Configured(_)
                | Answer::OtherSettings
                | Answer::Probed
                | Answer::ExpiredDue { .. }
                | Answer::ExpiredIfDue(_)
                | Answer::ExpiredPiece { .. },
            ) => Outcome::NotKept(None),
            Err(error) => {
                let message = error.message().chars().take(MESSAGE_CHARS_MAX).collect();
                Outcome::Refused(Refusal::of(error.kind()), message)
            }
        }
    }
}

impl Refusal {
    fn of(kind: ErrorKind) -> Refusal {
        match kind {
            ErrorKind::InvalidArgument | ErrorKind::InvalidKey => Refusal::InvalidArgument,
            ErrorKind::TooLarge => Refusal::TooLarge,
            ErrorKind::NotFound => Refusal::NotFound,
            ErrorKind::LeaseNotFound => Refusal::LeaseNotFound,
            ErrorKind::ConditionFailed => Refusal::ConditionFailed,
            _ => Refusal::Internal,
        }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Refusal::InvalidArgument => ErrorKind::InvalidArgument,
            Refusal::TooLarge => ErrorKind::TooLarge,
            Refusal::NotFound => ErrorKind::NotFound,
            Refusal::LeaseNotFound => ErrorKind::LeaseNotFound,
            Refusal::ConditionFailed => ErrorKind::ConditionFailed,
            Refusal::Internal => ErrorKind::Internal,
        }
    }
}

impl EntryRecord {
    fn of(entry: &Entry) -> EntryRecord {
        EntryRecord {
            version: entry.version.get(),
            created_ref: entry.created_ref.get(),
            updated_ref: entry.updated_ref.get(),
            flags: entry.deleted_ref.map_or(0, |_| DELETED)
                | match entry.leased {
                    None => 0,
                    Some(true) => LEASED,
                    Some(false) => NOT_LEASED,
                },
            lease_id: entry.lease_id.get(),
            created_version: entry.created_version.get(),
            created_rev: entry.created_rev.get(),
            updated_rev: entry.updated_rev.get(),
        }
    }

    fn to_entry(&self, key: &Key, value: Value) -> Result<Entry> {
        let updated_ref = EventId::new(self.updated_ref)?;
        Ok(Entry {
            key: key.clone(),
            value,
            version: Version::new(self.version)?,
            created_ref: EventId::new(self.created_ref)?,
            updated_ref,
            deleted_ref: (self.flags & DELETED != 0).then_some(updated_ref),
            lease_id: LeaseId::new(self.lease_id)?,
            leased: match self.flags & (LEASED | NOT_LEASED) {
                LEASED => Some(true),
                NOT_LEASED => Some(false),
                _ => None,
            },
            created_version: Version::new(self.created_version)?,
            created_rev: Revision::new(self.created_rev)?,
            updated_rev: Revision::new(self.updated_rev)?,
        })
    }
}

impl LeaseRecord {
    fn of(lease: &Lease) -> LeaseRecord {
        LeaseRecord {
            id: lease.id.get(),
            version: lease.version.get(),
            expires_at: lease.expires_at.map(Timestamp::as_millis),
            ttl_ms: lease.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
            now: lease.now.as_millis(),
        }
    }

    fn to_lease(&self) -> Result<Lease> {
        Ok(Lease {
            id: LeaseId::new(self.id)?,
            version: Version::new(self.version)?,
            expires_at: self.expires_at.map(Timestamp::from_millis).transpose()?,
            ttl: self.ttl_ms.map(std::time::Duration::from_millis),
            now: Timestamp::from_millis(self.now)?,
        })
    }
}

impl TxnRecord {
    /// The record of an answer; `None` where that has a large value, which is not kept.
    fn of(answer: &TxnAnswer) -> Option<TxnRecord> {
        Some(TxnRecord {
            succeeded: answer.succeeded,
            rev: answer.rev.map(Revision::get),
            epoch: (answer.at.epoch.number(), answer.at.epoch.salt()),
            position: (answer.at.position.id.get(), answer.at.position.tag.get()),
            answers: answer.answers.iter().map(OperationRecord::of).collect::<Option<_>>()?,
        })
    }

    fn to_answer(&self, txn: &Txn) -> Result<TxnAnswer> {
        let branch = if self.succeeded { &txn.then } else { &txn.otherwise };
        if branch.len() != self.answers.len() {
            return Err(other_request());
        }
        let answers = branch
            .iter()
            .zip(&self.answers)
            .map(|(operation, record)| record.to_answer(operation));
        let position = Position {
            id: EventId::new(self.position.0)?,
            tag: Tag::new(self.position.1),
        };
        let rev = self.rev.map(Revision::new).transpose()?;
        Ok(TxnAnswer {
            succeeded: self.succeeded,
            rev,
            at: Snapshot {
                epoch: Epoch::new(self.epoch.0, self.epoch.1),
                position,
                // What a transaction without events found is not kept.
                rev,
            },
            answers: answers.collect::<Result<_>>()?,
        })
    }
}

impl OperationRecord {
    fn of(answer: &OperationAnswer) -> Option<OperationRecord> {
        let with_value = |entry: &Entry| Some((EntryRecord::of(entry), entry.value.inline()?.to_vec()));
        Some(match answer {
            OperationAnswer::Get(None) | OperationAnswer::Delete(None) => OperationRecord::Entry(None),
            OperationAnswer::Get(Some(entry)) | OperationAnswer::Delete(Some(entry)) | OperationAnswer::Set(entry) => {
                OperationRecord::Entry(Some(with_value(entry)?))
            }
            OperationAnswer::List(entries) => {
                let entries = entries.iter().map(|entry| {
                    let (record, value) = with_value(entry)?;
                    Some((entry.key.as_bytes().to_vec(), record, value))
                });
                OperationRecord::List(entries.collect::<Option<_>>()?)
            }
        })
    }

    fn to_answer(&self, operation: &Operation) -> Result<OperationAnswer> {
        let entry_of = |key: &Key, record: &Option<(EntryRecord, Vec<u8>)>| {
            let entry = record.as_ref().map(|(entry, value)| entry.to_entry(key, value.into()));
            entry.transpose()
        };
        match (operation, self) {
            (Operation::Get(key), OperationRecord::Entry(record)) => Ok(OperationAnswer::Get(entry_of(key, record)?)),
            (Operation::Set(set), OperationRecord::Entry(record)) => entry_of(&set.key, record)?
                .map(OperationAnswer::Set)
                .ok_or_else(other_request),
            (Operation::Delete(delete), OperationRecord::Entry(record)) => {
                Ok(OperationAnswer::Delete(entry_of(&delete.key, record)?))
            }
            (Operation::List(_), OperationRecord::List(entries)) => {
                let entries = entries
                    .iter()
                    .map(|(key, entry, value)| entry.to_entry(&Key::from_bytes(key)?, value.into()));
                Ok(OperationAnswer::List(entries.collect::<Result<_>>()?))
            }
            _ => Err(other_request()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::ListRequest;

    #[test]
    fn an_answer_with_a_large_value_is_not_kept() {
        let key = Key::new("k").unwrap();
        let rev = Revision::new(3).unwrap();
        let entry = Entry {
            key: key.clone(),
            value: Value::large(5_000_000_000),
            version: Version::FIRST,
            created_ref: EventId::ZERO,
            updated_ref: EventId::ZERO,
            deleted_ref: None,
            lease_id: LeaseId::new(1).unwrap(),
            leased: None,
            created_version: Version::FIRST,
            created_rev: Revision::default(),
            updated_rev: Revision::default(),
        };
        for (operation, answer) in [
            (Operation::Get(key), OperationAnswer::Get(Some(entry.clone()))),
            (
                Operation::List(ListRequest::default()),
                OperationAnswer::List(vec![entry]),
            ),
        ] {
            let answer = TxnAnswer {
                succeeded: true,
                rev: Some(rev),
                at: Snapshot::default(),
                answers: vec![answer],
            };
            let txn = Txn {
                then: vec![operation],
                ..Txn::default()
            };
            let recalled = recall(&encode(&Ok(Answer::Txn(answer))), &Request::Txn(txn));
            assert_eq!(
                recalled.unwrap_err().kind(),
                ErrorKind::AnswerNotKept { rev: Some(rev) }
            );
        }
    }
}
