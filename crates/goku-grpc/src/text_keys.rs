//! Answers to clients that know keys of text only, as those of the original: entries, events and keys that are no text are
//! left out.

use goku::{Client, Entry, Key, LeaseKeys, LeaseKeysRequest, ListRequest, OperationAnswer, Result, TxnAnswer};

use crate::proto::gokupb as pb;
use crate::wire;

/// Whether a client that knows keys of text only can be told of this key.
fn is_text(key: &Key) -> bool {
    key.text().is_some()
}

/// A list of which only some entries are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TextList {
    any_key: bool,
    /// Most entries that are sent.
    limit: usize,
}

impl TextList {
    /// Takes the limit from a request of a client that knows keys of text only: entries that are left out do not count.
    pub(crate) fn of(any_key: bool, request: &mut ListRequest) -> TextList {
        let limit = match request.limit {
            Some(limit) if limit > 0 && !any_key => {
                request.limit = None;
                limit
            }
            _ => usize::MAX,
        };
        TextList { any_key, limit }
    }

    /// Most entries that are sent.
    pub(crate) fn limit(self) -> usize {
        self.limit
    }

    /// Whether this entry is sent.
    pub(crate) fn shows(self, entry: &Entry) -> bool {
        self.any_key || is_text(&entry.key)
    }
}

/// The lists of a transaction whose client knows keys of text only.
#[derive(Debug)]
pub(crate) struct TextListsOfTxn {
    /// Whether the client knows any key, for each operation.
    then: Vec<bool>,
    otherwise: Vec<bool>,
}

impl TextListsOfTxn {
    pub(crate) fn of(txn: &pb::TxnRequest) -> TextListsOfTxn {
        let knows_any = |operation: &pb::Operation| match &operation.operation {
            Some(pb::operation::Operation::List(list)) => list.any_key,
            _ => true,
        };
        TextListsOfTxn {
            then: txn.then.iter().map(knows_any).collect(),
            otherwise: txn.otherwise.iter().map(knows_any).collect(),
        }
    }

    /// Leaves out of the answer what the client does not know.
    pub(crate) fn filter(self, mut answer: TxnAnswer) -> TxnAnswer {
        let branch = if answer.succeeded { self.then } else { self.otherwise };
        for (answer, knows_any) in answer.answers.iter_mut().zip(branch) {
            if let OperationAnswer::List(entries) = answer
                && !knows_any
            {
                entries.retain(|entry| is_text(&entry.key));
            }
        }
        answer
    }
}

/// The keys of a lease, for a client that knows keys of text only: its next page begins after such a key as well.
pub(crate) async fn lease_keys(
    client: &dyn Client,
    mut request: LeaseKeysRequest,
) -> Result<pb::ListLeaseKeysResponse> {
    let mut keys = Vec::new();
    loop {
        let LeaseKeys { keys: page, rest } = client.lease_keys(request.clone()).await?;
        keys.extend(page.into_iter().filter(is_text));
        match rest {
            Some(rest) if !is_text(&rest) => request.after = Some(rest),
            rest => return Ok(wire::text_lease_keys(&keys, rest.as_ref())),
        }
    }
}
