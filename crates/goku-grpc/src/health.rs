//! The answer to health checks.

use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use crate::proto::gokupb::goku_server::GokuServer;
use crate::proto::reflexpb::reflex_server::ReflexServer;
use crate::service::GrpcService;

/// A handle to the answer of `grpc.health.v1.Health`, for the server (the empty name) and both of its services alike.
/// A server says that it serves when it starts, and that it does not when it is shut down.
#[derive(Clone, Debug, Default)]
pub struct Health(HealthReporter);

impl Health {
    /// Tells whether requests are to be sent here.
    pub async fn set_serving(&self, serving: bool) {
        let status = if serving {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        for name in [
            "",
            <GokuServer<GrpcService> as NamedService>::NAME,
            <ReflexServer<GrpcService> as NamedService>::NAME,
        ] {
            self.0.set_service_status(name, status).await;
        }
    }

    pub(crate) fn server(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService::from_health_reporter(self.0.clone()))
    }
}
