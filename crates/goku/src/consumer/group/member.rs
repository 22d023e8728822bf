//! A membership, from its lease to its end.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::pauses::{AWAY, sleep_until};
use super::holding::{Claim, Holding, Run, hold};
use super::keys::Keys;
use super::lease_keeper::LeaseKeeper;
use super::news::{News, NewsFeed};
use super::settings::Settings;
use super::view::View;
use super::{GROUP_MEMBERS_MAX, Group};
use crate::entry::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{EventId, LeaseId};
use crate::partition::Partition;
use crate::request::{Condition, DeleteRequest, SetRequest};

/// Claims that are under way at once.
const CLAIMS_MAX: usize = 32;

/// Attempts to remove the member's key when it leaves: the end of its lease removes it, too.
const LEAVES_MAX: u32 = 3;

/// The end of a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The member was to leave.
    Left,
    /// The member's lease has ended, or the group does not have it any more: others have its partitions.
    Lost,
}

/// Is a member until `stop`, or until the lease is lost.
pub(super) async fn run(group: &Group, stop: &CancellationToken) -> Result<Ending> {
    let joining = async {
        let settings = Settings::agree(&*group.client, &group.spec, group.partitions).await?;
        let keeper = LeaseKeeper::begin(group.client.clone(), group.ttl, group.spec.outages.clone()).await?;
        Ok::<_, Error>((settings, keeper))
    };
    let (settings, keeper) = tokio::select! {
        biased;
        () = stop.cancelled() => return Ok(Ending::Left),
        joined = joining => joined?,
    };
    let mut membership = Membership::new(group, settings, keeper.lease());
    let mut outcome = tokio::select! {
        biased;
        () = keeper.lost() => Ok(Ending::Lost),
        outcome = membership.work(stop) => outcome,
    };
    if !matches!(outcome, Ok(Ending::Lost)) {
        let left = tokio::select! {
            biased;
            left = membership.leave() => left,
            () = keeper.lost() => Ok(()),
        };
        outcome = outcome.and_then(|ending| left.map(|()| ending));
    }
    // What still runs is given up: others may have it already.
    drop(membership);
    keeper.end().await;
    outcome
}

struct Membership<'a> {
    group: &'a Group,
    keys: Keys,
    settings: Settings,
    lease: LeaseId,
    /// `None` until it was read.
    view: Option<View>,
    /// Partitions that are run, or given up.
    held: BTreeMap<u32, Held>,
    runs: JoinSet<(u32, Run)>,
    /// Partitions whose claims are under way.
    claiming: BTreeSet<u32>,
    claims: JoinSet<(u32, Result<Entry>)>,
    /// Claims whose runs have ended, though the view may still have them.
    ended: BTreeMap<u32, EventId>,
    /// Partitions that are left alone for a while.
    paused: BTreeMap<u32, Pause>,
}

struct Held {
    claim: EventId,
    since: Instant,
    stop: CancellationToken,
}

struct Pause {
    failures: u32,
    until: Instant,
}

impl<'a> Membership<'a> {
    fn new(group: &'a Group, settings: Settings, lease: LeaseId) -> Membership<'a> {
        Membership {
            group,
            keys: Keys::of(group.spec.name()),
            settings,
            lease,
            view: None,
            held: BTreeMap::new(),
            runs: JoinSet::new(),
            claiming: BTreeSet::new(),
            claims: JoinSet::new(),
            ended: BTreeMap::new(),
            paused: BTreeMap::new(),
        }
    }

    /// Holds the partitions that are its share, until it is stopped or not a member any more.
    async fn work(&mut self, stop: &CancellationToken) -> Result<Ending> {
        let label = Bytes::from(self.group.label.clone());
        let own = SetRequest::new(self.keys.member(self.lease)?, label).lease(self.lease);
        match self.group.client.set(own).await {
            Err(error) if error.kind() == ErrorKind::LeaseNotFound => return Ok(Ending::Lost),
            set => set?,
        };
        let mut news = NewsFeed::open(self.group.client.clone(), &self.group.spec);
        loop {
            // The stop may have been asked for while a branch below was taken: nothing is claimed or begun once this is to end.
            if stop.is_cancelled() {
                return Ok(Ending::Left);
            }
            let now = Instant::now();
            let due = self.paused.values().map(|pause| pause.until);
            let due = due.filter(|until| *until > now).min();
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(Ending::Left),
                item = news.next() => {
                    self.hear(item?)?;
                    while let Some(item) = news.next_now() {
                        self.hear(item?)?;
                    }
                }
                Some(ended) = self.runs.join_next() => self.run_ended(ended)?,
                Some(answer) = self.claims.join_next() => match self.claim_answered(answer) {
                    Err(error) if error.kind() == ErrorKind::LeaseNotFound => return Ok(Ending::Lost),
                    answered => answered?,
                },
                () = sleep_until(due) => {}
            }
            if !self.is_member() {
                let name = self.group.spec.name();
                tracing::warn!(group = %name, lease = %self.lease, "the group has changed, or lost this member");
                return Ok(Ending::Lost);
            }
            self.act()?;
        }
    }

    /// Gives everything up. Others count on without this member from the beginning of that.
    async fn leave(&mut self) -> Result<()> {
        self.claims.shutdown().await;
        for held in self.held.values() {
            held.stop.cancel();
        }
        let own = DeleteRequest::new(self.keys.member(self.lease)?);
        for failures in 1..=LEAVES_MAX {
            match self.group.client.delete(own.clone()).await {
                Err(error) if error.kind().is_transient() => tokio::time::sleep(AWAY.after(failures)).await,
                _ => break,
            }
        }
        let mut outcome = Ok(());
        while let Some(ended) = self.runs.join_next().await {
            outcome = outcome.and(self.run_ended(ended));
        }
        outcome
    }

