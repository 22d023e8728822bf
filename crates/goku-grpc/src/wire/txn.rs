//! Transactions.

use goku::{
    Compare, Error, EventId, LeaseId, Operation, OperationAnswer, Relation, Result, Revision, Target, Txn, TxnAnswer,
};

use super::{impossible, invalid, key, listed, missing, own};
use crate::proto::gokupb as pb;
use pb::compare::Target as WireTarget;
use pb::operation::Operation as WireOperation;
use pb::operation_response::Answer as WireAnswer;

impl TryFrom<Txn> for pb::TxnRequest {
    type Error = Error;

    fn try_from(txn: Txn) -> Result<pb::TxnRequest> {
        let branch = |operations: Vec<Operation>| {
            operations
                .into_iter()
                .map(pb::Operation::try_from)
                .collect::<Result<_>>()
        };
        Ok(pb::TxnRequest {
            compare: txn
                .compare
                .into_iter()
                .map(pb::Compare::try_from)
                .collect::<Result<_>>()?,
            then: branch(txn.then)?,
            otherwise: branch(txn.otherwise)?,
        })
    }
}

impl TryFrom<pb::TxnRequest> for Txn {
    type Error = Error;

    fn try_from(txn: pb::TxnRequest) -> Result<Txn> {
        Ok(Txn {
            compare: txn.compare.into_iter().map(Compare::try_from).collect::<Result<_>>()?,
            then: txn.then.into_iter().map(Operation::try_from).collect::<Result<_>>()?,
            otherwise: txn
                .otherwise
                .into_iter()
                .map(Operation::try_from)
                .collect::<Result<_>>()?,
        })
    }
}

impl TryFrom<Compare> for pb::Compare {
    type Error = Error;

    fn try_from(compare: Compare) -> Result<pb::Compare> {
        let relation = match compare.relation {
            Relation::Equal => pb::Relation::Equal,
            Relation::NotEqual => pb::Relation::NotEqual,
            Relation::Less => pb::Relation::Less,
            Relation::Greater => pb::Relation::Greater,
        };
        let target = match compare.target {
            Target::Exists(exists) => WireTarget::Exists(exists),
            Target::Version(version) => WireTarget::Version(version),
            Target::Value(value) => WireTarget::Value(value.into_argument()?),
            Target::Lease(lease) => WireTarget::LeaseId(lease.map_or(0, LeaseId::get)),
            Target::CreatedRef(event) => WireTarget::CreatedRef(event.get()),
            Target::UpdatedRef(event) => WireTarget::UpdatedRef(event.get()),
        };
        let (key, key_bytes) = key::to_request(&compare.key);
        Ok(pb::Compare {
            key,
            key_bytes,
            relation: relation.into(),
            target: Some(target),
        })
    }
}

impl TryFrom<pb::Compare> for Compare {
    type Error = Error;

    fn try_from(compare: pb::Compare) -> Result<Compare> {
        let relation = match pb::Relation::try_from(compare.relation) {
            Ok(pb::Relation::Equal) => Relation::Equal,
            Ok(pb::Relation::NotEqual) => Relation::NotEqual,
            Ok(pb::Relation::Less) => Relation::Less,
            Ok(pb::Relation::Greater) => Relation::Greater,
            Ok(pb::Relation::Unspecified) | Err(_) => {
                return Err(invalid(format!(
                    "a comparison has the relation 1 equal, 2 not equal, 3 less or 4 greater, not {}",
                    compare.relation
                )));
            }
        };
        let event = |id| EventId::new(id).map_err(|_| invalid(format!("refs count from 0, {id} is none")));
        let target = match compare.target {
            Some(WireTarget::Exists(exists)) => Target::Exists(exists),
            Some(WireTarget::Version(version)) => Target::Version(version),
            Some(WireTarget::Value(value)) => Target::Value(own(value)),
            Some(WireTarget::LeaseId(0)) => Target::Lease(None),
            Some(WireTarget::LeaseId(id)) => Target::Lease(Some(LeaseId::new(id)?)),
            Some(WireTarget::CreatedRef(id)) => Target::CreatedRef(event(id)?),
            Some(WireTarget::UpdatedRef(id)) => Target::UpdatedRef(event(id)?),
            None => {
                return Err(invalid(
                    "a comparison without a target: none is given, or one that this server does not know",
                ));
            }
        };
        Ok(Compare {
            key: key::from_request(&compare.key, &compare.key_bytes)?,
            relation,
            target,
        })
    }
}

