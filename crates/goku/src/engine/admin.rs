//! The calls of operators.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Allow, Engine, with_origin};
use crate::access::{TokenHash, TokenUses};
use crate::admin::Admin;
use crate::clock::Timestamp;
use crate::decide::{self, Answer, Configure, Request, Settings};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::TOKEN_USES_PAGE_MAX;
use crate::setting::{
    ConfigureRequest, Setting, SettingChange, SettingChanges, SettingChangesRequest, SettingName, SettingsPage,
    SettingsRequest,
};

impl Engine {
    /// The settings as this engine last knew them.
    pub(crate) fn known_settings(&self) -> Arc<Settings> {
        self.0.settings.known()
    }

    /// Completes with the next change of the settings that this engine knows, from when it was first polled.
    pub(crate) async fn settings_changed(&self) {
        self.0.settings.changed_next().await;
    }

    /// Whether other engines may change the settings: those that this one knows may be old then.
    pub(crate) fn is_shared(&self) -> bool {
        self.0.store.profile().shared
    }

    /// Changes settings, all or none, for a caller that `allow` lets do so with all settings as they are.
    pub(crate) async fn configure_by(
        &self,
        requests: Vec<ConfigureRequest>,
        allow: Allow<'_>,
    ) -> Result<Vec<SettingChange>> {
        decide::check_settings(&requests)?;
        let checked = |settings: Arc<Settings>| {
            let stamp = settings.stamp();
            let requests = requests.clone();
            let configure = Request::Configure(Arc::new(Configure {
                requests,
                settings: settings.clone(),
            }));
            allow(&settings, &configure)?;
            Ok((stamp, Arc::new(with_origin(configure))))
        };
        match self.write_checked(checked).await? {
            Answer::Configured(changes) => Ok(changes),
            _ => Err(Error::new(
                ErrorKind::Internal,
                "a change of a setting was answered as another request",
            )),
        }
    }

    /// Notes that a token was used, for [`token_uses`](Admin::token_uses). Asks nothing of the store.
    pub(crate) fn note_token_use(&self, sha256: TokenHash, at: Timestamp) {
        self.0.token_uses.note(sha256, at);
    }

    /// The settings as they are now, or were after the call began. Calls that wait share one look at the store.
    pub(crate) async fn settings(&self) -> Result<Arc<Settings>> {
        let read = async {
            let (head, _) = self.head().await?;
            self.0.settings.of(&head).await
        };
        self.in_time(self.0.settings_look.look(read)).await
    }
}

#[async_trait]
impl Admin for Engine {
    async fn get_setting(&self, name: &SettingName) -> Result<Setting> {
        self.settings().await?.get(name).cloned()
    }

    async fn list_settings(&self, request: SettingsRequest) -> Result<SettingsPage> {
        Ok(self.settings().await?.page(&request))
    }

    async fn configure(&self, request: ConfigureRequest) -> Result<SettingChange> {
        SettingChange::only(self.configure_all(vec![request]).await?)
    }

    async fn configure_all(&self, requests: Vec<ConfigureRequest>) -> Result<Vec<SettingChange>> {
        self.configure_by(requests, &|_, _| Ok(None)).await
    }

    async fn setting_changes(&self, request: SettingChangesRequest) -> Result<SettingChanges> {
        let limit = decide::page_limit(request.limit);
        // One more tells whether there are more.
        let request = SettingChangesRequest {
            limit: Some(limit + 1),
            ..request
        };
        let changes = self.in_time(self.0.store.setting_changes(request)).await?;
        Ok(decide::changes_page(changes, limit))
    }

    async fn token_uses(&self, after: Option<TokenHash>) -> Result<TokenUses> {
        // One more tells whether there are more.
        let read = self.0.store.token_uses(after, TOKEN_USES_PAGE_MAX + 1);
        let mut uses = self.in_time(read).await?;
        let more = uses.len() > TOKEN_USES_PAGE_MAX;
        uses.truncate(TOKEN_USES_PAGE_MAX);
        Ok(TokenUses { uses, more })
    }
}
