//! What every store does with last uses of tokens, as a test of each.

use super::Store;
use crate::access::{TokenHash, TokenUse};
use crate::clock::Timestamp;

/// Checks a store that knows no uses yet.
pub(super) async fn check(store: &impl Store) {
    let of = |byte: u8, ms: i64| TokenUse {
        sha256: TokenHash::from_bytes([byte; 32]),
        used_at: Timestamp::from_millis(ms).unwrap(),
    };
    let hash = |byte: u8| of(byte, 0).sha256;
    let all = async || store.token_uses(None, 10).await.unwrap();
    assert_eq!(all().await, []);
    store
        .note_token_uses(vec![of(0xff, 7), of(0, 5), of(b'\'', 6)])
        .await
        .unwrap();
    assert_eq!(all().await, [of(0, 5), of(b'\'', 6), of(0xff, 7)]);
    // The latest counts, whatever comes last.
    store.note_token_uses(vec![of(0, 4), of(b'\'', 8)]).await.unwrap();
    assert_eq!(all().await, [of(0, 5), of(b'\'', 8), of(0xff, 7)]);
    assert_eq!(store.token_uses(Some(hash(0)), 1).await.unwrap(), [of(b'\'', 8)]);
    assert_eq!(store.token_uses(Some(hash(0xff)), 10).await.unwrap(), []);
    store
        .forget_token_uses(vec![hash(0xff), hash(0), hash(1)])
        .await
        .unwrap();
    assert_eq!(all().await, [of(b'\'', 8)]);
}