impl TryFrom<Operation> for pb::Operation {
    type Error = Error;

    fn try_from(operation: Operation) -> Result<pb::Operation> {
        let operation = match operation {
            Operation::Get(key) => {
                let (key, key_bytes) = key::to_request(&key);
                WireOperation::Get(pb::GetRequest { key, key_bytes, at: 0 })
            }
            Operation::Set(set) => WireOperation::Set(set.try_into()?),
            Operation::Delete(delete) => WireOperation::Delete(delete.into()),
            Operation::List(list) => WireOperation::List(list.into()),
        };
        Ok(pb::Operation {
            operation: Some(operation),
        })
    }
}

impl TryFrom<pb::Operation> for Operation {
    type Error = Error;

    fn try_from(operation: pb::Operation) -> Result<Operation> {
        Ok(match operation.operation {
            Some(WireOperation::Get(get)) if get.at != 0 => {
                return Err(invalid(
                    "a transaction reads a key as it finds it, not as it was at an event",
                ));
            }
            Some(WireOperation::Get(get)) => Operation::Get(key::from_request(&get.key, &get.key_bytes)?),
            Some(WireOperation::Set(set)) => Operation::Set(set.try_into()?),
            Some(WireOperation::Delete(delete)) => Operation::Delete(delete.try_into()?),
            Some(WireOperation::List(list)) => Operation::List(list.try_into()?),
            None => {
                return Err(invalid(
                    "an empty operation: none is given, or one that this server does not know",
                ));
            }
        })
    }
}

impl TryFrom<TxnAnswer> for pb::TxnResponse {
    type Error = Error;

    fn try_from(answer: TxnAnswer) -> Result<pb::TxnResponse> {
        Ok(pb::TxnResponse {
            succeeded: answer.succeeded,
            rev: answer.rev.map_or(0, Revision::get),
            at: Some(answer.at.into()),
            answers: answer
                .answers
                .into_iter()
                .map(pb::OperationResponse::try_from)
                .collect::<Result<_>>()?,
        })
    }
}

impl TryFrom<pb::TxnResponse> for TxnAnswer {
    type Error = Error;

    fn try_from(answer: pb::TxnResponse) -> Result<TxnAnswer> {
        Ok(TxnAnswer {
            succeeded: answer.succeeded,
            rev: match answer.rev {
                0 => None,
                rev => Some(Revision::new(rev).map_err(impossible)?),
            },
            at: answer
                .at
                .ok_or_else(|| missing("a transaction without a snapshot"))?
                .try_into()?,
            answers: answer
                .answers
                .into_iter()
                .map(OperationAnswer::try_from)
                .collect::<Result<_>>()?,
        })
    }
}

impl TryFrom<OperationAnswer> for pb::OperationResponse {
    type Error = Error;

    fn try_from(answer: OperationAnswer) -> Result<pb::OperationResponse> {
        let answer = match answer {
            OperationAnswer::Get(entry) => WireAnswer::Get(pb::OptionalKv {
                kv: entry.map(listed).transpose()?,
            }),
            OperationAnswer::Set(entry) => WireAnswer::Set(entry.try_into()?),
            OperationAnswer::Delete(entry) => WireAnswer::Delete(entry.try_into()?),
            OperationAnswer::List(entries) => WireAnswer::List(entries.try_into()?),
        };
        Ok(pb::OperationResponse { answer: Some(answer) })
    }
}

impl TryFrom<pb::OperationResponse> for OperationAnswer {
    type Error = Error;

    fn try_from(answer: pb::OperationResponse) -> Result<OperationAnswer> {
        Ok(match answer.answer {
            Some(WireAnswer::Get(get)) => OperationAnswer::Get(get.try_into()?),
            Some(WireAnswer::Set(set)) => OperationAnswer::Set(set.try_into()?),
            Some(WireAnswer::Delete(delete)) => OperationAnswer::Delete(delete.try_into()?),
            Some(WireAnswer::List(list)) => OperationAnswer::List(list.try_into()?),
            None => return Err(missing("an operation without an answer")),
        })
    }
}
