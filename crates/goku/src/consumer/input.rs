//! The input of a consumer: the current state first where it starts with that, then events.

use std::sync::Arc;

use futures::stream::{BoxStream, StreamExt};

use super::RESERVED_PREFIX;
use super::handler::Delivery;
use super::spec::{Spec, Start};
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::event::StreamItem;
use crate::id::{Epoch, Position, Snapshot};
use crate::key::Key;
use crate::request::{ListRequest, StreamFrom, StreamRequest};

/// An item of the input.
#[derive(Debug)]
pub(super) enum Input {
    /// To be handled. Then everything up to the place is done; none while the state is delivered.
    Delivery(Delivery, Option<Snapshot>),
    /// Everything up to here was taken in.
    Mark(Snapshot),
}

/// The input up to an error, and the place where it begins.
pub(super) struct Source {
    pub(super) inputs: BoxStream<'static, Result<Input>>,
    /// `None` if the run goes on from a cursor, or begins with the state, anew until it is through.
    pub(super) begins_at: Option<Snapshot>,
}

/// Opens what follows `from`, or, where that is nothing, begins as the spec says.
pub(super) async fn open(client: Arc<dyn Client>, spec: &Spec, from: Option<Snapshot>) -> Result<Source> {
    let Some(from) = from else {
        return match spec.start {
            Start::Beginning => {
                let (inputs, head) = events(&*client, spec, StreamFrom::Beginning).await?;
                // It is seen from then on, though the first event may never be handled.
                let begins_at = Some(at(head.epoch, Position::default()));
                Ok(Source { inputs, begins_at })
            }
            Start::Head => {
                let (inputs, head) = events(&*client, spec, StreamFrom::Head).await?;
                Ok(Source {
                    inputs,
                    begins_at: Some(head),
                })
            }
            Start::State => state(client, spec).await,
        };
    };
    let (inputs, head) = events(&*client, spec, StreamFrom::Resume(from.position)).await?;
    if head.epoch != Epoch::default() && head.epoch != from.epoch {
        return Err(Error::new(
            ErrorKind::PositionLost,
            format!(
                "{}: it belongs to history {}, the store's is {}: reset it, or start from the current state",
                spec.id, from.epoch, head.epoch
            ),
        ));
    }
    Ok(Source {
        inputs,
        begins_at: None,
    })
}

async fn state(client: Arc<dyn Client>, spec: &Spec) -> Result<Source> {
    let listing = client.list(ListRequest::new(spec.prefix.clone())).await?;
    let at = listing.at();
    let all = spec.clone();
    let entries = listing.filter_map({
        let spec = spec.clone();
        move |entry| {
            let input = match entry {
                Ok(entry) if is_own(&spec, &entry.key) => Some(Ok(Input::Delivery(Delivery::State(entry), None))),
                Ok(_) => None,
                Err(error) => Some(Err(error)),
            };
            std::future::ready(input)
        }
    });
    let mark = futures::stream::once(std::future::ready(Ok(Input::Mark(at))));
    let rest = futures::stream::once(async move {
        let from = StreamFrom::Resume(at.position);
        match events(&*client, &all, from).await {
            Ok((inputs, _)) => inputs,
            Err(error) => futures::stream::once(std::future::ready(Err(error))).boxed(),
        }
    });
    Ok(Source {
        inputs: entries.chain(mark).chain(rest.flatten()).boxed(),
        begins_at: None,
    })
}

/// The events after `from`, and the head of the log when they were asked for.
async fn events(
    client: &dyn Client,
    spec: &Spec,
    from: StreamFrom,
) -> Result<(BoxStream<'static, Result<Input>>, Snapshot)> {
    let request = StreamRequest {
        prefix: spec.prefix.clone(),
        from,
        to_head: false,
        lag: spec.lag,
        types: spec.types,
        progress: Some(spec.progress),
        partition: spec.partition,
    };
    let stream = client.stream(request).await?;
    let head = stream.opened_at();
    let spec = spec.clone();
    let inputs = stream.map(move |item| {
        Ok(match item? {
            StreamItem::Event(event) => {
                let place = at(head.epoch, event.position());
                if is_own(&spec, &event.key) {
                    Input::Delivery(Delivery::Event(event), Some(place))
                } else {
                    Input::Mark(place)
                }
            }
            StreamItem::Progress(at) => Input::Mark(at),
        })
    });
    Ok((inputs.boxed(), head))
}

fn at(epoch: Epoch, position: Position) -> Snapshot {
    Snapshot {
        epoch,
        position,
        rev: None,
    }
}

/// Whether a key is one that consumers keep for themselves, which is no news to them: a dead letter would lead to the next.
fn is_own(spec: &Spec, key: &Key) -> bool {
    let is_in = spec.partition.is_none_or(|partition| partition.contains(key));
    let is_reserved = key.as_bytes().starts_with(RESERVED_PREFIX.as_bytes())
        && !spec.prefix.as_bytes().starts_with(RESERVED_PREFIX.as_bytes());
    is_in && !is_reserved
}
