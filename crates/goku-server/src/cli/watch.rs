//! `goku watch`.

use clap::{Args, ValueEnum};
use futures::{FutureExt, StreamExt};
use goku::{Client, ErrorKind, EventType, EventTypes, Prefix, Snapshot, StreamFrom, StreamItem, StreamRequest};

use crate::cli::connection::Connection;
use crate::cli::own::Hiding;
use crate::cli::signal::EndSignals;
use crate::cli::{key, reader};
use crate::exit::Outcome;
use crate::output::{self, Output};
use crate::position;

/// Follow the events of the keys that begin with a prefix, each once and in order, until interrupted
///
/// Begins with the first event there is, unless --from-head or --after says otherwise. Events of the keys that goku keeps for
/// itself, which begin with goku:consumers/, are left out unless PREFIX begins with goku: or --all is given.
///
/// Text output is id, time, type, key, version and value, separated by tabs; keys and values as in `goku list`. JSON
/// output is one object a line, complete, with the position to go on --after.
#[derive(Debug, Args)]
pub(super) struct Watch {
    /// The beginning of the keys; every key where it is not given
    #[arg(default_value = "", hide_default_value = true, value_parser = key::prefix)]
    prefix: Prefix,

    /// Start after this event: its id, or the position that JSON output shows [default: at the first event]
    #[arg(long, value_name = "POSITION", value_parser = position::parse, conflicts_with = "from_head")]
    after: Option<StreamFrom>,

    /// Start with what happens from now on
    #[arg(long)]
    from_head: bool,

    /// End after the last event there is
    #[arg(long)]
    to_head: bool,

    /// Also the events of keys that goku keeps for itself
    #[arg(long)]
    all: bool,

    /// Only these types
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
    types: Vec<Type>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Type {
    Set,
    Delete,
    Expire,
}

impl Watch {
    pub(super) async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let mut signals = EndSignals::new()?;
        tokio::select! {
            result = self.follow(connection, output) => result,
            () = signals.next() => Ok(()),
            () = reader::gone() => Ok(()),
        }
    }

    async fn follow(self, connection: &Connection, output: &mut Output) -> Outcome {
        let client = connection.client()?;
        let hiding = Hiding::of(&self.prefix, self.all);
        let replays = self.after.is_none() && !self.from_head && !self.to_head;
        let request = self.request();
        let from = request.from;
        let mut events = client.stream(request).await?;
        if let Some(beyond) = beyond_head(from, events.opened_at()) {
            output::note(connection.format, &beyond);
        }
        if replays && output.is_terminal() {
            let message = "all events from the first one on; --from-head begins with what happens from now on";
            output::note(connection.format, message);
        }
        let mut last = None;
        loop {
            let item = match events.next().now_or_never() {
                Some(item) => item,
                None => {
                    output.flush()?;
                    events.next().await
                }
            };
            match item {
                Some(Ok(StreamItem::Event(event))) => {
                    if !hiding.hides(&event.key) {
                        output.event(&event)?;
                    }
                    last = Some(event.position());
                }
                Some(Ok(StreamItem::Progress(_))) => {}
                Some(Err(error)) if error.kind() == ErrorKind::HeadReached => return Ok(()),
                Some(Err(error)) => {
                    output.flush()?;
                    return Err(match last {
                        Some(last) => error.context(format!("after event {}", position::show(last))),
                        None => error,
                    }
                    .into());
                }
                None => return Ok(()),
            }
        }
    }

    fn request(self) -> StreamRequest {
        StreamRequest {
            from: match self.after {
                Some(after) => after,
                None if self.from_head => StreamFrom::Head,
                None => StreamFrom::Beginning,
            },
            to_head: self.to_head,
            types: if self.types.is_empty() {
                EventTypes::ALL
            } else {
                self.types.into_iter().map(EventType::from).collect()
            },
            ..StreamRequest::new(self.prefix)
        }
    }
}

/// The note about a stream that begins after an event which is still to come. A server of the original does not tell
/// its head.
fn beyond_head(from: StreamFrom, head: Snapshot) -> Option<String> {
    let StreamFrom::After(id) = from else { return None };
    let head_id = head.position.id;
    (head != Snapshot::default() && id > head_id)
        .then(|| format!("position {id} lies beyond the head {head_id}: events up to it will not be shown"))
}

impl From<Type> for EventType {
    fn from(event_type: Type) -> EventType {
        match event_type {
            Type::Set => EventType::Set,
            Type::Delete => EventType::Delete,
            Type::Expire => EventType::Expire,
        }
    }
}
