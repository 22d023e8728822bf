//! The call by which a server reads its configuration again.

use goku::{Error, ErrorKind, Result};

use super::AdminService;
use crate::operations::Reloaded;

impl AdminService {
    /// `Unsupported` where there is nothing that could be read again.
    pub(super) async fn reload_configuration(&self) -> Result<Reloaded> {
        match &self.operations {
            Some(operations) => operations.reload().await,
            None => Err(Error::new(
                ErrorKind::Unsupported,
                "this server was not started from a configuration that it could read again",
            )),
        }
    }
}
