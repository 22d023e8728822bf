//! The connection of client commands to their servers.

use std::time::Duration;

use goku::ErrorKind;
use goku_grpc::{GrpcClient, OutageEvent};

use crate::cli::credentials::Credentials;
use crate::exit::Failure;
use crate::output::{self, Format};
use crate::time::show_remaining;

/// The servers of client commands, and how they are called.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) endpoints: Vec<String>,
    pub(super) credentials: Credentials,
    pub(super) timeout: Duration,
    pub(super) format: Format,
}

impl Connection {
    /// A client that tells on standard error when it waits for its servers, and when it goes on.
    pub(super) fn client(&self) -> Result<GrpcClient, Failure> {
        let (format, endpoints) = (self.format, self.endpoints.clone());
        let tell = move |event: OutageEvent| match event {
            OutageEvent::Began { error } => {
                let why = error.map_or_else(|| "no answer".to_owned(), |error| error.to_string());
                let is_named = endpoints.iter().any(|endpoint| why.contains(endpoint.trim()));
                let what = if is_named {
                    why
                } else {
                    format!("{}: {why}", endpoints.join(","))
                };
                output::note(format, &format!("waiting for a server: {what}"));
            }
            OutageEvent::Ended { after } => {
                output::note(format, &format!("going on after {}", show_remaining(after)));
            }
            _ => {}
        };
        Ok(self.silent_client()?.on_outage(tell))
    }

    /// A client that tells nothing by itself. `Usage` where an endpoint cannot be one, or the credentials cannot be used.
    pub(super) fn silent_client(&self) -> Result<GrpcClient, Failure> {
        let scheme = if self.credentials.wants_tls() { "https" } else { "http" };
        let urls = self.endpoints.iter().map(|endpoint| match endpoint.trim() {
            url if url.contains("://") => url.to_owned(),
            address => format!("{scheme}://{address}"),
        });
        let client = self
            .credentials
            .client()?
            .connect_all(urls)
            .map_err(|error| match error.kind() {
                ErrorKind::Config => Failure::Usage(error.message().to_owned()),
                _ => Failure::from(error),
            })?;
        Ok(client.request_timeout(Some(self.timeout)))
    }
}
