//! Last uses of tokens.

use super::columns::Fields;
use super::readers::Readers;
use super::script::Sql;
use crate::access::{TokenHash, TokenUse};
use crate::error::{Error, ErrorKind, Result};

impl Readers {
    /// Notes uses, unless later ones are known: one statement, with the rows in an order that all replicas lock them in.
    pub(super) async fn note_token_uses(&self, mut uses: Vec<TokenUse>) -> Result<()> {
        uses.sort_by_key(|of| of.sha256);
        let mut sql = Sql::default();
        for TokenUse { sha256, used_at } in &uses {
            let begin = match sql.as_ref().is_empty() {
                true => "insert into goku_token_uses (sha256, used_at) values (",
                false => "),(",
            };
            sql.raw(begin).bytes(sha256.as_bytes());
            sql.raw(",").int(used_at.as_millis());
        }
        if uses.is_empty() {
            return Ok(());
        }
        sql.raw(") on duplicate key update used_at = greatest(used_at, values(used_at))");
        self.run(sql).await.map(drop)
    }

    /// Uses of the tokens after one, in the order of their hashes.
    pub(super) async fn token_uses(&self, after: Option<TokenHash>, limit: usize) -> Result<Vec<TokenUse>> {
        let mut sql = Sql::default();
        sql.raw("select sha256, used_at from goku_token_uses");
        if let Some(after) = after {
            sql.raw(" where sha256 > ").bytes(after.as_bytes());
        }
        sql.raw(" order by sha256 limit ").int(limit as u64);
        let rows = self.run(sql).await?.into_iter().flatten();
        rows.map(|row| {
            let mut fields = Fields::new(row);
            let sha256 = fields.optional_bytes()?.unwrap_or_default();
            let sha256 = <[u8; 32]>::try_from(&*sha256).map_err(|_| {
                let message = "the table `goku_token_uses` holds a hash of another length";
                Error::new(ErrorKind::Internal, message)
            })?;
            Ok(TokenUse {
                sha256: TokenHash::from_bytes(sha256),
                used_at: fields.timestamp()?,
            })
        })
        .collect()
    }

    /// Removes the uses of these tokens.
    pub(super) async fn forget_token_uses(&self, tokens: &[TokenHash]) -> Result<()> {
        let mut sql = Sql::default();
        for token in tokens {
            let begin = match sql.as_ref().is_empty() {
                true => "delete from goku_token_uses where sha256 in (",
                false => ",",
            };
            sql.raw(begin).bytes(token.as_bytes());
        }
        if tokens.is_empty() {
            return Ok(());
        }
        sql.raw(")");
        self.run(sql).await.map(drop)
    }
}
