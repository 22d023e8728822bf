//! The task of the pipeline: it translates between jobs and the store on one side and the [`Schedule`] on the other.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use tokio::sync::oneshot;
use tokio::task::JoinError;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::changes::Changes;
use super::schedule::{Action, Basis, Event, Limits, Outcome, Schedule, Sending, Slot};
use super::speculation::Speculation;
use crate::decide::{self, Batch, Decision, Needs, Preconditions, Request, State};
#[cfg(any(test, feature = "sim"))]
use crate::engine::commit::answer_early;
use crate::engine::commit::{Attempt, Commit, Tried, operations, stopwatch};
use crate::engine::gather::{Gatherer, Jobs, OPERATIONS_MAX};
use crate::engine::queue::Job;
use crate::observe::{BatchOutcome, Phase, Stopwatch, Way};
#[cfg(any(test, feature = "sim"))]
use crate::sim::Plant;
use crate::store::{IN_FLIGHT_MAX, Prewrite, ReadAhead};

/// Fewest operations of a batch to prewrite, and fewest events: a smaller one is not worth its second round trip.
const PREWRITE_MIN: usize = 100;

/// Operations in one batch where large ones are prewritten: two side by side are faster than a larger one.
const PREWRITE_OPERATIONS_MAX: usize = 300;

/// Longest wait of a batch that is prewritten for its turn, which takes one or two commits.
const PREWRITE_WAIT_MAX: Duration = Duration::from_millis(100);

/// Batches in flight at a time while leases expire, instead of [`IN_FLIGHT_MAX`]. Expiry makes batches longer: the fewer are
/// in flight, the sooner a new request is answered.
const IN_FLIGHT_BESIDE_EXPIRY_MAX: usize = 2;

/// Time that jobs wait for what is read ahead for them; then the store reads it under the lock.
const READ_AHEAD_MAX: Duration = Duration::from_millis(250);

const LIMITS: Limits = Limits {
    in_flight_max: IN_FLIGHT_MAX,
    steady_min: 32,
    pause_max: 64,
};

/// The pipeline's task.
pub(in crate::engine) struct Driver {
    commit: Commit,
    prewrites: bool,
    gatherer: Gatherer,
    schedule: Schedule,
    speculation: Speculation,
    /// The batches that are neither read for nor in flight nor being written.
    batches: BTreeMap<Slot, Held>,
    next_slot: Slot,
    pending: Pending,
}

/// A batch that waits in the driver.
enum Held {
    /// Gathered, but not decided yet.
    Gathered(Jobs, Source),
    /// Decided on what the batch will find.
    Decided(Box<Decided>),
    /// Sent and come back, or never sent.
    Attempted(Box<Attempt>),
}

/// The source of the rows that a batch is decided on.
enum Source {
    /// Rows are read under the lock.
    Lock,
    /// All rows that the batch needs are known from earlier batches, or assumed.
    Known,
    /// Rows that are not known were read ahead, which took this time.
    ReadAhead(Box<ReadAhead>, Duration),
}

struct Decided {
    jobs: Vec<Job>,
    batch: Batch,
    decision: Decision,
    preconditions: Preconditions,
    sending: Sending,
    watch: Stopwatch,
}

/// The results that the driver waits for.
#[derive(Default)]
struct Pending {
    /// Reads ahead.
    reading: Option<AbortOnDropHandle<(Slot, Jobs, Source)>>,
    /// The batches in flight, the oldest first.
    in_flight: FuturesOrdered<AbortOnDropHandle<Sent>>,
    /// Tells when no batch but the last one in flight can come next.
    begun: Option<(Slot, oneshot::Receiver<()>)>,
    /// Tells when the last one in flight has its time, if it is prewritten.
    timed: Option<(Slot, oneshot::Receiver<()>)>,
    /// Writes one batch alone.
    writing: Option<BoxFuture<'static, (Slot, Vec<Changes>)>>,
}

/// A batch that was sent, and came back.
struct Sent {
    slot: Slot,
    /// Whether the batch assumed keys to be absent.
    assumes: bool,
    attempt: Attempt,
}

/// A result that the driver waited for.
enum Happened {
    Read(Slot, Jobs, Source),
    Begun(Slot, bool),
    Timed(Slot, bool),
    Ended(Box<Sent>),
    Written(Slot, Vec<Changes>),
}

