//! The committer: the only task that writes. All requests that wait become one transaction.
//!
//! While a batch is being written, what the next one needs is read. If nobody else writes in the meantime, that one is
//! decided on it and goes to the store in one round trip, conditional on the batch before it, whose outcome need not be
//! known yet: it waits at the store for the lock that the one before it holds. What batches met lately is known as long as
//! nobody else writes, and not read again. A large one writes its rows before it has the lock, beside the one before it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinError;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

#[cfg(any(test, feature = "sim"))]
use super::commit;
use super::commit::{Attempt, Commit, batch, drop_late, finish};
use super::follower::Log;
use super::jobs::Jobs;
use super::last_failure::LastFailure;
use super::spin::Spin;
use super::writer::Job;
use crate::decide::{self, Batch, Changes, Decision, Foresight, Needs, Premises, Sighting, State};
use crate::random::Randomness;
#[cfg(any(test, feature = "sim"))]
use crate::sim::Plant;
use crate::store::{Early, FORESEEN_MAX, Store};

/// Operations in one batch: beyond this a larger batch is no faster, only later.
const BATCH_OPERATIONS_MAX: usize = 1_024;

/// Operations in a batch for which it is worth its second round trip to be written early, and events that it must have then.
const EARLY_MIN: usize = 100;

/// Operations in one batch where large ones are written early: two side by side are faster than a larger one.
const EARLY_OPERATIONS_MAX: usize = 300;

/// Longest wait of a batch that is written early for its turn, which takes one or two commits.
const EARLY_WAIT_MAX: Duration = Duration::from_millis(100);

/// Batches that went as foreseen one after another before one is written early: where others write too it would stand in
/// their way.
const STEADY_MIN: u32 = 32;

/// Leases that may expire in a batch beside other operations, however few these are: so much longer these take.
const EXPIRIES_MIN: usize = 48;

/// Leases that may expire in a batch for each millisecond since the one before, so that expiry keeps its pace where commits
/// take long.
const EXPIRIES_PER_MS: u128 = 16;

/// Batches with nothing but expiry after which nobody else is taken to be there.
const QUIET_MIN: u32 = 16;

/// Foreseen batches on their way at a time while leases expire, instead of [`FORESEEN_MAX`]. Expiry makes batches longer: what
/// comes now is answered the sooner the fewer are before it.
const FORESEEN_BESIDE_EXPIRY_MAX: usize = 2;

/// How long jobs wait for what is read ahead for them; without it the store reads it under the lock.
const READ_AHEAD_MAX: Duration = Duration::from_millis(250);

/// Batches that are written without reading ahead after others wrote in between again and again.
const OVERTAKEN_PAUSE_MAX: u32 = 64;

/// Where jobs come from.
pub(super) struct Queues {
    pub(super) user: mpsc::UnboundedReceiver<Job>,
    pub(super) urgent: mpsc::UnboundedReceiver<Job>,
    pub(super) expiry: mpsc::UnboundedReceiver<Job>,
}

/// The task.
pub(super) struct Committer {
    store: Arc<dyn Store>,
    log: Arc<Log>,
    failure: Arc<LastFailure>,
    randomness: Randomness,
    queues: Queues,
    foresees: bool,
    writes_early: bool,
    batch_bytes_max: usize,
    /// A job that did not fit into the last batch.
    held: Option<Job>,
    /// Batches since somebody else than expiry had a job.
    quiet: u32,
    /// When the last batch was gathered.
    gathered: Instant,
    /// For the next job, where the task has its thread for itself.
    spin: Option<Spin>,
    /// Whether the last batch that was gathered is of one job.
    alone: bool,
    foresight: Foresight,
    /// Reads ahead.
    reading: Option<AbortOnDropHandle<Waiting>>,
    /// The next batch.
    waiting: Option<Waiting>,
    /// The next batch, decided on what it will find.
    decided: Option<Decided>,
    /// Foreseen batches that are being written.
    foreseen: FuturesOrdered<AbortOnDropHandle<Attempt>>,
    /// Tells when the batch after the last of these can be sent.
    begun: Option<oneshot::Receiver<()>>,
    /// Tells when the last of these has its time, if it is written early, and whether it has: then the one after it can be sent
    /// if that is written early, too.
    timed: Option<oneshot::Receiver<()>>,
    is_timed: bool,
    /// How many were written as foreseen, since one was not.
    steady: u32,
    /// Whether none can be sent after the last of these: it was not written as foreseen.
    interrupted: bool,
    /// Batches that were not written as foreseen, and those after them.
    broken: VecDeque<Attempt>,
    /// The batch after all of these, for which nothing could be foreseen.
    unforeseen: Option<Vec<Job>>,
    /// Writes one of these, or one that was not foreseen, until its outcome is known.
    writing: Option<BoxFuture<'static, Vec<Changes>>>,
    /// Batches to write without reading ahead before that is tried again, and how many they were the last time.
    pause: u32,
    last_pause: u32,
}