    fn hear(&mut self, news: News) -> Result<()> {
        match (news, &mut self.view) {
            (News::Whole(view, _), None) if view.members.len() > GROUP_MEMBERS_MAX => {
                let message = format!("a group has up to {GROUP_MEMBERS_MAX} members, and so many are there");
                Err(Error::new(ErrorKind::TooLarge, message))
            }
            (News::Whole(view, _), None) => {
                self.view = Some(view);
                Ok(())
            }
            (News::Whole(newer, at), Some(view)) => {
                view.replace(newer, at);
                Ok(())
            }
            (News::Event(event), Some(view)) => view.apply(&event),
            (News::Event(_), None) => Ok(()),
        }
    }

    fn is_member(&self) -> bool {
        self.view.as_ref().is_none_or(|view| {
            let partitions = view.settings.map(|settings| settings.partitions);
            view.members.contains_key(&self.lease) && partitions == Some(self.settings.partitions)
        })
    }

    /// Gives up, takes up and claims partitions, up to its share.
    fn act(&mut self) -> Result<()> {
        let Some(view) = self.view.take() else {
            return Ok(());
        };
        let assigned = view.assigned(self.settings.partitions, self.lease);
        for (partition, held) in &self.held {
            let is_own = view.holder(*partition) == Some((self.lease, held.claim));
            if !is_own || !assigned.contains(partition) {
                held.stop.cancel();
            }
        }
        let own: Vec<(u32, EventId)> = view.held_by(self.lease).collect();
        for (partition, claim) in &own {
            if !self.held.contains_key(partition) && self.ended.get(partition) != Some(claim) {
                self.take_up(*partition, *claim, assigned.contains(partition))?;
            }
        }
        // A claim that is under way counts: what was planned before does not come on top of what is planned now.
        let mut share = own.len() + self.claiming.len();
        let now = Instant::now();
        for partition in &assigned {
            let is_free = view.holder(*partition).is_none() && !self.claiming.contains(partition);
            let is_paused = self.paused.get(partition).is_some_and(|pause| pause.until > now);
            if is_free && !is_paused && share < assigned.len() && self.claiming.len() < CLAIMS_MAX {
                self.claim(*partition)?;
                share += 1;
            }
        }
        self.view = Some(view);
        Ok(())
    }

    fn claim(&mut self, partition: u32) -> Result<()> {
        let claim = SetRequest::new(self.keys.partition(partition)?, Bytes::new());
        let claim = claim.condition(Condition::Absent).lease(self.lease);
        let client = self.group.client.clone();
        self.claiming.insert(partition);
        self.claims.spawn(async move { (partition, client.set(claim).await) });
        Ok(())
    }

    fn claim_answered(&mut self, answer: Result<(u32, Result<Entry>), JoinError>) -> Result<()> {
        let (partition, answer) = answer.map_err(failed)?;
        self.claiming.remove(&partition);
        match answer {
            Ok(entry) => {
                self.group.spec.outages.goku.worked();
                if let Some(view) = &mut self.view {
                    view.claimed(partition, entry.updated_ref, self.lease);
                }
                Ok(())
            }
            // Somebody else was faster, or it was this one, and the answer was lost: the news tell.
            Err(error) if error.kind() == ErrorKind::ConditionFailed => Ok(()),
            Err(error) if error.kind().is_transient() => {
                self.group.spec.outages.goku.failed(&error);
                self.pause(partition);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Runs the consumer of a partition, or, where it is one too many, gives it up at once.
    fn take_up(&mut self, partition: u32, at: EventId, is_wanted: bool) -> Result<()> {
        let claim = Claim {
            key: self.keys.partition(partition)?,
            at,
        };
        let client = self.group.client.clone();
        let stop = CancellationToken::new();
        let held = Held {
            claim: at,
            since: Instant::now(),
            stop: stop.clone(),
        };
        self.held.insert(partition, held);
        if is_wanted {
            let of = Partition::new(partition, self.settings.partitions)?;
            let holding = Holding::new(&self.group.spec, of, &claim);
            let running = hold(client, self.group.make(holding), claim, self.settings.begin, stop);
            self.runs.spawn(async move { (partition, running.await) });
        } else {
            self.runs.spawn(async move {
                let released = claim.release(&*client).await;
                (partition, released.map_or_else(Run::Failed, |_| Run::Released))
            });
        }
        Ok(())
    }

    fn run_ended(&mut self, ended: Result<(u32, Run), JoinError>) -> Result<()> {
        let (partition, run) = ended.map_err(failed)?;
        if let Some(held) = self.held.remove(&partition) {
            self.ended.insert(partition, held.claim);
            if held.since.elapsed() > AWAY.max() {
                self.paused.remove(&partition);
            }
        }
        match run {
            Run::Released => Ok(()),
            Run::Refused(error) => {
                let name = self.group.spec.name();
                tracing::info!(group = %name, partition, ?error, "a partition was taken over, or reset");
                self.pause(partition);
                Ok(())
            }
            Run::Failed(error) => Err(error.context(format!("partition {partition}"))),
        }
    }

    fn pause(&mut self, partition: u32) {
        let failures = self.paused.get(&partition).map_or(1, |pause| pause.failures + 1);
        let until = Instant::now() + AWAY.after(failures);
        self.paused.insert(partition, Pause { failures, until });
    }
}

fn failed(error: JoinError) -> Error {
    Error::new(ErrorKind::Internal, "the task of a partition failed").with_source(error)
}