impl Driver {
    /// The task that commits to a store which is [`Pipelined`](crate::store::Pipelined), and `prewrites` or not.
    pub(in crate::engine) fn new(commit: Commit, gatherer: Gatherer, prewrites: bool) -> Driver {
        let speculation = Speculation::default();
        #[cfg(any(test, feature = "sim"))]
        let speculation = speculation.never_forgets(commit.randomness.strikes(Plant::RowRemembered, 1));
        Driver {
            commit,
            prewrites,
            gatherer,
            schedule: Schedule::new(LIMITS),
            speculation,
            batches: BTreeMap::new(),
            next_slot: 0,
            pending: Pending::default(),
        }
    }

    /// Commits what is queued until the queues are closed and empty; closes them on `stop`.
    pub(in crate::engine) async fn run(mut self, stop: CancellationToken) {
        loop {
            let has_room = !self.gatherer.has_expiry() || self.schedule.in_flight() < IN_FLIGHT_BESIDE_EXPIRY_MAX;
            let gathers = self.schedule.gathers(has_room);
            let tops_up = self.schedule.tops_up().filter(|_| !self.gatherer.holds());
            let event = tokio::select! {
                biased;
                () = stop.cancelled(), if !self.gatherer.is_closed() => {
                    self.gatherer.close();
                    continue;
                }
                Some(happened) = self.pending.next() => self.take_in(happened),
                Some(job) = self.gatherer.next(tops_up.is_some()), if gathers || tops_up.is_some() => match tops_up {
                    Some(slot) => self.top_up(slot, job),
                    None => Some(self.gather(job)),
                },
                else => return,
            };
            let mut events: VecDeque<_> = event.into_iter().collect();
            while let Some(event) = events.pop_front() {
                for action in self.schedule.on(event) {
                    events.extend(self.perform(action));
                }
            }
        }
    }

    /// Translates a result into an event of the schedule.
    fn take_in(&mut self, happened: Happened) -> Option<Event> {
        Some(match happened {
            Happened::Read(slot, jobs, source) => Event::Ready(slot, self.hold(slot, jobs, source)),
            Happened::Begun(slot, true) => Event::Begun(slot),
            Happened::Begun(slot, false) => Event::NeverBegun(slot),
            Happened::Timed(slot, true) => Event::Timed(slot),
            // `NeverBegun` is told of this batch as well.
            Happened::Timed(_, false) => return None,
            Happened::Ended(sent) => {
                let Sent { slot, assumes, attempt } = *sent;
                let outcome = match &attempt.tried {
                    Some(Tried { written: Ok(_), .. }) => Outcome::Applied,
                    Some(Tried { written: Err(_), .. }) => Outcome::Failed,
                    None => Outcome::Conflict { assumes },
                };
                self.batches.insert(slot, Held::Attempted(Box::new(attempt)));
                Event::Ended(slot, outcome)
            }
            Happened::Written(slot, changes) => {
                for changes in changes {
                    self.speculation.wrote(changes);
                }
                Event::Written(slot)
            }
        })
    }

