//! Handlers that say later that something is done.

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::handler::{Delivery, Failure, Handler};

/// Says what became of one delivery. Dropped without a word, the attempt has failed.
#[derive(Debug)]
pub struct Ack(oneshot::Sender<Result<(), Failure>>);

struct Acknowledged<F>(F);

/// A handler that returns once it has taken a delivery, and acknowledges it when it is done, from wherever that is.
///
/// With [`Spec::in_flight`](super::Spec::in_flight) several are under way at once; the cursor stands before the first that
/// was not acknowledged.
pub fn acknowledged<F, A>(take: F) -> impl Handler
where
    F: Fn(Delivery, Ack) -> A + Send + Sync + 'static,
    A: Future<Output = Result<(), Failure>> + Send,
{
    Acknowledged(take)
}

impl Ack {
    /// Acknowledges the delivery.
    pub fn done(self) {
        // A consumer that has stopped is not there to hear it.
        drop(self.0.send(Ok(())));
    }

    /// The attempt failed.
    pub fn failed(self, why: impl Into<Failure>) {
        drop(self.0.send(Err(why.into())));
    }
}

#[async_trait]
impl<F, A> Handler for Acknowledged<F>
where
    F: Fn(Delivery, Ack) -> A + Send + Sync + 'static,
    A: Future<Output = Result<(), Failure>> + Send,
{
    async fn handle(&self, delivery: Delivery) -> Result<(), Failure> {
        let (ack, acknowledged) = oneshot::channel();
        (self.0)(delivery, Ack(ack)).await?;
        acknowledged
            .await
            .unwrap_or_else(|_| Err("it was dropped without an acknowledgement".into()))
    }
}
