//! The service `gokupb.Admin` over what is behind a [`Gate`].

mod reload;

use std::sync::Arc;

use goku::gate::{Credentials, Gate};
use goku::limits::CONFIGURE_CHANGES_MAX;
use goku::{Admin, ConfigureRequest, Error, ErrorKind, Result, SettingName};
use tonic::{Request, Response, Status};

use crate::counts::ServerCounts;
use crate::credentials;
use crate::error::Details;
use crate::operations::Operations;
use crate::proto::gokupb::{self as pb, admin_server};
use crate::refusal::Refusals;
use crate::wire;

/// Answers the calls of operators by those of the [`Admin`] that each gets at a [`Gate`].
#[derive(Clone)]
pub(crate) struct AdminService {
    gate: Gate,
    operations: Option<Arc<dyn Operations>>,
    refusals: Refusals,
}

impl AdminService {
    /// A service over what is behind `gate`. What is asked of the server itself is answered by `operations`; without them it is
    /// `Unsupported`.
    pub(crate) fn new(gate: Gate, operations: Option<Arc<dyn Operations>>) -> AdminService {
        AdminService {
            gate,
            operations,
            refusals: Refusals::new("requests of operators"),
        }
    }

    /// The same service, whose refusals are counted there.
    pub(crate) fn counted_by(self, counts: &ServerCounts) -> AdminService {
        AdminService {
            refusals: self.refusals.counted_by(counts),
            ..self
        }
    }

    /// What operators do, for whoever makes a request.
    async fn enter(&self, credentials: Credentials) -> Result<Arc<dyn Admin>> {
        let entered = self.gate.enter(&credentials).await?;
        entered
            .admin
            .ok_or_else(|| Error::new(ErrorKind::Unsupported, "no calls of operators are taken here"))
    }

    /// Answers with what `work` comes to.
    async fn answer<T, A: From<T>>(&self, work: impl Future<Output = Result<T>>) -> Result<Response<A>, Status> {
        // Clients of the original do not make these calls, so they get the newer form.
        let refusal = self.refusals.of(Details::HopAndWrappedError);
        match work.await {
            Ok(answer) => {
                refusal.not_needed();
                Ok(Response::new(answer.into()))
            }
            Err(error) => Err(refusal.status(&error)),
        }
    }
}

#[tonic::async_trait]
impl admin_server::Admin for AdminService {
    async fn get_setting(&self, request: Request<pb::GetSettingRequest>) -> Result<Response<pb::Setting>, Status> {
        let work = async {
            let admin = self.enter(credentials::of(&request)).await?;
            let name = SettingName::new(&request.get_ref().name)?;
            admin.get_setting(&name).await
        };
        self.answer(work).await
    }

    async fn list_settings(
        &self,
        request: Request<pb::ListSettingsRequest>,
    ) -> Result<Response<pb::ListSettingsResponse>, Status> {
        let work = async {
            let admin = self.enter(credentials::of(&request)).await?;
            admin.list_settings(request.into_inner().try_into()?).await
        };
        self.answer(work).await
    }

    async fn configure(&self, request: Request<pb::ConfigureRequest>) -> Result<Response<pb::SettingChange>, Status> {
        let work = async {
            let admin = self.enter(credentials::of(&request)).await?;
            let origin = wire::origin(request.metadata())?;
            let request = request.into_inner().try_into()?;
            origin.scope(admin.configure(request)).await
        };
        self.answer(work).await
    }

    async fn configure_all(
        &self,
        request: Request<pb::ConfigureAllRequest>,
    ) -> Result<Response<pb::ConfigureAllResponse>, Status> {
        let work = async {
            let admin = self.enter(credentials::of(&request)).await?;
            let origin = wire::origin(request.metadata())?;
            let changes = request.into_inner().changes.into_iter();
            let requests = changes
                .take(CONFIGURE_CHANGES_MAX + 1)
                .map(ConfigureRequest::try_from)
                .collect::<Result<_>>()?;
            origin.scope(admin.configure_all(requests)).await
        };
        self.answer(work).await
    }

    async fn list_setting_changes(
        &self,
        request: Request<pb::ListSettingChangesRequest>,
    ) -> Result<Response<pb::ListSettingChangesResponse>, Status> {
        let work = async {
            let admin = self.enter(credentials::of(&request)).await?;
            admin.setting_changes(request.into_inner().try_into()?).await
        };
        self.answer(work).await
    }

    async fn list_token_uses(
        &self,
        request: Request<pb::ListTokenUsesRequest>,
    ) -> Result<Response<pb::ListTokenUsesResponse>, Status> {
        let work = async {
            let admin = self.enter(credentials::of(&request)).await?;
            admin.token_uses(wire::after_token(&request.get_ref().after)?).await
        };
        self.answer(work).await
    }

    async fn reload(&self, request: Request<pb::ReloadRequest>) -> Result<Response<pb::ReloadResponse>, Status> {
        let work = async {
            self.gate.operate(&credentials::of(&request), "reload").await?;
            self.reload_configuration().await
        };
        self.answer(work).await
    }
}