/// Jobs for the next batch.
struct Waiting {
    jobs: Jobs,
    sight: Sight,
}

/// A batch that was decided on what it will find.
struct Decided {
    jobs: Vec<Job>,
    batch: Batch,
    decision: Decision,
    premises: Premises,
    /// Whether it is to be written early.
    early: bool,
}

/// What there is to decide them on before the lock.
enum Sight {
    /// Nothing.
    None,
    /// All that they need was known, or is presumed.
    Known,
    /// The rest was read ahead.
    Read(Box<Sighting>),
}

impl Committer {
    pub(super) fn new(
        store: Arc<dyn Store>,
        log: Arc<Log>,
        queues: Queues,
        failure: Arc<LastFailure>,
        randomness: Randomness,
    ) -> Committer {
        let profile = store.profile();
        let foresight = Foresight::default();
        #[cfg(any(test, feature = "sim"))]
        let foresight = foresight.never_forgets(randomness.strikes(Plant::RowRemembered, 1));
        Committer {
            store,
            log,
            failure,
            randomness,
            queues,
            foresees: profile.foresees,
            writes_early: profile.writes_early,
            batch_bytes_max: profile.batch_bytes_max,
            held: None,
            quiet: 0,
            gathered: Instant::now(),
            spin: profile.writes_block.then(Spin::default),
            alone: false,
            foresight,
            reading: None,
            waiting: None,
            decided: None,
            foreseen: FuturesOrdered::new(),
            begun: None,
            timed: None,
            is_timed: false,
            steady: 0,
            interrupted: false,
            broken: VecDeque::new(),
            unforeseen: None,
            writing: None,
            pause: 0,
            last_pause: 0,
        }
    }

