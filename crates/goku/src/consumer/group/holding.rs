//! A partition that a member holds, from its claim to its release.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::super::definition::Consumer;
use super::super::pauses::AWAY;
use super::super::spec::Spec;
use crate::client::Client;
use crate::cursor::CursorMove;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{EventId, FencingToken, Snapshot};
use crate::key::Key;
use crate::partition::Partition;
use crate::request::{Condition, DeleteRequest};

/// The distance that a cursor's token may be ahead of the log for later claims to come up to it: each reset raises it by
/// one, and each claim takes two events.
const TOKEN_AHEAD_MAX: u64 = 1_000;

/// A partition that a member holds.
#[derive(Clone, Debug)]
pub struct Holding {
    spec: Spec,
    partition: Partition,
    token: FencingToken,
}

/// The key by which a partition is held, and the event that made it: whoever holds it later does by a later event.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) key: Key,
    pub(super) at: EventId,
}

/// The end of the run of a partition.
#[derive(Debug)]
pub(super) enum Run {
    /// The partition was given up as it was to be.
    Released,
    /// Somebody else has moved its cursor: a newer holder, or a reset.
    Refused(Error),
    /// The run cannot go on.
    Failed(Error),
}

impl Holding {
    pub(super) fn new(spec: &Spec, partition: Partition, claim: &Claim) -> Holding {
        let token = token(claim.at);
        Holding {
            spec: spec.clone().partition(partition, token),
            partition,
            token,
        }
    }

    /// The spec of the partition's consumer: that of the group, for this partition and token.
    pub fn spec(&self) -> Spec {
        self.spec.clone()
    }

    /// The partition.
    pub fn partition(&self) -> Partition {
        self.partition
    }

    /// Greater than the token of whoever held the partition before.
    pub fn token(&self) -> FencingToken {
        self.token
    }
}

impl Claim {
    /// Gives the partition up; answers with the event that did, or none where it was not held by this claim any more.
    pub(super) async fn release(&self, client: &dyn Client) -> Result<Option<EventId>> {
        let mut tries = 0;
        loop {
            let request = DeleteRequest::new(self.key.clone()).condition(Condition::Ref(self.at));
            match client.delete(request).await {
                Ok(entry) => return Ok(Some(entry.updated_ref)),
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConditionFailed) => {
                    return Ok(None);
                }
                Err(error) if error.kind().is_transient() => tries += 1,
                Err(error) => return Err(error),
            }
            tokio::time::sleep(AWAY.after(tries)).await;
        }
    }
}

/// The token of who holds a partition by the event `claim`. Events are totally ordered, and so are holders.
pub(super) fn token(claim: EventId) -> FencingToken {
    FencingToken::new(claim.get().unsigned_abs())
}

/// Runs the consumer of a partition until `stop`, and gives the partition up. `begin` is where it begins without a cursor,
/// unless the spec says it.
pub(super) async fn hold(
    client: Arc<dyn Client>,
    make: impl FnOnce() -> Consumer,
    claim: Claim,
    begin: Option<Snapshot>,
    stop: CancellationToken,
) -> Run {
    let consumer = make();
    let ran = async {
        if let Some(begin) = begin {
            begin_at(&consumer, begin, &stop).await?;
        }
        consumer.run(stop.cancelled()).await
    };
    let ran = ran.await;
    let released = match claim.release(&*client).await {
        Ok(released) => released,
        Err(error) => return Run::Failed(ran.err().unwrap_or(error)),
    };
    match ran {
        Ok(()) => Run::Released,
        Err(error) => match (error.kind(), released) {
            (ErrorKind::Fenced { token }, Some(released)) if is_out_of_reach(token, released) => {
                Run::Failed(error.context(
                    "claims do not come up to this token, which is no event's: delete the cursors of the group",
                ))
            }
            (ErrorKind::Fenced { .. } | ErrorKind::CursorBackward { .. }, _) => Run::Refused(error),
            _ => Run::Failed(error),
        },
    }
}

/// Whether a token that a cursor was moved with while nobody else held it is beyond those of the next claims.
fn is_out_of_reach(token: FencingToken, log: EventId) -> bool {
    token.get() > log.get().unsigned_abs().saturating_add(TOKEN_AHEAD_MAX)
}

/// Has the cursor begin at a place where there is none yet.
async fn begin_at(consumer: &Consumer, begin: Snapshot, stop: &CancellationToken) -> Result<()> {
    let mut tries = 0;
    while !stop.is_cancelled() {
        let begun = async {
            if consumer.cursors.load(&consumer.spec.id).await?.is_some() {
                return Ok(());
            }
            let to = CursorMove::forward(consumer.spec.id.clone(), begin);
            let token = consumer.spec.token.unwrap_or_default();
            consumer.cursors.save(to.token(token)).await.map(drop)
        };
        match begun.await {
            Err(error) if error.kind().is_transient() => tries += 1,
            begun => return begun,
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = tokio::time::sleep(AWAY.after(tries)) => {}
        }
    }
    Ok(())
}
