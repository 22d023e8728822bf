//! What operators do, for one caller.

use async_trait::async_trait;

use super::audit;
use super::guard::UNHEARD_MAX;
use super::rules::Rules;
use super::visitor::{Checked, Visitor};
use crate::access::{Auth, Demand, TokenHash, TokenUses};
use crate::admin::Admin;
use crate::decide::{Request, Settings};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::CONFIGURE_CHANGES_MAX;
use crate::setting::{
    ConfigureRequest, Setting, SettingChange, SettingChanges, SettingChangesRequest, SettingName, SettingsPage,
    SettingsRequest,
};

/// What operators do, for one caller.
pub(super) struct PermittedAdmin(Visitor);

impl PermittedAdmin {
    pub(super) fn new(visitor: Visitor) -> PermittedAdmin {
        PermittedAdmin(visitor)
    }

    /// Checks by the rules as they are now whether the caller is an operator, and has the log tell of the call.
    pub(super) async fn check(&self, call: &'static str, setting: Option<&SettingName>) -> Result<Checked> {
        let checked = self.0.check(&Demand::Admin).await?;
        audit::operated(checked.rights.identity(), call, setting);
        Ok(checked)
    }

    /// Checks whether the caller may have rights asked for: whether it is an administrator once they are.
    fn check_enabling(&self, rules: &Rules) -> Result<()> {
        // Switched on by somebody who has no right to switch it off again, it would lock everybody out.
        let may_disable = self.0.granted(rules).check(&Demand::Admin);
        self.0.told(may_disable.map_err(|_| {
            let message = "rights are asked for once somebody has them: enable this with the credentials of an administrator, \
                           which `goku auth init` makes";
            Error::new(ErrorKind::PermissionDenied, message)
        }))
    }
}

/// Whether a change has rights asked for.
fn enables_auth(request: &ConfigureRequest) -> bool {
    let value = request.value.as_deref();
    let enables = |value: &str| serde_json::from_str::<Auth>(value).is_ok_and(|auth| auth.enabled);
    request.name.as_bytes() == Auth::NAME.as_bytes() && value.is_some_and(enables)
}

#[async_trait]
impl Admin for PermittedAdmin {
    async fn get_setting(&self, name: &SettingName) -> Result<Setting> {
        self.check("get_setting", Some(name)).await?;
        self.0.engine().get_setting(name).await
    }

    async fn list_settings(&self, request: SettingsRequest) -> Result<SettingsPage> {
        self.check("list_settings", None).await?;
        self.0.engine().list_settings(request).await
    }

    async fn configure(&self, request: ConfigureRequest) -> Result<SettingChange> {
        SettingChange::only(self.configure_all(vec![request]).await?)
    }

    async fn configure_all(&self, requests: Vec<ConfigureRequest>) -> Result<Vec<SettingChange>> {
        let checked = self.0.check(&Demand::Admin).await?;
        for request in requests.iter().take(CONFIGURE_CHANGES_MAX) {
            audit::operated(checked.rights.identity(), "configure", Some(&request.name));
        }
        let enables = requests.iter().any(enables_auth);
        let allow = |settings: &Settings, request: &Request| {
            let Checked { rules, rights } = self.0.check_again(&checked, settings, request)?;
            if enables {
                self.check_enabling(&rules)?;
            }
            Ok(Some(rights))
        };
        let configured = self.0.engine().configure_by(requests, &allow);
        let changes = audit::changes(&checked.rights, configured).await?;
        if enables && self.0.engine().is_shared() {
            // Every replica has heard of it by then: none lets anybody do what it may not after the answer.
            tokio::time::sleep(UNHEARD_MAX).await;
        }
        Ok(changes)
    }

    async fn setting_changes(&self, request: SettingChangesRequest) -> Result<SettingChanges> {
        self.check("setting_changes", request.name.as_ref()).await?;
        self.0.engine().setting_changes(request).await
    }

    async fn token_uses(&self, after: Option<TokenHash>) -> Result<TokenUses> {
        self.check("token_uses", None).await?;
        self.0.engine().token_uses(after).await
    }
}
