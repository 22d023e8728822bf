//! The node of a cluster that all replicas write to: a row that they agree on.
//!
//! Any node takes writes, and of two writes in conflict one is found out and rolled back. So nothing depends on the
//! agreement but speed: a replica that writes elsewhere is correct, and in the way.

use super::columns::{Fields, NOW};
use super::error::Failure;
use super::script::Sql;
use super::session::Session;

/// Time for which a moved row stays, in milliseconds, even for replicas that cannot reach the node that it names: where they
/// reach different nodes only, they would move it to and fro.
pub(super) const REST_MS: i64 = 10_000;

/// The only row.
const WHERE: &str = " where id = 1";

/// The node, and how often it was another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WriterNode {
    /// [`Standing::name`](super::standing::Standing::name) of the node.
    pub(super) name: String,
    pub(super) term: i64,
    /// Time since the row was moved, by the clock of the node that was asked, in milliseconds.
    pub(super) age_ms: i64,
}

/// Asks for the row, for [`take`].
pub(super) fn query() -> String {
    format!("select node, term, {NOW} - moved_at from writer_node{WHERE}")
}

/// The row; `None` where nobody has written it yet, or it cannot be read.
pub(super) fn take(row: Option<mysql_async::Row>) -> Option<WriterNode> {
    let mut fields = Fields::new(row?);
    Some(WriterNode {
        name: fields.text().ok()?,
        term: fields.int().ok()?,
        age_ms: fields.int().ok()?,
    })
}

/// Reads the row as it was last committed on any node.
pub(super) async fn read(session: &mut Session) -> Result<Option<WriterNode>, Failure> {
    let sets = session.run(query()).await?;
    Ok(take(sets.into_iter().flatten().next()))
}

/// Names the node `name`, if the row still is as it was read. The next read shows whether it was.
pub(super) async fn name(session: &mut Session, name: &str, before: Option<&WriterNode>) -> Result<(), Failure> {
    let mut sql = Sql::default();
    match before {
        None => sql
            .raw("insert ignore into writer_node (id, node, term, moved_at) values (1, ")
            .bytes(name.as_bytes())
            .raw(", 1, ")
            .raw(NOW)
            .raw(")"),
        Some(before) => sql
            .raw("update writer_node set node = ")
            .bytes(name.as_bytes())
            .raw(", term = term + 1, moved_at = ")
            .raw(NOW)
            .raw(WHERE)
            .raw(" and term = ")
            .int(before.term),
    };
    session.run(sql).await.map(drop)
}
