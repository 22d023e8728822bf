//! Deliveries, and the handlers that they are given to.

use async_trait::async_trait;
use bytes::Bytes;

use crate::entry::Entry;
use crate::error::Result;
use crate::event::{Event, EventType};
use crate::id::EventId;
use crate::key::Key;
use crate::value::Value;

/// Why an attempt failed. Any error is one, by `?`.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// An event, or the state of a key, as a consumer is given it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The state of a key, where the consumer [starts](super::Start::State) with that.
    State(Entry),
    /// A change.
    Event(Event),
}

/// Handles deliveries one by one.
///
/// An error, or a panic, is a failed attempt; [`Halt`](super::Halt) ends the run. What was handled may come again, after a crash or where the cursor could not
/// be moved: do what may be done twice, or use a transaction of your own database
/// ([`Consumer::exactly_once`](super::Consumer::exactly_once)).
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Handles one delivery.
    ///
    /// # Errors
    ///
    /// Whatever the handler fails with. The delivery is tried again as [`Spec::retry`](super::Spec::retry) and
    /// [`OnFailure`](super::OnFailure) say; a [`Halt`](super::Halt) ends the run.
    async fn handle(&self, delivery: Delivery) -> Result<(), Failure>;
}

/// Handles several deliveries at once.
#[async_trait]
pub trait BatchHandler: Send + Sync + 'static {
    /// Handles all deliveries, or fails for all of them. They are in order, and at least one.
    ///
    /// # Errors
    ///
    /// Whatever the handler fails with. The batch is tried again as [`Spec::retry`](super::Spec::retry) and
    /// [`OnFailure`](super::OnFailure) say; a [`Halt`](super::Halt) ends the run.
    async fn handle(&self, deliveries: Vec<Delivery>) -> Result<(), Failure>;
}

#[async_trait]
impl<F, A> Handler for F
where
    F: Fn(Delivery) -> A + Send + Sync + 'static,
    A: Future<Output = Result<(), Failure>> + Send,
{
    async fn handle(&self, delivery: Delivery) -> Result<(), Failure> {
        self(delivery).await
    }
}

#[async_trait]
impl<F, A> BatchHandler for F
where
    F: Fn(Vec<Delivery>) -> A + Send + Sync + 'static,
    A: Future<Output = Result<(), Failure>> + Send,
{
    async fn handle(&self, deliveries: Vec<Delivery>) -> Result<(), Failure> {
        self(deliveries).await
    }
}

impl Delivery {
    /// The key.
    pub fn key(&self) -> &Key {
        match self {
            Delivery::State(entry) => &entry.key,
            Delivery::Event(event) => &event.key,
        }
    }

    /// The key's value after it; none where the key does not exist any longer.
    pub fn value(&self) -> Option<&Value> {
        match self {
            Delivery::State(entry) => Some(&entry.value),
            Delivery::Event(event) => (event.event_type == EventType::Set).then_some(&event.value),
        }
    }

    /// The bytes of the key's [value](Self::value).
    ///
    /// # Errors
    ///
    /// `TooLarge`: the value is [large](Value::Large). The message says which value it is, and its size.
    pub fn inline_value(&self) -> Result<Option<&Bytes>> {
        match self {
            Delivery::State(entry) => entry.inline_value().map(Some),
            Delivery::Event(event) if event.event_type == EventType::Set => event.inline_value().map(Some),
            Delivery::Event(_) => Ok(None),
        }
    }

    /// The event that the key's state comes from. A state that was written with it is not written by an earlier one.
    pub fn id(&self) -> EventId {
        match self {
            Delivery::State(entry) => entry.updated_ref,
            Delivery::Event(event) => event.id,
        }
    }

    /// The event, where it is one.
    pub fn event(&self) -> Option<&Event> {
        match self {
            Delivery::State(_) => None,
            Delivery::Event(event) => Some(event),
        }
    }
}
