//! `goku history`.

use clap::Args;
use goku::{Client, HistoryRequest};

use crate::cli::connection::Connection;
use crate::cli::key::KeyArgument;
use crate::exit::Outcome;
use crate::output::Output;

/// Show what happened to a key, the newest event first, also where the key does not exist any more
///
/// Text output is id, time, type, key, version and value, separated by tabs, as in `goku watch`. JSON output is one object a
/// line, complete, with the request that made the event where that told its id.
#[derive(Debug, Args)]
pub(super) struct History {
    #[command(flatten)]
    key: KeyArgument,

    /// At most so many events
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

impl History {
    pub(super) async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let client = connection.client()?;
        let mut request = HistoryRequest::new(self.key.key());
        let mut left = self.limit.unwrap_or(usize::MAX);
        while left > 0 {
            request.limit = Some(left);
            let page = client.history(request.clone()).await?;
            for event in &page.events {
                output.event(event)?;
            }
            left = left.saturating_sub(page.events.len());
            let Some(rest) = page.rest else { break };
            request.from = Some(rest);
        }
        Ok(())
    }
}
