//! Last uses of tokens: gathered beside the calls, written in the background.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::settings::KnownSettings;
use crate::access::{SettingValue, TokenHash, TokenRecord, TokenUse, hour_of};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::limits::{SETTINGS_MAX, TOKEN_USES_PAGE_MAX};
use crate::store::Store;

/// Tokens whose last hour is remembered; beyond it all are forgotten, and written once more.
const REMEMBERED_MAX: usize = SETTINGS_MAX;

/// Uses that wait to be written. Beyond it, while the store is away, others are not noted before they come again.
const WAITING_MAX: usize = SETTINGS_MAX;

/// Uses that one statement writes, or removes.
const AT_ONCE_MAX: usize = 256;

/// Time before uses that could not be written are tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(60);

/// Time between two looks for uses of tokens that are no more.
const CLEAN_INTERVAL: Duration = Duration::from_secs(600);

/// The uses of tokens that this engine was told of. Each is written once an hour.
#[derive(Default)]
pub(super) struct TokenUseLog {
    state: Mutex<State>,
    added: Notify,
}

#[derive(Default)]
struct State {
    /// The last hour of each token that is written or waits.
    hours: HashMap<TokenHash, Timestamp>,
    waiting: Vec<TokenUse>,
}

impl TokenUseLog {
    /// Notes that a token was used. Asks nothing of the store, and waits for nothing.
    pub(super) fn note(&self, sha256: TokenHash, at: Timestamp) {
        let used_at = hour_of(at);
        let mut state = self.state();
        if state.hours.get(&sha256) == Some(&used_at) || state.waiting.len() >= WAITING_MAX {
            return;
        }
        if state.hours.len() >= REMEMBERED_MAX {
            state.hours.clear();
        }
        state.hours.insert(sha256, used_at);
        state.waiting.push(TokenUse { sha256, used_at });
        self.added.notify_one();
    }

