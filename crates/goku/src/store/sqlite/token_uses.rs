//! Last uses of tokens.

use rusqlite::{Connection, params};

use super::row;
use crate::access::{TokenHash, TokenUse};

/// Notes uses, unless later ones are known.
pub(super) fn note(connection: &mut Connection, uses: &[TokenUse]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    {
        let mut statement = transaction.prepare_cached(
            "insert into goku_token_uses (sha256, used_at) values (?1, ?2) \
             on conflict (sha256) do update set used_at = max(used_at, excluded.used_at)",
        )?;
        for TokenUse { sha256, used_at } in uses {
            statement.execute(params![sha256.as_bytes(), used_at.as_millis()])?;
        }
    }
    transaction.commit()
}

/// Uses of the tokens after one, in the order of their hashes.
pub(super) fn page(connection: &Connection, after: Option<TokenHash>, limit: usize) -> rusqlite::Result<Vec<TokenUse>> {
    let mut statement = connection
        .prepare_cached("select sha256, used_at from goku_token_uses where sha256 > ?1 order by sha256 limit ?2")?;
    let after = after.as_ref().map_or(&[][..], |after| after.as_bytes());
    let uses = statement.query_map(params![after, limit], |columns| {
        Ok(TokenUse {
            sha256: TokenHash::from_bytes(columns.get(0)?),
            used_at: row::timestamp(columns, 1)?,
        })
    })?;
    uses.collect()
}

/// Removes the uses of these tokens.
pub(super) fn forget(connection: &mut Connection, tokens: &[TokenHash]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    {
        let mut statement = transaction.prepare_cached("delete from goku_token_uses where sha256 = ?1")?;
        for token in tokens {
            statement.execute(params![token.as_bytes()])?;
        }
    }
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::clock::SystemClock;
    use crate::store::sqlite::{Location, SqliteStore};
    use crate::store::tables::Sharing;
    use crate::store::token_uses_check;

    #[tokio::test]
    async fn uses_of_tokens_are_kept_until_they_are_removed() {
        let store = SqliteStore::open(Location::Memory, Arc::new(SystemClock), Sharing::Refused);
        token_uses_check::check(&store.await.unwrap()).await;
    }
}
