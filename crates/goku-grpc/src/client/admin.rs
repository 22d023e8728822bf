//! The calls of operators.

use goku::{
    Admin, ConfigureRequest, Result, Setting, SettingChange, SettingChanges, SettingChangesRequest, SettingName,
    SettingsPage, SettingsRequest,
};
use goku::{TokenHash, TokenUses};

use super::GrpcClient;
use crate::proto::gokupb::{self as pb, admin_client::AdminClient};

#[tonic::async_trait]
impl Admin for GrpcClient {
    async fn get_setting(&self, name: &SettingName) -> Result<Setting> {
        let request = pb::GetSettingRequest {
            name: name.as_bytes().to_vec().into(),
        };
        let send = async |mut grpc: AdminClient<_>, request| grpc.get_setting(request).await;
        self.read(request, send).await?.try_into()
    }

    async fn list_settings(&self, request: SettingsRequest) -> Result<SettingsPage> {
        let request = pb::ListSettingsRequest::from(request);
        let send = async |mut grpc: AdminClient<_>, request| grpc.list_settings(request).await;
        self.read(request, send).await?.try_into()
    }

    /// As [`Admin::configure`]. A change is sent again only where it was not applied.
    async fn configure(&self, request: ConfigureRequest) -> Result<SettingChange> {
        let request = pb::ConfigureRequest::from(request);
        let send = async |mut grpc: AdminClient<_>, request| grpc.configure(request).await;
        self.change(request, false, send).await?.try_into()
    }

    /// As [`Admin::configure_all`]. Changes are sent again only where they were not applied.
    async fn configure_all(&self, requests: Vec<ConfigureRequest>) -> Result<Vec<SettingChange>> {
        let changes = requests.into_iter().map(pb::ConfigureRequest::from).collect();
        let request = pb::ConfigureAllRequest { changes };
        let send = async |mut grpc: AdminClient<_>, request| grpc.configure_all(request).await;
        let answer = self.change(request, false, send).await?;
        answer.changes.into_iter().map(SettingChange::try_from).collect()
    }

    async fn setting_changes(&self, request: SettingChangesRequest) -> Result<SettingChanges> {
        let request = pb::ListSettingChangesRequest::from(request);
        let send = async |mut grpc: AdminClient<_>, request| grpc.list_setting_changes(request).await;
        self.read(request, send).await?.try_into()
    }

    async fn token_uses(&self, after: Option<TokenHash>) -> Result<TokenUses> {
        let request = pb::ListTokenUsesRequest {
            after: after.map(|after| after.as_bytes().to_vec().into()).unwrap_or_default(),
        };
        let send = async |mut grpc: AdminClient<_>, request| grpc.list_token_uses(request).await;
        self.read(request, send).await?.try_into()
    }
}