    /// Writes what waits. What could not be written waits again.
    async fn write(&self, store: &dyn Store) -> Result<()> {
        loop {
            let uses = {
                let mut state = self.state();
                let number = state.waiting.len().min(AT_ONCE_MAX);
                state.waiting.drain(..number).collect::<Vec<_>>()
            };
            if uses.is_empty() {
                return Ok(());
            }
            if let Err(error) = store.note_token_uses(uses.clone()).await {
                let mut state = self.state();
                let room = WAITING_MAX.saturating_sub(state.waiting.len());
                state.waiting.extend(uses.into_iter().take(room));
                return Err(error);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What is there is whole at any moment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes uses as they come, and now and then removes those of tokens that are no more, until the engine stops.
pub(super) async fn run(
    log: Arc<TokenUseLog>,
    store: Arc<dyn Store>,
    settings: Arc<KnownSettings>,
    stop: CancellationToken,
) {
    let write = async {
        loop {
            log.added.notified().await;
            while let Err(error) = log.write(&*store).await {
                tracing::debug!(?error, "last uses of tokens could not be written, they will be");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    };
    let clean = async {
        loop {
            tokio::time::sleep(CLEAN_INTERVAL).await;
            if let Err(error) = clean(&*store, &settings).await {
                tracing::debug!(?error, "last uses of old tokens could not be removed, they will be");
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = write => {}
        () = clean => {}
    }
}

/// Removes the uses of tokens that are in no setting any more.
async fn clean(store: &dyn Store, settings: &KnownSettings) -> Result<()> {
    let mut after = None;
    loop {
        let page = store.token_uses(after, TOKEN_USES_PAGE_MAX).await?;
        after = page.last().map(|last| last.sha256);
        if after.is_none() {
            return Ok(());
        }
        // Read after the uses: whoever used a token had it in the settings before.
        let (head, _) = store.head().await?;
        let settings = settings.of(&head).await?;
        let of_tokens = settings.iter().filter(|setting| is_of_token(setting.name.as_bytes()));
        let tokens: Result<HashSet<_>> = of_tokens
            .map(|setting| TokenRecord::of(setting).map(|(_, token)| token.sha256))
            .collect();
        // One that this version cannot read may be of any token.
        let Ok(tokens) = tokens else { return Ok(()) };
        let old: Vec<_> = page
            .iter()
            .map(|page| page.sha256)
            .filter(|sha256| !tokens.contains(sha256))
            .collect();
        for old in old.chunks(AT_ONCE_MAX) {
            store.forget_token_uses(old.to_vec()).await?;
        }
    }
}

fn is_of_token(name: &[u8]) -> bool {
    name.strip_prefix(TokenRecord::KIND.as_bytes())
        .is_some_and(|rest| rest.starts_with(b"/"))
}

#[cfg(feature = "sqlite")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{AccessName, Token};
    use crate::admin::Admin;
    use crate::engine::Engine;
    use crate::faults::{Fault, Faults, Step};

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms).unwrap()
    }

    async fn uses(engine: &Engine) -> Vec<(TokenHash, i64)> {
        let page = engine.token_uses(None).await.unwrap();
        page.uses.iter().map(|of| (of.sha256, of.used_at.as_millis())).collect()
    }

    fn waiting(log: &TokenUseLog) -> usize {
        log.state().waiting.len()
    }

    #[tokio::test]
    async fn a_use_is_written_once_an_hour_and_again_where_it_failed() {
        let faults = Faults::default();
        let engine = Engine::builder().faults(faults.clone());
        let engine = engine.open("sqlite::memory:").await.unwrap();
        let store = &*engine.0.store;
        let hash = Token::random().unwrap().hash();
        let log = TokenUseLog::default();
        log.note(hash, at(3_600_001));
        log.note(hash, at(7_199_999));
        assert_eq!(waiting(&log), 1);
        faults.at(Step::TokenUses, 1, Fault::NotApplied);
        assert!(log.write(store).await.is_err());
        assert_eq!(uses(&engine).await, []);
        log.write(store).await.unwrap();
        assert_eq!(uses(&engine).await, [(hash, 3_600_000)]);
        log.note(hash, at(3_700_000));
        assert_eq!(waiting(&log), 0);
        log.note(hash, at(7_200_000));
        log.write(store).await.unwrap();
        assert_eq!(uses(&engine).await, [(hash, 7_200_000)]);
        // A clock that is behind takes nothing back.
        log.note(hash, at(0));
        log.write(store).await.unwrap();
        assert_eq!(uses(&engine).await, [(hash, 7_200_000)]);
    }

    #[test]
    fn what_waits_and_what_is_remembered_is_bounded() {
        let log = TokenUseLog::default();
        let hash = |number: usize| TokenHash::from_bytes(std::array::from_fn(|at| (number >> (8 * (at % 8))) as u8));
        for number in 0..WAITING_MAX + 10 {
            log.note(hash(number), at(0));
        }
        assert_eq!(waiting(&log), WAITING_MAX);
        log.state().waiting.clear();
        log.note(hash(WAITING_MAX), at(0));
        assert_eq!((waiting(&log), log.state().hours.len()), (1, 1));
    }

    #[tokio::test]
    async fn uses_of_tokens_that_are_no_more_go() {
        let engine = Engine::open("sqlite::memory:").await.unwrap();
        let name = |name: &str| AccessName::new(name).unwrap();
        let [kept, revoked] = [Token::random().unwrap(), Token::random().unwrap()];
        for (token, id) in [(&kept, "kept"), (&revoked, "revoked")] {
            let record = TokenRecord::new(token, name("x"));
            engine.configure(record.to_request(&name(id)).unwrap()).await.unwrap();
        }
        let (store, settings) = (&*engine.0.store, &engine.0.settings);
        let of = |token: &Token| TokenUse {
            sha256: token.hash(),
            used_at: at(0),
        };
        store.note_token_uses(vec![of(&kept), of(&revoked)]).await.unwrap();
        clean(store, settings).await.unwrap();
        assert_eq!(uses(&engine).await.len(), 2);
        let remove = crate::ConfigureRequest::remove(TokenRecord::setting_name(&name("revoked")).unwrap());
        engine.configure(remove).await.unwrap();
        clean(store, settings).await.unwrap();
        assert_eq!(uses(&engine).await, [(kept.hash(), 0)]);
    }
}