    /// Commits what is queued until the queues are closed and empty; closes them on `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            self.write_next();
            let takes_more = self.takes_more();
            let tops_up = self.tops_up();
            tokio::select! {
                biased;
                () = stop.cancelled(), if !self.queues.user.is_closed() => self.queues.close(),
                begun = of(&mut self.begun), if self.begun.is_some() => {
                    self.begun = None;
                    self.interrupted = begun.is_err();
                }
                timed = of(&mut self.timed), if self.timed.is_some() => {
                    self.timed = None;
                    self.is_timed = timed.is_ok();
                }
                waiting = of(&mut self.reading), if self.reading.is_some() => {
                    self.reading = None;
                    self.waiting = Some(joined(waiting));
                }
                Some(attempt) = self.foreseen.next(), if !self.foreseen.is_empty() => self.ended(joined(attempt)),
                written = of(&mut self.writing), if self.writing.is_some() => {
                    self.writing = None;
                    for changes in written {
                        self.foresight.wrote(changes);
                    }
                    if let Some(spin) = self.spin.as_mut().filter(|_| self.alone) {
                        spin.look(|| !self.queues.user.is_empty() || !self.queues.urgent.is_empty());
                    }
                }
                Some(job) = next(&mut self.held, &mut self.queues, tops_up), if takes_more || tops_up => {
                    match self.waiting.take() {
                        Some(mut waiting) => {
                            self.held = Some(job);
                            self.top_up(&mut waiting.jobs);
                            self.waiting = Some(waiting);
                        }
                        None => {
                            let jobs = self.gather(job);
                            self.alone = jobs.len() == 1;
                            self.foresee(jobs);
                        }
                    }
                }
                else => return,
            }
        }
    }

    /// Whether nothing is being written, or has to be before the next batch.
    fn is_idle(&self) -> bool {
        self.foreseen.is_empty()
            && self.decided.is_none()
            && self.broken.is_empty()
            && self.unforeseen.is_none()
            && self.writing.is_none()
    }

    /// Whether a batch may follow the foreseen ones.
    fn can_follow(&self) -> bool {
        !self.interrupted && self.broken.is_empty() && self.unforeseen.is_none()
    }

    /// Whether jobs for the next batch are to be taken from the queues: where nothing is being written, and as soon as the
    /// batch before it is sent where what they need can be read ahead.
    fn takes_more(&self) -> bool {
        let has_room = self.queues.expiry.is_empty() || self.foreseen.len() < FORESEEN_BESIDE_EXPIRY_MAX;
        let reads_ahead = self.foresees && self.pause == 0 && self.can_follow() && has_room;
        self.reading.is_none() && self.waiting.is_none() && (self.is_idle() || reads_ahead)
    }

    /// Whether jobs are to be added to the next batch as they come: it may become large enough to be written early.
    fn tops_up(&self) -> bool {
        let small = |waiting: &Waiting| waiting.is_foreseen() && waiting.operations() < EARLY_MIN;
        self.is_timed && self.begun.is_some() && self.held.is_none() && self.waiting.as_ref().is_some_and(small)
    }

    /// Whether the next batch is to be decided now, not to be sent late for what may be added to it.
    fn decides_next(&self) -> bool {
        let large = |waiting: &Waiting| waiting.is_foreseen() && waiting.operations() >= EARLY_MIN;
        self.decided.is_none() && (self.begun.is_none() || (self.is_timed && self.waiting.as_ref().is_some_and(large)))
    }

    /// Whether large batches may be written early.
    fn is_steady(&self) -> bool {
        self.writes_early && self.steady >= STEADY_MIN
    }

    /// Sends what can be sent.
    fn write_next(&mut self) {
        if self.writing.is_some() {
            return;
        }
        self.interrupted &= !self.foreseen.is_empty();
        if self.can_follow() && self.foreseen.len() < FORESEEN_MAX {
            if self.decides_next()
                && let Some(mut waiting) = self.waiting.take()
            {
                if waiting.is_foreseen() {
                    self.top_up(&mut waiting.jobs);
                }
                let Waiting { jobs, sight } = waiting;
                let taken = jobs.into_vec().into_iter().filter(|job| job.claim.take());
                let jobs = drop_late(taken.collect(), &self.failure);
                match self.foretell(&jobs, sight) {
                    Some(state) => self.decide(jobs, state),
                    None => self.unforeseen = Some(jobs),
                }
            }
            let may_go = |decided: &mut Decided| self.begun.is_none() || (decided.early && self.is_timed);
            if let Some(decided) = self.decided.take_if(may_go) {
                self.send(decided);
            }
        }
        if !self.can_follow()
            && let Some(decided) = self.decided.take()
        {
            self.unforeseen = Some(decided.jobs);
        }
        if !self.foreseen.is_empty() {
            return;
        }
        let next = self.broken.pop_front().or_else(|| {
            let jobs = self.unforeseen.take()?;
            self.pause = self.pause.saturating_sub(1);
            Some(Attempt::new(jobs))
        });
        if let Some(attempt) = next {
            let commit = Commit {
                store: self.store.clone(),
                log: self.log.clone(),
                failure: self.failure.clone(),
                tells: self.foresees,
                randomness: self.randomness.clone(),
            };
            self.writing = Some(Box::pin(commit.run(attempt)));
        }
    }

    /// What jobs will find, as far as there is something to tell it from.
    fn foretell(&mut self, jobs: &[Job], sight: Sight) -> Option<State> {
        let seen = self.log.known_head();
        match sight {
            Sight::None => None,
            Sight::Known => self.foresight.foretell_known(&needs_of(jobs), &seen),
            Sight::Read(read) => self.foresight.foretell(*read, &needs_of(jobs), &seen),
        }
    }

    /// Decides jobs on what they will find, as far as that can be.
    fn decide(&mut self, jobs: Vec<Job>, state: State) {
        let Ok(batch) = batch(&jobs, state.head, &self.randomness) else {
            self.unforeseen = Some(jobs);
            return;
        };
        match batch.decide(&state) {
            // A decision without events has nothing to fail with if the store is not as foreseen.
            Ok(decision) if !decision.events.is_empty() => {
                let premises = state.into_premises();
                // That a key has no row is found out by the one that is written.
                let early = self.is_steady()
                    && decision.events.len() >= EARLY_MIN
                    && decision.not_written(&premises.absent).next().is_none()
                    && !self.foresight.overlaps(self.foreseen.len(), &decision);
                self.foresight.wrote(Changes::from(&decision));
                self.decided = Some(Decided {
                    jobs,
                    batch,
                    decision,
                    premises,
                    early,
                });
            }
            _ => self.unforeseen = Some(jobs),
        }
    }

    /// Sends a batch that was decided.
    fn send(&mut self, decided: Decided) {
        let Decided {
            jobs,
            batch,
            decision,
            premises,
            early,
        } = decided;
        #[cfg(any(test, feature = "sim"))]
        let jobs = commit::answer_early(&self.randomness, jobs, &decision);
        let (begin, begun) = oneshot::channel();
        let turn = self.begun.replace(begun);
        (self.timed, self.is_timed) = (None, false);
        let early = early.then(|| {
            let (timed, is_timed) = oneshot::channel();
            self.timed = Some(is_timed);
            Early {
                turn,
                wait_max: EARLY_WAIT_MAX,
                timed,
            }
        });
        let store = self.store.clone();
        self.foreseen.push_back(AbortOnDropHandle::new(tokio::spawn(async move {
            let batch = Arc::new(batch);
            let outcome = store.write_foreseen(decision, &premises, early, begin).await;
            let outcome = outcome.transpose().map(|outcome| (batch, outcome));
            let presumes = !premises.absent.is_empty();
            Attempt {
                jobs,
                presumes,
                outcome,
            }
        })));
    }

    /// Takes in what came of the oldest of the foreseen batches.
    fn ended(&mut self, attempt: Attempt) {
        match attempt {
            Attempt {
                jobs,
                outcome: Some((_, Ok(decision))),
                ..
            } if self.broken.is_empty() => {
                self.last_pause = self.last_pause.saturating_sub(1);
                self.steady = self.steady.saturating_add(1);
                finish(&self.log, &self.failure, &self.randomness, jobs, decision);
            }
            attempt => {
                if self.broken.is_empty() && attempt.outcome.is_none() {
                    if attempt.presumes {
                        self.foresight.presumed_wrongly();
                    } else {
                        self.last_pause = (self.last_pause * 2).clamp(1, OVERTAKEN_PAUSE_MAX);
                        self.pause = self.last_pause;
                    }
                }
                self.steady = 0;
                self.foresight.forget();
                self.broken.push_back(attempt);
            }
        }
    }

    /// What is queued, as far as it fits into one batch. Renewals go first, with half of the batch at most, so that neither
    /// lane holds up the other; then comes some expiry.
    fn gather(&mut self, first: Job) -> Jobs {
        let mut jobs = Jobs::default();
        jobs.push(first);
        while jobs.operations() < BATCH_OPERATIONS_MAX / 2 {
            let Ok(job) = self.queues.urgent.try_recv() else { break };
            jobs.push(job);
        }
        let expires = jobs.expiries() > 0 || !self.queues.expiry.is_empty();
        let operations_max = self.operations_max(expires);
        while jobs.operations() < operations_max {
            let Ok(job) = self.queues.user.try_recv() else { break };
            if !self.fits(&job, &jobs) {
                self.held = Some(job);
                break;
            }
            jobs.push(job);
        }
        let expiries_max = self.expiries_max(jobs.operations());
        while jobs.expiries() < expiries_max {
            let Ok(job) = self.queues.expiry.try_recv() else { break };
            jobs.push(job);
        }
        jobs
    }

    /// Whether a batch of these has room for what one more holds.
    fn fits(&self, job: &Job, jobs: &Jobs) -> bool {
        jobs.bytes() + job.request.bytes() <= self.batch_bytes_max
    }

    /// How many operations a batch may have, but those that let leases expire.
    fn operations_max(&self, expires: bool) -> usize {
        let operations_max = if self.is_steady() {
            EARLY_OPERATIONS_MAX
        } else {
            BATCH_OPERATIONS_MAX
        };
        operations_max / if expires { 2 } else { 1 }
    }

    /// How many leases may expire beside so many other operations.
    fn expiries_max(&mut self, operations: usize) -> usize {
        self.quiet = if operations == 0 {
            self.quiet.saturating_add(1)
        } else {
            0
        };
        let elapsed = std::mem::replace(&mut self.gathered, Instant::now()).elapsed();
        if self.quiet >= QUIET_MIN {
            return BATCH_OPERATIONS_MAX / 2;
        }
        let in_time = usize::try_from(elapsed.as_millis() * EXPIRIES_PER_MS).unwrap_or(usize::MAX);
        operations.max(in_time).clamp(EXPIRIES_MIN, BATCH_OPERATIONS_MAX / 2)
    }

    /// Adds what users have queued meanwhile and can be decided on what is known, as far as it fits.
    fn top_up(&mut self, jobs: &mut Jobs) {
        let operations_max = self.operations_max(jobs.expiries() > 0);
        // Renewals are not to wait behind them.
        while jobs.operations() < operations_max && self.queues.urgent.is_empty() {
            let Some(job) = self.held.take().or_else(|| self.queues.user.try_recv().ok()) else {
                return;
            };
            let can_join = self.fits(&job, jobs)
                && !job.request.depends_on_time()
                && self.foresight.knows(&decide::first_needs([&job.request]));
            if !can_join {
                self.held = Some(job);
                return;
            }
            jobs.push(job);
        }
    }

    /// Finds out, or begins to, what is needed to decide jobs before the lock.
    fn foresee(&mut self, jobs: Jobs) {
        let mut sight = Sight::None;
        // A time to live counts from the time at which it is written.
        let holds = !jobs.iter().any(|job| job.request.depends_on_time());
        if self.foresees && self.pause == 0 && holds {
            let needs = needs_of(jobs.iter());
            if needs.can_be_foreseen() {
                let unknown = self.foresight.lacks(&needs);
                if !unknown.is_empty() && !self.foresight.presumes_new(&unknown) {
                    self.reading = Some(self.read_ahead(jobs, unknown));
                    return;
                }
                sight = Sight::Known;
            }
        }
        self.waiting = Some(Waiting { jobs, sight });
    }

    fn read_ahead(&self, jobs: Jobs, mut needs: Needs) -> AbortOnDropHandle<Waiting> {
        let (store, log) = (self.store.clone(), self.log.clone());
        AbortOnDropHandle::new(tokio::spawn(async move {
            let seen = log.known_head();
            needs.tag_of = decide::event_to_check(&seen);
            let read = match timeout(READ_AHEAD_MAX, store.foresee(&needs)).await {
                Ok(Ok(read)) => read.filter(|read| log.take_in(&seen, &read.state)),
                Ok(Err(error)) => {
                    tracing::debug!(?error, "a batch could not be read ahead");
                    None
                }
                Err(_) => {
                    tracing::debug!("a batch was not read ahead in time");
                    None
                }
            };
            let sight = read.map_or(Sight::None, |read| Sight::Read(Box::new(read)));
            Waiting { jobs, sight }
        }))
    }
}

