//! The JSON form of a transaction.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use goku::{
    Compare, Condition, DeleteRequest, EventId, Expiry, Key, LeaseId, ListRequest, Operation, Prefix, Relation,
    SetRequest, Target, Txn, Version,
};
use serde::Deserialize;

use crate::cli::time;

/// Reads a transaction, or says what is wrong with it and where.
pub(super) fn parse(json: &[u8]) -> Result<Txn, String> {
    let form: TxnForm = serde_json::from_slice(json).map_err(|error| format!("{error}; see `goku txn --help`"))?;
    Ok(Txn {
        compare: each("compare", form.compare, CompareForm::compare)?,
        then: each("then", form.then, OperationForm::operation)?,
        otherwise: each("else", form.otherwise, OperationForm::operation)?,
    })
}

fn each<F, T>(name: &str, forms: Vec<F>, read: impl Fn(F) -> Result<T, String>) -> Result<Vec<T>, String> {
    forms
        .into_iter()
        .enumerate()
        .map(|(index, form)| read(form).map_err(|message| format!("{name}[{index}]: {message}")))
        .collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TxnForm {
    #[serde(default)]
    compare: Vec<CompareForm>,
    #[serde(default)]
    then: Vec<OperationForm>,
    #[serde(default, rename = "else")]
    otherwise: Vec<OperationForm>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CompareForm {
    key: String,
    #[serde(default)]
    is: RelationForm,
    exists: Option<bool>,
    version: Option<i64>,
    value: Option<String>,
    value_base64: Option<String>,
    lease: Option<i64>,
    created_ref: Option<i64>,
    updated_ref: Option<i64>,
}

#[derive(Default, Deserialize)]
enum RelationForm {
    #[default]
    #[serde(rename = "=")]
    Equal,
    #[serde(rename = "!=")]
    NotEqual,
    #[serde(rename = "<")]
    Less,
    #[serde(rename = ">")]
    Greater,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum OperationForm {
    Get(GetForm),
    Set(SetForm),
    Delete(DeleteForm),
    List(ListForm),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GetForm {
    key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetForm {
    key: String,
    value: Option<String>,
    value_base64: Option<String>,
    lease: Option<i64>,
    ttl: Option<String>,
    expires_at: Option<String>,
    #[serde(default)]
    no_expiry: bool,
    if_version: Option<i64>,
    if_ref: Option<i64>,
    #[serde(default)]
    if_absent: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeleteForm {
    key: String,
    if_version: Option<i64>,
    if_ref: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListForm {
    #[serde(default)]
    prefix: String,
    start: Option<String>,
    limit: Option<usize>,
    #[serde(default)]
    keys_only: bool,
}

impl CompareForm {
    fn compare(self) -> Result<Compare, String> {
        let targets = [
            self.exists.map(Target::Exists),
            self.version.map(Target::Version),
            bytes(self.value, self.value_base64)?.map(Target::Value),
            self.lease.map(|id| lease_or_none(id).map(Target::Lease)).transpose()?,
            self.created_ref
                .map(|id| event_id(id).map(Target::CreatedRef))
                .transpose()?,
            self.updated_ref
                .map(|id| event_id(id).map(Target::UpdatedRef))
                .transpose()?,
        ];
        let mut targets = targets.into_iter().flatten();
        let (Some(target), None) = (targets.next(), targets.next()) else {
            return Err(
                "give one of exists, version, value, value_base64, lease, created_ref and updated_ref".to_string(),
            );
        };
        Ok(Compare {
            key: key(&self.key)?,
            relation: self.is.relation(),
            target,
        })
    }
}

impl RelationForm {
    fn relation(self) -> Relation {
        match self {
            RelationForm::Equal => Relation::Equal,
            RelationForm::NotEqual => Relation::NotEqual,
            RelationForm::Less => Relation::Less,
            RelationForm::Greater => Relation::Greater,
        }
    }
}

impl OperationForm {
    fn operation(self) -> Result<Operation, String> {
        Ok(match self {
            OperationForm::Get(get) => Operation::Get(key(&get.key)?),
            OperationForm::Set(set) => Operation::Set(set.request()?),
            OperationForm::Delete(delete) => Operation::Delete(delete.request()?),
            OperationForm::List(list) => Operation::List(list.request()?),
        })
    }
}

impl SetForm {
    fn request(self) -> Result<SetRequest, String> {
        let expiry = self.expiry()?;
        let condition = match (self.if_absent, self.if_version, self.if_ref) {
            (true, Some(number), None) => Condition::AbsentAt(version(number)?),
            (true, None, None) => Condition::Absent,
            (true, _, Some(_)) => return Err("if_absent and if_ref exclude each other".to_string()),
            (false, number, id) => last_event(number, id)?,
        };
        Ok(SetRequest {
            key: key(&self.key)?,
            value: bytes(self.value, self.value_base64)?.ok_or("give value or value_base64")?,
            condition,
            lease: self.lease.map(lease).transpose()?,
            expiry,
        })
    }

    fn expiry(&self) -> Result<Expiry, String> {
        match (&self.ttl, &self.expires_at, self.no_expiry) {
            (None, None, false) => Ok(Expiry::Keep),
            (None, None, true) => Ok(Expiry::Never),
            (Some(ttl), None, false) => time::parse_duration(ttl).map(Expiry::After),
            (None, Some(time), false) => time::parse(time).map(Expiry::At),
            _ => Err("ttl, expires_at and no_expiry exclude each other".to_string()),
        }
    }
}

impl DeleteForm {
    fn request(self) -> Result<DeleteRequest, String> {
        Ok(DeleteRequest::new(key(&self.key)?).condition(last_event(self.if_version, self.if_ref)?))
    }
}

impl ListForm {
    fn request(self) -> Result<ListRequest, String> {
        Ok(ListRequest {
            prefix: Prefix::new(self.prefix).map_err(message)?,
            start: self.start.as_deref().map(key).transpose()?,
            limit: self.limit,
            keys_only: self.keys_only,
        })
    }
}

fn last_event(number: Option<i64>, id: Option<i64>) -> Result<Condition, String> {
    match (number, id) {
        (None, None) => Ok(Condition::Any),
        (Some(number), None) => version(number).map(Condition::Version),
        (None, Some(id)) => event_id(id).map(Condition::Ref),
        (Some(_), Some(_)) => Err("if_version and if_ref exclude each other".to_string()),
    }
}

fn bytes(text: Option<String>, base64: Option<String>) -> Result<Option<Bytes>, String> {
    match (text, base64) {
        (None, None) => Ok(None),
        (Some(text), None) => Ok(Some(text.into())),
        (None, Some(base64)) => match BASE64.decode(base64) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) => Err(format!("value_base64 is not base64: {error}")),
        },
        (Some(_), Some(_)) => Err("value and value_base64 exclude each other".to_string()),
    }
}

fn key(text: &str) -> Result<Key, String> {
    Key::new(text).map_err(message)
}

fn version(number: i64) -> Result<Version, String> {
    Version::new(number).map_err(message)
}

fn event_id(id: i64) -> Result<EventId, String> {
    EventId::new(id).map_err(message)
}

fn lease(id: i64) -> Result<LeaseId, String> {
    LeaseId::new(id).map_err(message)
}

fn lease_or_none(id: i64) -> Result<Option<LeaseId>, String> {
    if id == 0 { Ok(None) } else { lease(id).map(Some) }
}

fn message(error: goku::Error) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (form, message) in [
            ("{", "line 1 column 1"),
            (r#"{"if": []}"#, "unknown field `if`"),
            (r#"{"compare": [{"key": "k"}]}"#, "compare[0]: give one of"),
            (
                r#"{"compare": [{"key": "k", "version": 1, "exists": true}]}"#,
                "compare[0]: give one of",
            ),
            (r#"{"compare": [{"key": "", "version": 1}]}"#, "compare[0]: invalid key"),
            (
                r#"{"compare": [{"key": "k", "version": 1, "is": ">="}]}"#,
                "unknown variant `>=`",
            ),
            (
                r#"{"then": [{"get": {"key": "k"}}, {"put": {}}]}"#,
                "unknown variant `put`",
            ),
            (
                r#"{"then": [{"get": {"key": "k"}}, {"set": {"key": "k"}}]}"#,
                "then[1]: give value",
            ),
            (
                r#"{"then": [{"set": {"key": "k", "value": "", "value_base64": ""}}]}"#,
                "exclude each other",
            ),
            (
                r#"{"then": [{"set": {"key": "k", "value_base64": "?"}}]}"#,
                "not base64",
            ),
            (
                r#"{"then": [{"set": {"key": "k", "value": "", "ttl": "1s", "no_expiry": true}}]}"#,
                "exclude",
            ),
            (
                r#"{"then": [{"set": {"key": "k", "value": "", "ttl": "soon"}}]}"#,
                "no duration",
            ),
            (
                r#"{"else": [{"delete": {"key": "k", "if_version": 0}}]}"#,
                "else[0]: versions count from 1",
            ),
        ] {
            let error = parse(form.as_bytes()).unwrap_err();
            assert!(error.contains(message), "{form}: {error}");
        }
    }

    #[test]
    fn every_option_has_its_place() {
        let form = r#"{"then": [
            {"set": {"key": "a", "value_base64": "AP8=", "lease": 5, "expires_at": "1970-01-01T00:00:01Z",
                     "if_absent": true, "if_version": 3}},
            {"delete": {"key": "b", "if_ref": 7}},
            {"list": {"start": "c", "limit": 2, "keys_only": true}}
        ]}"#;
        let a = SetRequest::new(key("a").unwrap(), &b"\0\xff"[..])
            .lease(lease(5).unwrap())
            .expiry(Expiry::At(goku::Timestamp::from_millis(1_000).unwrap()))
            .condition(Condition::AbsentAt(version(3).unwrap()));
        let b = DeleteRequest::new(key("b").unwrap()).condition(Condition::Ref(event_id(7).unwrap()));
        let c = ListRequest {
            prefix: Prefix::default(),
            start: Some(key("c").unwrap()),
            limit: Some(2),
            keys_only: true,
        };
        let txn = parse(form.as_bytes()).unwrap();
        assert_eq!(txn.then, [Operation::Set(a), Operation::Delete(b), Operation::List(c)]);
    }
}
