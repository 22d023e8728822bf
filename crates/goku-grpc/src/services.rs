//! All services of a server.

use std::sync::Arc;

use goku::{Client, Error, ErrorKind, Result};
use tonic::service::Routes;

use crate::budget::Budget;
use crate::edge::Edge;
use crate::options::ServerOptions;
use crate::proto::FILE_DESCRIPTOR_SET;
use crate::proto::gokupb::goku_server::GokuServer;
use crate::proto::reflexpb::reflex_server::ReflexServer;
use crate::service::GrpcService;
use crate::stoppable::Stoppable;

/// goku's own, to which most calls go, and the others by their names.
#[derive(Clone)]
pub(crate) struct Services {
    pub(crate) goku: Edge<GokuServer<GrpcService>>,
    pub(crate) routes: Routes,
    pub(crate) metadata_bytes_max: usize,
    pub(crate) budget: Arc<Budget>,
}

impl Services {
    /// The services over `client`, which end once `options.service.stopping` is cancelled.
    pub(crate) fn new(client: Arc<dyn Client>, options: &ServerOptions) -> Result<Services> {
        let stopping = &options.service.stopping;
        let budget = Budget::new(options.in_flight_bytes_max);
        let service = GrpcService::within(budget.clone(), client, options.service.clone());
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let invalid =
            |error| Error::new(ErrorKind::Internal, "the protocol's description is invalid").with_source(error);
        let v1 = reflection().build_v1().map_err(invalid)?;
        let v1alpha = reflection().build_v1alpha().map_err(invalid)?;
        Ok(Services {
            goku: Edge::new(GokuServer::new(service.clone()), options.metadata_bytes_max),
            routes: Routes::new(Edge::new(ReflexServer::new(service), options.metadata_bytes_max))
                .add_service(Stoppable::new(options.health.server(), stopping.clone()))
                .add_service(Stoppable::new(v1, stopping.clone()))
                .add_service(Stoppable::new(v1alpha, stopping.clone()))
                .prepare(),
            metadata_bytes_max: options.metadata_bytes_max,
            budget,
        })
    }
}