impl Waiting {
    /// All operations, those that let leases expire among them.
    fn operations(&self) -> usize {
        self.jobs.operations() + self.jobs.expiries()
    }

    /// Whether it can be decided before the lock.
    fn is_foreseen(&self) -> bool {
        !matches!(self.sight, Sight::None)
    }
}

impl Queues {
    fn close(&mut self) {
        for queue in [&mut self.user, &mut self.urgent, &mut self.expiry] {
            queue.close();
        }
    }
}

/// What a task came to; it is aborted only with the one that waits for it.
fn joined<T>(outcome: std::result::Result<T, JoinError>) -> T {
    outcome.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// The next job of the queues, or of users alone.
async fn next(held: &mut Option<Job>, queues: &mut Queues, users_only: bool) -> Option<Job> {
    if users_only {
        return queues.user.recv().await;
    }
    if held.is_some() {
        return held.take();
    }
    tokio::select! {
        biased;
        Some(job) = queues.urgent.recv() => Some(job),
        Some(job) = queues.user.recv() => Some(job),
        Some(job) = queues.expiry.recv() => Some(job),
        else => None,
    }
}

fn needs_of<'j>(jobs: impl IntoIterator<Item = &'j Job>) -> Needs {
    decide::first_needs(jobs.into_iter().map(|job| &job.request))
}

/// Completes with what is there.
async fn of<F: Future + Unpin>(future: &mut Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