    /// Does what the schedule asks for; returns an event where the result is there at once.
    fn perform(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Decide(slot) => return Some(Event::Decided(slot, self.decide(slot))),
            Action::Send(slot) => {
                if let Some(Held::Decided(decided)) = self.batches.remove(&slot) {
                    self.send(slot, *decided);
                }
            }
            Action::Finish(slot) => {
                if let Some(Held::Attempted(attempt)) = self.batches.remove(&slot)
                    && let Some(Tried {
                        written: Ok(decision),
                        times,
                        ..
                    }) = attempt.tried
                {
                    self.commit.finish(attempt.jobs, decision, times);
                }
            }
            Action::Write(slot) => self.write(slot),
            Action::Forget => self.speculation.forget(),
            Action::AssumedWrongly => self.speculation.assumed_wrongly(),
        }
        None
    }

    /// Takes what is queued for a batch, and finds out, or begins to, what there is to decide it on.
    fn gather(&mut self, first: Job) -> Event {
        let jobs = self.gatherer.gather(first, self.operations_max());
        let slot = self.next_slot;
        self.next_slot += 1;
        // A time to live counts from the time of its write.
        let holds = !jobs.requests().any(Request::depends_on_time);
        let needs = decide::first_needs(jobs.requests());
        if !self.schedule.speculates() || !holds || !needs.can_be_predicted() {
            return Event::Gathered(slot, Some(self.hold(slot, jobs, Source::Lock)));
        }
        let unknown = self.speculation.lacks(&needs);
        if unknown.is_empty() || self.speculation.may_assume_absent(&unknown) {
            return Event::Gathered(slot, Some(self.hold(slot, jobs, Source::Known)));
        }
        self.pending.reading = Some(self.read_ahead(slot, jobs, unknown));
        Event::Gathered(slot, None)
    }

    fn read_ahead(&self, slot: Slot, jobs: Jobs, mut needs: Needs) -> AbortOnDropHandle<(Slot, Jobs, Source)> {
        let Commit { store, log, .. } = self.commit.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            let began = Instant::now();
            let seen = log.known_head();
            needs.tag_of = decide::event_to_check(&seen);
            let read = async {
                match store.pipelined() {
                    Some(store) => store.read_ahead(&needs).await,
                    None => Ok(None),
                }
            };
            let read = match timeout(READ_AHEAD_MAX, read).await {
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
            let source = read.map_or(Source::Lock, |read| Source::ReadAhead(Box::new(read), began.elapsed()));
            (slot, jobs, source)
        }))
    }

    /// Keeps a batch until it is decided.
    fn hold(&mut self, slot: Slot, jobs: Jobs, source: Source) -> Basis {
        let basis = match source {
            Source::Lock => Basis::Lock,
            Source::Known | Source::ReadAhead(..) => Basis::Speculation {
                is_large: jobs.operations() + jobs.expiries() >= PREWRITE_MIN,
            },
        };
        self.batches.insert(slot, Held::Gathered(jobs, source));
        basis
    }

    /// Adds to a batch what users have queued meanwhile, beginning with `next`.
    fn top_up(&mut self, slot: Slot, next: Job) -> Option<Event> {
        self.gatherer.hold(next);
        let Some(Held::Gathered(mut jobs, source)) = self.batches.remove(&slot) else {
            return None;
        };
        self.add_known(&mut jobs);
        Some(Event::Ready(slot, self.hold(slot, jobs, source)))
    }

    /// Adds the jobs that users have queued meanwhile and that can be decided on known rows, as far as they fit.
    fn add_known(&mut self, jobs: &mut Jobs) {
        let operations_max = self.operations_max();
        let speculation = &mut self.speculation;
        self.gatherer.top_up(jobs, operations_max, |request| {
            !request.depends_on_time() && speculation.knows(&decide::first_needs([request]))
        });
    }

    /// Decides a batch on what it will find; `None` where it has to be decided under the lock.
    fn decide(&mut self, slot: Slot) -> Option<Sending> {
        let Some(Held::Gathered(mut jobs, source)) = self.batches.remove(&slot) else {
            return None;
        };
        if !matches!(source, Source::Lock) {
            self.add_known(&mut jobs);
        }
        let jobs = self.commit.claim(jobs);
        let mut watch = stopwatch(&jobs);
        if let Source::ReadAhead(_, took) = &source {
            watch.read_ahead(*took);
        }
        let decided = self
            .predict(&jobs, source)
            .and_then(|state| self.decide_on(&jobs, state));
        let Some((batch, decision, preconditions)) = decided else {
            self.batches.insert(slot, Held::Attempted(Box::new(Attempt::new(jobs))));
            return None;
        };
        let sending = self.sending(&decision, &preconditions);
        watch.lap(Phase::Decide);
        self.speculation.wrote(Changes::from(&decision));
        let decided = Decided {
            jobs,
            batch,
            decision,
            preconditions,
            sending,
            watch,
        };
        self.batches.insert(slot, Held::Decided(Box::new(decided)));
        Some(sending)
    }

    /// Predicts the rows that these jobs will find; `None` where there is nothing to predict them from.
    fn predict(&mut self, jobs: &[Job], source: Source) -> Option<State> {
        let seen = self.commit.log.known_head();
        let needs = || decide::first_needs(jobs.iter().map(|job| &job.request));
        match source {
            Source::Lock => None,
            Source::Known => self.speculation.predict_known(&needs(), &seen),
            Source::ReadAhead(read, _) => self.speculation.predict(*read, &needs(), &seen),
        }
    }

    /// Decides jobs on the state that they will find; `None` where more is needed, or where the decision has no events: then
    /// it has nothing to fail with if the store is not as predicted.
    fn decide_on(&self, jobs: &[Job], state: State) -> Option<(Batch, Decision, Preconditions)> {
        let batch = self.commit.batch(jobs, state.head).ok()?;
        let decision = batch.decide(&state).ok()?;
        (!decision.events.is_empty()).then(|| (batch, decision, state.into_preconditions()))
    }

    fn sending(&self, decision: &Decision, preconditions: &Preconditions) -> Sending {
        let is_prewritten = self.prewrites
            && self.schedule.is_steady()
            && decision.events.len() >= PREWRITE_MIN
            // Writing a key's row is what shows that the key had none.
            && decision.not_written(&preconditions.absent).next().is_none()
            && !self.speculation.overlaps(self.schedule.in_flight(), decision);
        match is_prewritten {
            true => Sending::Prewritten,
            false => Sending::InTurn,
        }
    }

    fn send(&mut self, slot: Slot, decided: Decided) {
        let Decided {
            jobs,
            batch,
            decision,
            preconditions,
            sending,
            mut watch,
        } = decided;
        #[cfg(any(test, feature = "sim"))]
        let jobs = answer_early(&self.commit.randomness, jobs, &decision);
        let (begin, begun) = oneshot::channel();
        let turn = self.pending.begun.replace((slot, begun));
        self.pending.timed = None;
        let prewrite = (sending == Sending::Prewritten).then(|| {
            let (timed, is_timed) = oneshot::channel();
            self.pending.timed = Some((slot, is_timed));
            Prewrite {
                turn: turn.map(|(_, turn)| turn),
                wait_max: PREWRITE_WAIT_MAX,
                timed,
            }
        });
        let way = match sending {
            Sending::InTurn => Way::Foreseen,
            Sending::Prewritten => Way::Early,
        };
        let commit = self.commit.clone();
        self.pending
            .in_flight
            .push_back(AbortOnDropHandle::new(tokio::spawn(async move {
                let written = match commit.store.pipelined() {
                    Some(store) => {
                        store
                            .write_speculative(decision, &preconditions, prewrite, begin, &mut watch)
                            .await
                    }
                    None => Ok(None),
                };
                let times = watch.times(way, operations(&jobs));
                let written = written.transpose();
                if written.is_none() {
                    commit.observe(&jobs, times, BatchOutcome::Conflict);
                }
                let tried = written.map(|written| Tried {
                    batch: Arc::new(batch),
                    written,
                    times,
                });
                Sent {
                    slot,
                    assumes: !preconditions.absent.is_empty(),
                    attempt: Attempt { jobs, tried },
                }
            })));
    }

    /// Writes a batch alone, whatever is known of it so far.
    fn write(&mut self, slot: Slot) {
        let attempt = match self.batches.remove(&slot) {
            Some(Held::Attempted(attempt)) => *attempt,
            Some(Held::Decided(decided)) => Attempt::new(decided.jobs),
            Some(Held::Gathered(jobs, _)) => Attempt::new(self.commit.claim(jobs)),
            None => Attempt::new(Vec::new()),
        };
        let commit = self.commit.clone();
        self.pending.writing = Some(Box::pin(async move {
            let mut changes = Vec::new();
            let applied = |decision: &Decision| {
                if decision.writes {
                    changes.push(Changes::from(decision));
                }
            };
            commit.run(attempt, applied).await;
            (slot, changes)
        }));
    }

    /// Operations that a batch may have.
    fn operations_max(&self) -> usize {
        match self.prewrites && self.schedule.is_steady() {
            true => PREWRITE_OPERATIONS_MAX,
            false => OPERATIONS_MAX,
        }
    }
}

