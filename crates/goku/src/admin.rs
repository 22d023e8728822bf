//! The interface of operators, apart from that of the data.

use std::sync::Arc;

use async_trait::async_trait;

use crate::error::Result;
use crate::setting::{
    ConfigureRequest, Setting, SettingChange, SettingChanges, SettingChangesRequest, SettingName, SettingsPage,
    SettingsRequest,
};
use crate::token_use::{TokenHash, TokenUses};

/// What operators do to a store: its settings, which hold for all replicas on one database.
///
/// A setting is in no key, no event and no revision of keys: nobody who may only read or write keys meets it. Whoever has
/// an answer knows that every write which begins after it, at any replica, is decided on settings that hold the change.
///
/// Each call may fail with `Unavailable` or `Stopped`, and a change with `OutcomeUnknown`; each method names the other kinds
/// of errors.
///
/// ```
/// use goku::{Admin, ConfigureRequest, Engine, SettingCondition, SettingName};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> goku::Result<()> {
/// let engine = Engine::open("sqlite::memory:").await?;
/// let name = SettingName::new("test/greeting")?;
/// let made = engine.configure(ConfigureRequest::set(name.clone(), r#"{"text": "hello"}"#)).await?;
/// let change = ConfigureRequest::remove(name.clone()).condition(SettingCondition::Rev(made.rev));
/// engine.configure(change).await?;
/// assert!(engine.get_setting(&name).await.is_err());
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Admin: Send + Sync {
    /// Reads a setting.
    ///
    /// # Errors
    ///
    /// - `NotFound`: there is no such setting.
    async fn get_setting(&self, name: &SettingName) -> Result<Setting>;

    /// Lists settings, a page at a time.
    ///
    /// # Errors
    ///
    /// Those that every call may have.
    async fn list_settings(&self, request: SettingsRequest) -> Result<SettingsPage>;

    /// Sets a setting or removes it; the change has the origin that is in [scope](crate::Origin::scope).
    ///
    /// The settings that there are: `auth`, `role/NAME`, `identity/NAME` and `token/ID`, whose values are those in [`access`](crate::access), and
    /// `test/NAME`, any value, which has no effect and is for trying this out.
    ///
    /// # Errors
    ///
    /// - `InvalidArgument`: there is no such kind of setting, or the value is none that it takes.
    /// - `TooLarge`: the value, or all settings together, would be over a [limit](crate::limits).
    /// - `NotFound`: there is no such setting to remove.
    /// - `ConditionFailed`: the condition does not hold.
    async fn configure(&self, request: ConfigureRequest) -> Result<SettingChange>;

    /// Sets or removes several settings at once, all or none, each as [`configure`](Self::configure) does: at most
    /// [`CONFIGURE_CHANGES_MAX`](crate::limits::CONFIGURE_CHANGES_MAX), each another one. The changes come in the order of
    /// the requests, numbered without a gap.
    ///
    /// # Errors
    ///
    /// Those of [`configure`](Self::configure), of the first request that has one, and:
    ///
    /// - `InvalidArgument`: there is no request, or two are of one setting.
    /// - `TooLarge`: there are too many, or names and values have more than
    ///   [`CONFIGURE_BYTES_MAX`](crate::limits::CONFIGURE_BYTES_MAX) together.
    async fn configure_all(&self, requests: Vec<ConfigureRequest>) -> Result<Vec<SettingChange>>;

    /// Lists changes of settings, the newest first, a page at a time; those that are kept: the newest
    /// [`SETTING_CHANGES_MAX`](crate::limits::SETTING_CHANGES_MAX) of the last
    /// [year](crate::limits::SETTING_CHANGES_AGE_MAX).
    ///
    /// # Errors
    ///
    /// Those that every call may have.
    async fn setting_changes(&self, request: SettingChangesRequest) -> Result<SettingChanges>;

    /// Lists the last uses of tokens, to the hour, in the order of their hashes: those after one, at most
    /// [`TOKEN_USES_PAGE_MAX`](crate::limits::TOKEN_USES_PAGE_MAX). A token that was never used has none. A use is written a
    /// moment after the call that it was for, and lost where the server ends before that; those of tokens that are no more
    /// go.
    ///
    /// # Errors
    ///
    /// Those that every call may have.
    async fn token_uses(&self, after: Option<TokenHash>) -> Result<TokenUses>;
}

#[async_trait]
impl<A: Admin + ?Sized> Admin for Arc<A> {
    async fn get_setting(&self, name: &SettingName) -> Result<Setting> {
        (**self).get_setting(name).await
    }

    async fn list_settings(&self, request: SettingsRequest) -> Result<SettingsPage> {
        (**self).list_settings(request).await
    }

    async fn configure(&self, request: ConfigureRequest) -> Result<SettingChange> {
        (**self).configure(request).await
    }

    async fn configure_all(&self, requests: Vec<ConfigureRequest>) -> Result<Vec<SettingChange>> {
        (**self).configure_all(requests).await
    }

    async fn setting_changes(&self, request: SettingChangesRequest) -> Result<SettingChanges> {
        (**self).setting_changes(request).await
    }

    async fn token_uses(&self, after: Option<TokenHash>) -> Result<TokenUses> {
        (**self).token_uses(after).await
    }
}

/// Reads all settings whose names begin with `prefix`, in the order of their names, page by page.
///
/// # Errors
///
/// Those of [`Admin::list_settings`].
pub async fn all_settings(admin: &impl Admin, prefix: impl Into<Vec<u8>>) -> Result<Vec<Setting>> {
    let mut request = SettingsRequest {
        prefix: prefix.into(),
        ..SettingsRequest::default()
    };
    let mut found = Vec::new();
    loop {
        let page = admin.list_settings(request.clone()).await?;
        request.after = page.settings.last().map(|setting| setting.name.clone());
        found.extend(page.settings);
        if !page.more {
            return Ok(found);
        }
    }
}
