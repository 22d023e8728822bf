//! All services of a server.

use std::sync::Arc;

use goku::gate::Gate;
use goku::{Error, ErrorKind, Result};
use tonic::service::Routes;

use crate::admin_service::AdminService;
use crate::budget::Budget;
use crate::counts::ServerCounts;
use crate::edge::Edge;
use crate::options::ServerOptions;
use crate::passing::Passing;
use crate::proto::FILE_DESCRIPTOR_SET;
use crate::proto::gokupb::admin_server::AdminServer;
use crate::proto::gokupb::goku_server::GokuServer;
use crate::proto::reflexpb::reflex_server::ReflexServer;
use crate::server_limits::ServerLimits;
use crate::service::GrpcService;
use crate::stoppable::Stoppable;

/// goku's own, to which most calls go, and the others by their names.
#[derive(Clone)]
pub(crate) struct Services {
    pub(crate) goku: Edge<GokuServer<GrpcService>>,
    pub(crate) routes: Routes,
    pub(crate) limits: ServerLimits,
    pub(crate) budget: Arc<Budget>,
    pub(crate) counts: ServerCounts,
}

impl Services {
    /// The services behind `gate`, which end once `options.service.stopping` is cancelled.
    pub(crate) fn new(gate: Gate, options: &ServerOptions) -> Result<Services> {
        let stopping = &options.service.stopping;
        let counts = &options.counts;
        let budget = Budget::new(&options.limits, counts.clone());
        let service = GrpcService::within(budget.clone(), gate.clone(), options.service.clone(), counts);
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let invalid =
            |error| Error::new(ErrorKind::Internal, "the protocol's description is invalid").with_source(error);
        let v1 = reflection().build_v1().map_err(invalid)?;
        let v1alpha = reflection().build_v1alpha().map_err(invalid)?;
        let mut routes = Routes::new(Edge::new(ReflexServer::new(service.clone()), options));
        if gate.has_admin() {
            let admin = AdminService::new(gate.clone(), options.operations.clone()).counted_by(counts);
            routes = routes.add_service(Edge::new(AdminServer::new(admin), options));
        }
        Ok(Services {
            goku: Edge::new(GokuServer::new(service), options),
            routes: routes
                .add_service(Stoppable::new(options.health.server(), stopping.clone()))
                .add_service(Passing::new(Stoppable::new(v1, stopping.clone()), gate.clone()))
                .add_service(Passing::new(Stoppable::new(v1alpha, stopping.clone()), gate))
                .prepare(),
            limits: options.limits.clone(),
            budget,
            counts: counts.clone(),
        })
    }
}