impl Pending {
    /// Waits for the next result; `None` where there is nothing to wait for.
    async fn next(&mut self) -> Option<Happened> {
        tokio::select! {
            biased;
            (slot, begun) = told(&mut self.begun), if self.begun.is_some() => {
                self.begun = None;
                Some(Happened::Begun(slot, begun))
            }
            (slot, timed) = told(&mut self.timed), if self.timed.is_some() => {
                self.timed = None;
                Some(Happened::Timed(slot, timed))
            }
            read = of(&mut self.reading), if self.reading.is_some() => {
                self.reading = None;
                let (slot, jobs, source) = joined(read);
                Some(Happened::Read(slot, jobs, source))
            }
            Some(sent) = self.in_flight.next(), if !self.in_flight.is_empty() => Some(Happened::Ended(Box::new(joined(sent)))),
            (slot, changes) = of(&mut self.writing), if self.writing.is_some() => {
                self.writing = None;
                Some(Happened::Written(slot, changes))
            }
            else => None,
        }
    }
}

/// Completes with the output of a future that is there, and never without one.
async fn of<F: Future + Unpin>(future: &mut Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// Waits for news of the batch; false where none will ever come.
async fn told(teller: &mut Option<(Slot, oneshot::Receiver<()>)>) -> (Slot, bool) {
    match teller {
        Some((slot, told)) => (*slot, told.await.is_ok()),
        None => std::future::pending().await,
    }
}

/// The output of a task, which is aborted only with the one that waits for it.
fn joined<T>(outcome: std::result::Result<T, JoinError>) -> T {
    outcome.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
