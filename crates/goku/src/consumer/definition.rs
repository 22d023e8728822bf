//! A consumer: a handler, the events that it is for, and where its cursor is kept.

use std::sync::Arc;

use super::cursors::{ClientCursors, CursorStore};
use super::handler::{BatchHandler, Handler};
use super::spec::{Batch, Spec};
use super::stats::Stats;
use super::unit::{ExactlyOnce, Work};
use crate::client::Client;

/// A program that does something for every event, under a name.
///
/// ```
/// use std::sync::Arc;
///
/// use goku::consumer::{Consumer, Delivery, Failure, OnFailure, Spec, dead_letters};
/// use goku::{Client, ConsumerName, Engine, Key, Prefix, SetRequest};
/// use tokio::sync::watch;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> goku::Result<()> {
/// let engine = Arc::new(Engine::open("sqlite::memory:").await?);
/// for amount in ["12", "twelve", "30"] {
///     engine.set(SetRequest::new(Key::new("amounts/1")?, amount)).await?;
/// }
///
/// // What cannot be handled is kept aside after two attempts.
/// let name = ConsumerName::new("sum")?;
/// let spec = Spec::new(name.clone(), Prefix::new("amounts/")?).on_failure(OnFailure::DeadLetter { attempts: 2 });
/// let (sum, mut sums) = watch::channel(0);
/// let consumer = Consumer::new(engine.clone(), spec, move |delivery: Delivery| {
///     let sum = sum.clone();
///     async move {
///         let value = delivery.inline_value()?.cloned().unwrap_or_default();
///         let amount: u64 = std::str::from_utf8(&value)?.parse()?;
///         sum.send_modify(|sum| *sum += amount);
///         Ok::<_, Failure>(())
///     }
/// });
/// // A service passes what tells it to shut down.
/// let shutdown = async { drop(sums.wait_for(|sum| *sum == 42).await) };
/// consumer.run(shutdown).await?;
/// assert_eq!(dead_letters(&*engine, &name).await?.len(), 1);
/// # engine.close().await;
/// # Ok(())
/// # }
/// ```
pub struct Consumer {
    pub(super) client: Arc<dyn Client>,
    pub(super) spec: Spec,
    pub(super) batch: Option<Batch>,
    pub(super) work: Work,
    pub(super) cursors: Arc<dyn CursorStore>,
    pub(super) stats: Stats,
    /// A fault for a simulation to find: it begins what it has after it was asked to stop.
    #[cfg(any(test, feature = "sim"))]
    pub(super) begins_after_stop: bool,
}

impl Consumer {
    /// A consumer that hands deliveries to `handler`, with its cursor in the store of `client`.
    pub fn new(client: Arc<dyn Client>, spec: Spec, handler: impl Handler) -> Consumer {
        let cursors = Arc::new(ClientCursors::new(client.clone()));
        Consumer::of(client, spec, None, Work::Each(Arc::new(handler)), cursors)
    }

    /// A consumer that hands deliveries to `handler` in batches, one after the other. A batch that fails as often as the
    /// policy allows is tried one delivery at a time.
    pub fn batches(client: Arc<dyn Client>, spec: Spec, batch: Batch, handler: impl BatchHandler) -> Consumer {
        let cursors = Arc::new(ClientCursors::new(client.clone()));
        let work = Work::Batches(Arc::new(handler));
        Consumer::of(client, spec, Some(batch), work, cursors)
    }

    /// A consumer whose effects and cursor commit together in the user's own database: each event has its effect exactly
    /// once. Deliveries are handled in batches, in order, a transaction each.
    pub fn exactly_once<E: ExactlyOnce>(client: Arc<dyn Client>, spec: Spec, batch: Batch, once: E) -> Consumer {
        let once = Arc::new(once);
        Consumer::of(client, spec, Some(batch), Work::Once(once.clone()), once)
    }

    fn of(
        client: Arc<dyn Client>,
        spec: Spec,
        batch: Option<Batch>,
        work: Work,
        cursors: Arc<dyn CursorStore>,
    ) -> Consumer {
        Consumer {
            client,
            spec,
            batch,
            work,
            cursors,
            stats: Stats::default(),
            #[cfg(any(test, feature = "sim"))]
            begins_after_stop: false,
        }
    }

    /// A fault for a simulation to find: whether it begins what it has after it was asked to stop.
    #[cfg(any(test, feature = "sim"))]
    pub fn begins_after_stop(self, begins_after_stop: bool) -> Consumer {
        Consumer {
            begins_after_stop,
            ..self
        }
    }

    /// Whether what is to stop begins nothing more, as it must; a simulation may say otherwise.
    pub(super) fn heeds_stop(&self) -> bool {
        #[cfg(any(test, feature = "sim"))]
        return !self.begins_after_stop;
        #[cfg(not(any(test, feature = "sim")))]
        true
    }

    /// Sets where the cursor is kept. Not for a consumer whose cursor is in the user's database.
    pub fn cursors(self, cursors: Arc<dyn CursorStore>) -> Consumer {
        Consumer { cursors, ..self }
    }

    /// The counts of the consumer.
    pub fn stats(&self) -> Stats {
        self.stats.clone()
    }

    pub(super) fn is_once(&self) -> bool {
        matches!(self.work, Work::Once(_))
    }
}
