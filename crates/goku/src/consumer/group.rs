//! Groups: several processes that share the work of one consumer name.

mod assignment;
mod change;
mod holding;
mod keys;
mod lease_keeper;
mod member;
mod news;
mod roster;
mod settings;
mod view;

pub use self::change::disband;
pub use self::change::repartition;
pub use self::holding::Holding;
pub use self::roster::Member;
pub use self::roster::Roster;
pub use self::roster::roster;
pub use self::settings::PARTITIONS_DEFAULT;
pub(super) use self::settings::partitions;
pub(super) use self::settings::refuse;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::member::Ending;
use super::definition::Consumer;
use super::pauses::AWAY;
use super::spec::Spec;
use super::stats::Stats;
use super::stop::stopped_by;
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::lease::Expiry;

/// Members of one group. It is checked when one joins; several that join at the same moment may all be refused.
pub const GROUP_MEMBERS_MAX: usize = 1_024;

/// Longest label of a member, in bytes.
pub const MEMBER_LABEL_BYTES_MAX: usize = 256;

/// The time that a silent member keeps its partitions by default.
const TTL: Duration = Duration::from_secs(5);

/// A member of a group: it runs a [`Consumer`] for each partition that it holds.
///
/// The events are divided by their keys into a fixed number of partitions, and each of these is held by one member at a time,
/// under its lease. Members share them evenly: one that joins gets its share from the others, one that leaves gives its own
/// up once they are handled up to some place, and those of one that dies, or is silent for the time to live of its lease, go
/// to the others. They go on from the partition's cursor.
///
/// **At least once**, in the order of each key, and nothing is lost. Not promised: that a member that stood still knows at
/// once that it lost a partition. It finds out at its next move of the cursor, and its handlers may have had effects beside
/// those of the new holder until then. An effect that must not come late carries [`Holding::token`] and is refused where a
/// greater one was seen; [`Consumer::exactly_once`] does that by itself.
///
/// ```
/// use std::sync::Arc;
///
/// use goku::consumer::{Consumer, Delivery, Failure, Group, Holding, Spec};
/// use goku::{Client, ConsumerName, Prefix};
///
/// # fn main() {}
/// # async fn example(client: Arc<dyn Client>) -> goku::Result<()> {
/// let spec = Spec::new(ConsumerName::new("mailer")?, Prefix::new("users/")?);
/// let group = Group::new(client.clone(), spec, move |holding: Holding| {
///     let token = holding.token();
///     Consumer::new(client.clone(), holding.spec(), move |delivery: Delivery| async move {
///         println!("{} by the holder of token {token}", delivery.key());
///         Ok::<_, Failure>(())
///     })
/// });
/// group.partitions(32).run(std::future::pending()).await
/// # }
/// ```
pub struct Group {
    client: Arc<dyn Client>,
    spec: Spec,
    partitions: Option<u32>,
    label: String,
    ttl: Duration,
    make: Arc<dyn Fn(Holding) -> Consumer + Send + Sync>,
    stats: Stats,
}

impl Group {
    /// A member of the group that has the name of `spec`. Each time that it gets a partition, `make` makes the consumer for
    /// it, of the spec that the holding has; what that says of name, partition and token counts, whatever `make` does.
    pub fn new(
        client: Arc<dyn Client>,
        spec: Spec,
        make: impl Fn(Holding) -> Consumer + Send + Sync + 'static,
    ) -> Group {
        Group {
            client,
            spec,
            partitions: None,
            label: String::new(),
            ttl: TTL,
            make: Arc::new(make),
            stats: Stats::default(),
        }
    }

    /// Sets the number of partitions. The first member of all fixes it, at
    /// [`PARTITIONS_DEFAULT`] where it does not say any; one that names another number later is refused.
    ///
    /// More members than partitions have nothing to do, and each partition is a stream of its own: some times as many as
    /// there will be members.
    pub fn partitions(self, partitions: u32) -> Group {
        Group {
            partitions: Some(partitions),
            ..self
        }
    }

    /// Sets the label that people are shown: where the member runs, for example.
    pub fn label(self, label: impl Into<String>) -> Group {
        Group {
            label: label.into(),
            ..self
        }
    }

    /// Sets the time that the member's lease lives unless it is renewed, 5 s by default: so long the
    /// partitions of a member that was killed are handled by nobody, and for less it may stand still without losing them.
    pub fn ttl(self, ttl: Duration) -> Group {
        Group { ttl, ..self }
    }

    /// The counts of the member's consumers together, instead of each for itself.
    pub fn stats(&self) -> Stats {
        self.stats.clone()
    }

    /// Is a member until `shutdown`, through anything that passes. Then it leaves: attempts that are under way are waited
    /// for as the spec says, cursors are moved, and others take the partitions over at once.
    ///
    /// # Errors
    ///
    /// - `InvalidArgument`: the group has another number of partitions.
    /// - `TooLarge`: the group has [`GROUP_MEMBERS_MAX`] members.
    /// - Those of [`Consumer::run`] when a partition cannot go on. A partition that another member took over is no error.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) -> Result<()> {
        let stop = CancellationToken::new();
        stopped_by(shutdown, &stop, self.run_until(&stop)).await
    }

    async fn run_until(&self, stop: &CancellationToken) -> Result<()> {
        self.check()?;
        let mut failures = 0;
        while !stop.is_cancelled() {
            let began = Instant::now();
            match member::run(self, stop).await {
                Ok(Ending::Left) => return Ok(()),
                Ok(Ending::Lost) => {}
                Err(error) if error.kind().is_transient() => {
                    // It joins later.
                    self.spec.outages.goku.failed(&error);
                }
                Err(error) => return Err(error),
            }
            failures = if began.elapsed() > AWAY.max() { 1 } else { failures + 1 };
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = tokio::time::sleep(AWAY.after(failures)) => {}
            }
            tracing::info!(group = %self.spec.name(), "the member joins anew");
        }
        Ok(())
    }

    /// The maker of a partition's consumer. The holding's spec counts, whatever the user's function does.
    fn make(&self, holding: Holding) -> impl FnOnce() -> Consumer + Send + 'static {
        let (make, stats) = (self.make.clone(), self.stats.clone());
        move || {
            let Spec {
                id, token, partition, ..
            } = holding.spec();
            let consumer = make(holding);
            let spec = Spec {
                id,
                token,
                partition,
                ..consumer.spec
            };
            Consumer {
                spec,
                stats,
                ..consumer
            }
        }
    }

    fn check(&self) -> Result<()> {
        self.spec.check()?;
        Expiry::After(self.ttl).check()?;
        let refused = |message: String| Err(Error::new(ErrorKind::InvalidArgument, message));
        if self.spec.partition.is_some() {
            return refused("the partitions of a group are given out by it, and not said in its spec".to_owned());
        }
        if self.label.len() > MEMBER_LABEL_BYTES_MAX {
            return refused(format!(
                "a member's label has up to {MEMBER_LABEL_BYTES_MAX} bytes, this one {}",
                self.label.len()
            ));
        }
        Ok(())
    }
}
