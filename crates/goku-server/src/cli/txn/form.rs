//! The JSON form of a transaction.

mod object;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use goku::{
    Compare, Condition, DeleteRequest, EventId, Expiry, Key, LeaseId, ListRequest, Operation, Prefix, Relation,
    SetLease, SetRequest, Target, Txn, Value, Version,
};
use serde::Deserialize;

use crate::cli::key::of_base64;
use crate::time;
use object::{Object, ObjectForm, explain};

/// Reads a transaction, or says what is wrong with it and where.
pub(super) fn parse(json: &[u8]) -> Result<Txn, String> {
    let Object(form) = serde_json::from_slice::<Object<TxnForm>>(json)
        .map_err(|error| format!("{}; see `goku txn --help`", explain(&error)))?;
    Ok(Txn {
        compare: each("compare", form.compare, CompareForm::compare)?,
        then: each("then", form.then, OperationForm::operation)?,
        otherwise: each("else", form.otherwise, OperationForm::operation)?,
    })
}

fn each<F, T>(name: &str, forms: Vec<Object<F>>, read: impl Fn(F) -> Result<T, String>) -> Result<Vec<T>, String> {
    forms
        .into_iter()
        .enumerate()
        .map(|(index, Object(form))| read(form).map_err(|message| format!("{name}[{index}]: {message}")))
        .collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TxnForm {
    #[serde(default)]
    compare: Vec<Object<CompareForm>>,
    #[serde(default)]
    then: Vec<Object<OperationForm>>,
    #[serde(default, rename = "else")]
    otherwise: Vec<Object<OperationForm>>,
}

impl ObjectForm for TxnForm {
    const IS: &'static str = "an object with `compare`, `then` and `else`";
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CompareForm {
    key: Option<String>,
    key_base64: Option<String>,
    #[serde(default)]
    is: RelationForm,
    exists: Option<bool>,
    version: Option<i64>,
    value: Option<String>,
    value_base64: Option<String>,
    lease: Option<i64>,
    created_ref: Option<i64>,
    /// Goes by the name that it has in the protocol, too.
    #[serde(rename = "ref", alias = "updated_ref")]
    updated_ref: Option<i64>,
}

impl ObjectForm for CompareForm {
    const IS: &'static str = "an object with `key` and what to compare";
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
#[serde(deny_unknown_fields)]
struct OperationForm {
    get: Option<Object<GetForm>>,
    set: Option<Object<SetForm>>,
    delete: Option<Object<DeleteForm>>,
    list: Option<Object<ListForm>>,
}

impl ObjectForm for OperationForm {
    const IS: &'static str = "an object with `get`, `set`, `delete` or `list`";
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GetForm {
    key: Option<String>,
    key_base64: Option<String>,
}

impl ObjectForm for GetForm {
    const IS: &'static str = "an object with `key`";
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetForm {
    key: Option<String>,
    key_base64: Option<String>,
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

impl ObjectForm for SetForm {
    const IS: &'static str = "an object with `key`, `value` and options";
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeleteForm {
    key: Option<String>,
    key_base64: Option<String>,
    if_version: Option<i64>,
    if_ref: Option<i64>,
}

impl ObjectForm for DeleteForm {
    const IS: &'static str = "an object with `key` and options";
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

impl ObjectForm for ListForm {
    const IS: &'static str = "an object with `prefix` and options";
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
            return Err("give one of exists, version, value, value_base64, lease, created_ref and ref".to_string());
        };
        Ok(Compare {
            key: key(self.key, self.key_base64)?,
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
        match (self.get, self.set, self.delete, self.list) {
            (Some(Object(get)), None, None, None) => Ok(Operation::Get(key(get.key, get.key_base64)?)),
            (None, Some(Object(set)), None, None) => Ok(Operation::Set(set.request()?)),
            (None, None, Some(Object(delete)), None) => Ok(Operation::Delete(delete.request()?)),
            (None, None, None, Some(Object(list))) => Ok(Operation::List(list.request()?)),
            _ => Err("give one of get, set, delete and list".to_string()),
        }
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
            key: key(self.key, self.key_base64)?,
            value: bytes(self.value, self.value_base64)?.ok_or("give value or value_base64")?,
            condition,
            lease: self
                .lease
                .map(lease)
                .transpose()?
                .map_or(SetLease::Own, SetLease::MoveTo),
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
        Ok(DeleteRequest::new(key(self.key, self.key_base64)?).condition(last_event(self.if_version, self.if_ref)?))
    }
}

impl ListForm {
    fn request(self) -> Result<ListRequest, String> {
        Ok(ListRequest {
            prefix: Prefix::new(self.prefix).map_err(message)?,
            start: self.start.map(Key::new).transpose().map_err(message)?,
            limit: self.limit,
            keys_only: self.keys_only,
            at: None,
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

fn bytes(text: Option<String>, base64: Option<String>) -> Result<Option<Value>, String> {
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

fn key(text: Option<String>, base64: Option<String>) -> Result<Key, String> {
    match (text, base64) {
        (Some(text), None) => Key::new(text).map_err(message),
        (None, Some(base64)) => of_base64(&base64),
        _ => Err("give key or key_base64".to_string()),
    }
}

fn version(number: i64) -> Result<Version, String> {
    Version::new(number).map_err(|_| {
        format!("versions count from 1, {number} is none; a key that must not exist is set with \"if_absent\": true")
    })
}

fn event_id(id: i64) -> Result<EventId, String> {
    EventId::new(id).map_err(|_| format!("refs count from 1, {id} is none"))
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
            (r#"{"compare": [{"version": 1}]}"#, "compare[0]: give key or key_base64"),
            (
                r#"{"then": [{"get": {"key": "k", "key_base64": "aw=="}}]}"#,
                "then[0]: give key or key_base64",
            ),
            (
                r#"{"then": [{"get": {"key_base64": "?"}}]}"#,
                "then[0]: the key is not base64",
            ),
            (
                r#"{"compare": [{"key": "k", "version": 1, "is": ">="}]}"#,
                "unknown variant `>=`",
            ),
            (
                r#"{"then": [{"get": {"key": "k"}}, {"put": {}}]}"#,
                "unknown field `put`",
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
                r#"then[0]: "soon" is not a duration: write 5s, 2m, 1h"#,
            ),
            (
                r#"{"else": [{"delete": {"key": "k", "if_version": 0}}]}"#,
                "else[0]: versions count from 1",
            ),
            (
                r#"{"then": [{"set": {"key": "k", "value": "", "if_version": 0}}]}"#,
                r#"set with "if_absent": true"#,
            ),
            (r#"{"then": [{}]}"#, "then[0]: give one of get, set, delete and list"),
            (
                r#"{"then": [{"get": {"key": "k"}, "delete": {"key": "k"}}]}"#,
                "then[0]: give one of get, set, delete and list",
            ),
            (
                r#"{"compare": [{"key": "k", "ref": 1, "updated_ref": 1}]}"#,
                "duplicate field `ref`",
            ),
        ] {
            let error = parse(form.as_bytes()).unwrap_err();
            assert!(error.contains(message), "{form}: {error}");
        }
    }

    /// serde reads a struct from an array, too: `[]` was a transaction of nothing.
    #[test]
    fn a_form_is_an_object_and_nothing_else() {
        let transaction = "expected an object with `compare`, `then` and `else`";
        for (form, message) in [
            ("[]", transaction),
            ("null", transaction),
            ("7", transaction),
            (r#""get""#, transaction),
            (
                r#"{"compare": [["k", "="]]}"#,
                "array, expected an object with `key` and what to compare",
            ),
            (
                r#"{"then": ["get"]}"#,
                "expected an object with `get`, `set`, `delete` or `list`",
            ),
            (
                r#"{"then": [{"get": ["k"]}]}"#,
                "array, expected an object with `key` at",
            ),
            (
                r#"{"then": [{"set": ["k", "v"]}]}"#,
                "expected an object with `key`, `value` and options",
            ),
            (
                r#"{"then": [{"delete": ["k"]}]}"#,
                "expected an object with `key` and options",
            ),
            (
                r#"{"then": [{"list": ["p"]}]}"#,
                "expected an object with `prefix` and options",
            ),
            (r#"{"then": {}}"#, "object, expected an array"),
            (r#"{"compare": [{"key": "k", "version": "1"}]}"#, "expected a number at"),
            (
                r#"{"then": [{"list": {"limit": true}}]}"#,
                "expected a number from 0 on at",
            ),
        ] {
            let error = parse(form.as_bytes()).unwrap_err();
            assert!(error.contains(message), "{form}: {error}");
            assert!(error.contains("line 1 column"), "{form}: {error}");
            assert!(!error.contains("Form"), "{form}: {error}");
        }
    }

    #[test]
    fn every_option_has_its_place() {
        let form = r#"{"then": [
            {"set": {"key": "a", "value_base64": "AP8=", "lease": 5, "expires_at": "1970-01-01T00:00:01Z",
                     "if_absent": true, "if_version": 3}},
            {"delete": {"key_base64": "Yv8=", "if_ref": 7}},
            {"list": {"start": "c", "limit": 2, "keys_only": true}}
        ]}"#;
        let a = SetRequest::new(Key::new("a").unwrap(), &b"\0\xff"[..])
            .lease(lease(5).unwrap())
            .expiry(Expiry::At(goku::Timestamp::from_millis(1_000).unwrap()))
            .condition(Condition::AbsentAt(version(3).unwrap()));
        let b = DeleteRequest::new(Key::from_bytes(b"b\xff").unwrap()).condition(Condition::Ref(event_id(7).unwrap()));
        let c = ListRequest {
            prefix: Prefix::default(),
            start: Some(Key::new("c").unwrap()),
            limit: Some(2),
            keys_only: true,
            at: None,
        };
        let txn = parse(form.as_bytes()).unwrap();
        assert_eq!(txn.then, [Operation::Set(a), Operation::Delete(b), Operation::List(c)]);
    }
}
