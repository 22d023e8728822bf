//! Waiting for one event or state.

use futures::StreamExt;

use super::handler::Delivery;
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::event::StreamItem;
use crate::key::Prefix;
use crate::request::{ListRequest, StreamFrom, StreamRequest};

/// Waits for the first state or event under `prefix` that satisfies `is_it`: the current state of each key is looked at
/// first, then every event after it. It waits for as long as nobody drops it.
///
/// # Errors
///
/// The errors of [`Client::list`] and [`Client::stream`].
pub async fn wait_for(
    client: &dyn Client,
    prefix: Prefix,
    mut is_it: impl FnMut(&Delivery) -> bool + Send,
) -> Result<Delivery> {
    let mut listing = client.list(ListRequest::new(prefix.clone())).await?;
    let at = listing.at();
    while let Some(entry) = listing.next().await {
        let state = Delivery::State(entry?);
        if is_it(&state) {
            return Ok(state);
        }
    }
    let request = StreamRequest::new(prefix).from(StreamFrom::Resume(at.position));
    let mut events = client.stream(request).await?;
    while let Some(item) = events.next().await {
        if let StreamItem::Event(event) = item? {
            let event = Delivery::Event(event);
            if is_it(&event) {
                return Ok(event);
            }
        }
    }
    Err(Error::new(ErrorKind::Internal, "a stream ended without an error"))
}
