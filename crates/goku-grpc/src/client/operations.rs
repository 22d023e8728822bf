//! What operators ask of one server.

use goku::Result;

use super::GrpcClient;
use crate::operations::{Operations, Reloaded};
use crate::proto::gokupb::{self as pb, admin_client::AdminClient};

#[tonic::async_trait]
impl Operations for GrpcClient {
    /// As [`Operations::reload`], of whichever endpoint answers: a client of several asks one of them.
    async fn reload(&self) -> Result<Reloaded> {
        let send = async |mut grpc: AdminClient<_>, request| grpc.reload(request).await;
        Ok(self.change(pb::ReloadRequest {}, false, send).await?.into())
    }
}
