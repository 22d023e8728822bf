//! The connections on which batches are written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Mutex, MutexGuard, oneshot};
use tokio::time::{Instant, timeout};

use super::changes;
use super::error::{Failure, Trouble};
use super::load::{Loading, Reading, ask_head, take_head};
use super::readers::stopped;
use super::schema;
use super::script::{Packet, Script};
use super::servers::Servers;
use super::session::{Role, Session, Settings, Tell};
use crate::decide::{Decide, Decision, Needs, Preconditions, State};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{EventId, Tag};
use crate::observe::{self, Connections, Phase, Stopwatch};
use crate::random::Randomness;
use crate::store::loads::{Load, decide_until_complete};
use crate::store::{FORMAT, IN_FLIGHT_MAX, Prewrite, WriteError};

/// Connections for batches.
const LANES: usize = IN_FLIGHT_MAX;

/// Writes batches. They commit one after another; rows of several may be written at the same time.
#[derive(Debug)]
pub(super) struct Writer {
    servers: Arc<Servers>,
    /// The writer's row in the table `writers`, made anew at each opening.
    id: u64,
    /// Connections for batches; `None` where the last one was given up.
    lanes: [Mutex<Option<Session>>; LANES],
    closed: AtomicBool,
}

impl Writer {
    pub(super) fn new(servers: Arc<Servers>, id: u64, session: Session) -> Writer {
        let mut first = Some(session);
        Writer {
            servers,
            id,
            lanes: std::array::from_fn(|_| Mutex::new(first.take())),
            closed: AtomicBool::new(false),
        }
    }

    /// The writer's row in the table `writers`.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Runs one batch in one transaction.
    ///
    /// The transaction is rolled back, or the connection closed, where this fails or is dropped half-way.
    pub(super) async fn write(
        &self,
        needs: &Needs,
        decide: &mut Decide<'_>,
        watch: &mut Stopwatch,
    ) -> Result<Decision, WriteError> {
        let mut idle = self.lane().await;
        let reused = self.reuse(&mut idle).await;
        let was_reused = reused.is_some();
        let mut session = match reused {
            Some(session) => session,
            None => self.connect().await?,
        };
        let mut outcome = self.transact(&mut session, needs, decide, watch).await;
        // An idle connection may be found dead, which says nothing of the database.
        if was_reused && session.is_lost() && matches!(outcome, Err(WriteError::Retry(_))) {
            session = self.connect().await?;
            outcome = self.transact(&mut session, needs, decide, watch).await;
        }
        let open = !matches!(&outcome, Ok(decision) if decision.writes);
        keep(session, open, outcome.as_ref().err(), &mut idle).await;
        outcome
    }

    /// Writes a decision that was made without a lock, if the batch that it was made after is still the last one and its
    /// preconditions hold; `None` where that is not so, or what comes from the lock of the head to the commit takes more
    /// than one packet: in one, no stall of this process can come between the two.
    pub(super) async fn write_speculative(
        &self,
        mut decision: Decision,
        preconditions: &Preconditions,
        prewrite: Option<Prewrite>,
        begun: oneshot::Sender<()>,
        watch: &mut Stopwatch,
    ) -> Result<Option<Decision>, WriteError> {
        let mut idle = self.lane().await;
        let mut session = match self.reuse(&mut idle).await {
            Some(session) => session,
            None => self.connect().await?,
        };
        if session.settings().commits_apart() {
            return Ok(None);
        }
        let packet_bytes_max = session.settings().packet_bytes_max;
        let mut script = Script::new(packet_bytes_max);
        let lock = if prewrite.is_some() {
            changes::write_prewritten_head(&decision, preconditions, &mut script)?;
            1
        } else {
            changes::forget_time(&mut script);
            session.settings().begin(&mut script);
            let lock = script.statements() + 1;
            changes::write_speculative(&decision, preconditions, &mut script)?;
            lock
        };
        // Near the limit a lost connection may be the server's way to refuse the packet.
        let packet = script.into_one_packet();
        let Ok(Some(mut packet)) = packet.map(|one| one.filter(|one| one.text.as_ref().len() <= packet_bytes_max / 2))
        else {
            *idle = Some(session);
            return Ok(None);
        };
        let commit = packet.statements;
        add_commit(&mut packet, session.settings());
        if let Some(prewrite) = prewrite {
            let written = write_rows_before(&mut session, &decision, preconditions, prewrite, watch).await;
            if !matches!(written, Ok(true)) {
                let error = written.err();
                keep(session, true, error.as_ref(), &mut idle).await;
                return error.map_or(Ok(None), Err);
            }
        }
        let tell = Tell {
            statement: lock,
            whom: begun,
        };
        session.time_statements();
        let (number, outcome) = session.run_telling(packet, tell).await;
        lap_all(
            watch,
            &session.take_times(),
            &[(lock, Phase::Lock), (commit, Phase::Write)],
            Phase::Commit,
        );
        let time = number.and_then(changes::time_of_speculative);
        if let Some(time) = time {
            decision.move_to(time);
        }
        let outcome = match outcome {
            Ok(()) => Ok(Some(decision)),
            // A key assumed to be absent is not, or the log contradicts its head: a look under the lock tells which.
            Err(failure) if is_conflict(&failure) => Ok(None),
            Err(failure) => failure.at_commit(commit, decision).map(Some),
        };
        let outcome = match outcome {
            Ok(Some(decision)) if time.is_none() => Err(untold(decision)),
            outcome => outcome,
        };
        let open = !matches!(outcome, Ok(Some(_)));
        keep(session, open, outcome.as_ref().err(), &mut idle).await;
        outcome
    }

    /// Finds out whether the batch with this tag, whose events come after `after`, was applied, and makes sure that it
    /// cannot be applied later.
    ///
    /// The lock of the head waits for the transaction of the lost session if that still runs on this server, so what is read
    /// after it is final. Where that transaction has not begun yet, or was on another node of a cluster, the lock does not
    /// wait; then the change of the head makes that one fail.
    pub(super) async fn resolve(&self, batch: Tag, after: EventId) -> Result<bool> {
        let mut session = self.connect().await?;
        let mut script = Script::new(session.settings().packet_bytes_max);
        session.settings().begin(&mut script);
        script.statement(fence()?);
        let (tag, id) = (batch.get(), self.id);
        script.statement(format!(
            "select id from events where id > {after} and tag = {tag} limit 1"
        ));
        script.statement(format!("select id from writers where id = {id} and batch = {tag}"));
        session.settings().check_transaction(&mut script);
        let sets = session.run_all(script.into_packets()?).await?;
        session.run("commit").await?;
        session.close().await;
        Ok(sets.iter().any(|trace| !trace.is_empty()))
    }

    /// Closes the connections, after removing the own row in the table `writers`.
    pub(super) async fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        let mut leaves = true;
        for lane in &self.lanes {
            let Some(mut session) = lane.lock().await.take() else {
                continue;
            };
            if std::mem::take(&mut leaves) {
                let removed = session.run(format!("delete from writers where id = {}", self.id)).await;
                if let Err(error) = removed {
                    tracing::debug!(%error, "the row of this writer stays until it is old");
                }
            }
            session.close().await;
        }
    }

    /// The connections at the moment.
    pub(super) fn connections(&self) -> Connections {
        let lanes: Vec<_> = self.lanes.iter().map(|lane| lane.try_lock()).collect();
        Connections {
            role: observe::Role::Writer,
            busy: lanes.iter().filter(|lane| lane.is_err()).count(),
            idle: lanes.iter().flatten().filter(|lane| lane.is_some()).count(),
        }
    }

    /// The first lane that is free.
    async fn lane(&self) -> MutexGuard<'_, Option<Session>> {
        match self.lanes.iter().find_map(|lane| lane.try_lock().ok()) {
            Some(lane) => lane,
            None => self.lanes[0].lock().await,
        }
    }

    /// The idle connection, if it can go on.
    async fn reuse(&self, idle: &mut Option<Session>) -> Option<Session> {
        let mut session = idle.take()?;
        self.servers.is_still_right(&mut session).await.then_some(session)
    }

    async fn connect(&self) -> Result<Session> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(stopped());
        }
        Ok(self.servers.connect(Role::Writer).await?)
    }

    async fn transact(
        &self,
        session: &mut Session,
        needs: &Needs,
        decide: &mut Decide<'_>,
        watch: &mut Stopwatch,
    ) -> Result<Decision, WriteError> {
        let mut state = begin(session, needs, watch).await?;
        let decision = decide_until_complete(&mut state, decide, session, watch).await?;
        if !decision.writes {
            return Ok(decision);
        }
        self.commit(session, decision, watch).await
    }

    async fn commit(
        &self,
        session: &mut Session,
        decision: Decision,
        watch: &mut Stopwatch,
    ) -> Result<Decision, WriteError> {
        let packet_bytes_max = session.settings().packet_bytes_max;
        let mut script = Script::new(packet_bytes_max);
        changes::write_rows(&decision, &mut script)?;
        // Near the limit a lost connection may be the server's way to refuse the packet: then COMMIT is not in it.
        script.end_packet_over(packet_bytes_max / 2);
        changes::write_head(&decision, &mut script);
        changes::write_trace(&decision, self.id, decision.head.batch, &mut script);
        session.settings().check_transaction(&mut script);
        let mut packets = script.into_packets()?;
        let mut last = match packets.pop() {
            Some(last) if !session.settings().commits_apart() => last,
            last => {
                packets.extend(last);
                Packet::default()
            }
        };
        if let Err(failure) = session.run_all(packets).await {
            invalidate_speculative(session, &failure).await;
            return Err(failure.into());
        }
        watch.lap(Phase::Write);
        let commit = last.statements;
        if commit == 0 {
            last.text.raw("commit");
        } else {
            add_commit(&mut last, session.settings());
        }
        session.time_statements();
        let committed = session.run_packet(last).await;
        let times = session.take_times();
        match commit {
            0 => watch.lap(Phase::Commit),
            commit => lap_all(watch, &times, &[(commit, Phase::Write)], Phase::Commit),
        }
        match committed {
            Ok(_) if commit == 0 => {
                if let Some(after) = session.settings().after_transaction() {
                    session.run_or_give_up(after).await;
                }
                Ok(decision)
            }
            Ok(_) => Ok(decision),
            Err(failure) => {
                invalidate_speculative(session, &failure).await;
                failure.at_commit(commit, decision)
            }
        }
    }
}

/// Whether a speculative batch failed because others wrote before it or at the same time, or because a key that was assumed
/// to be absent is not. A log that contradicts its head looks the same, and is found out under the lock.
fn is_conflict(failure: &Failure) -> bool {
    let is_so = matches!(
        failure.trouble(),
        Trouble::Conflict | Trouble::RolledBack | Trouble::Broken
    );
    failure.is_answer() && is_so
}

/// Writes the rows of a batch before its turn, in a transaction of its own, and waits for the turn. False where something
/// stands in the way.
async fn write_rows_before(
    session: &mut Session,
    decision: &Decision,
    preconditions: &Preconditions,
    prewrite: Prewrite,
    watch: &mut Stopwatch,
) -> Result<bool, WriteError> {
    let mut script = Script::new(session.settings().packet_bytes_max);
    changes::take_time(decision, &mut script);
    session.settings().begin(&mut script);
    changes::prewrite(decision, preconditions, &mut script)?;
    // A row that is too large is found under the lock, with the request at fault.
    let Ok(mut packets) = script.into_packets() else {
        return Ok(false);
    };
    let tell = Tell {
        statement: 1,
        whom: prewrite.timed,
    };
    let first = packets.remove(0);
    let (_, mut outcome) = session.run_telling(first, tell).await;
    if outcome.is_ok() {
        outcome = session.run_all(packets).await.map(drop);
    }
    watch.lap(Phase::Write);
    match outcome {
        Ok(()) => {}
        Err(failure) if is_conflict(&failure) => return Ok(false),
        Err(failure) => return Err(failure.into()),
    }
    let is_its_turn = match prewrite.turn {
        Some(turn) => matches!(timeout(prewrite.wait_max, turn).await, Ok(Ok(()))),
        None => true,
    };
    watch.lap(Phase::Lock);
    Ok(is_its_turn)
}

/// Divides the time of statements that went through at these `times`: the phases in `ends` end with the statements of
/// these numbers, from 1, and what comes after them is `last`. Where no more went through, the phase that was under way has the rest.
fn lap_all(watch: &mut Stopwatch, times: &[Instant], ends: &[(usize, Phase)], last: Phase) {
    for (statement, phase) in ends {
        match times.get(statement - 1) {
            Some(at) => watch.lap_at(*phase, *at),
            None => return watch.lap(*phase),
        }
    }
    watch.lap(last);
}

/// The fence: makes every speculative batch in flight fail, as it is not after the one that it was decided after.
fn fence() -> Result<String> {
    let fence = Randomness::default().tag()?.get();
    Ok(format!("update head set batch = {fence} where id = 1"))
}

/// Fences after a transaction was rolled back as it and another one waited for each other: that one may be of another
/// program's batch, [prewritten](Prewrite), and the next one, too, as long as nobody else writes.
async fn invalidate_speculative(session: &mut Session, failure: &Failure) {
    if failure.trouble() != Trouble::RolledBack || session.settings().commits_apart() {
        return;
    }
    let made = match fence() {
        Ok(fence) => session.run(fence).await.map(drop).map_err(Error::from),
        Err(error) => Err(error),
    };
    if let Err(error) = made {
        tracing::debug!(?error, "speculative batches of others could not be made to fail");
    }
}

/// Adds COMMIT, and what comes after it, to the statements of a packet.
fn add_commit(packet: &mut Packet, settings: &Settings) {
    packet.text.raw(";commit");
    if let Some(after) = settings.after_transaction() {
        packet.text.raw(";").raw(after);
    }
}

/// A batch that was written at a time that the server, or a proxy before it, did not tell: the log tells.
fn untold(decision: Decision) -> WriteError {
    WriteError::Unknown {
        decision: Box::new(decision),
        error: Error::new(ErrorKind::Internal, "the database does not tell the time of a batch"),
    }
}

/// Keeps a session after a batch if it can be used for another one, with its transaction ended if that is still open.
async fn keep(mut session: Session, open: bool, error: Option<&WriteError>, idle: &mut Option<Session>) {
    let known = !matches!(error, Some(WriteError::Unknown { .. }));
    if known && session.is_usable() && (!open || session.roll_back().await.is_ok()) {
        *idle = Some(session);
    }
}

/// Begins a transaction with the lock of the head, and loads what is needed first.
async fn begin(session: &mut Session, needs: &Needs, watch: &mut Stopwatch) -> Result<State, WriteError> {
    let mut script = Script::new(session.settings().packet_bytes_max);
    session.settings().begin(&mut script);
    let lock = script.statements() + 1;
    ask_head(needs, true, &mut script);
    let loading = Loading::ask(needs, Reading::RowsAndLeases, &mut script);
    session.settings().check_transaction(&mut script);
    session.time_statements();
    let begun = session.run_all(script.into_packets()?).await;
    lap_all(watch, &session.take_times(), &[(lock, Phase::Lock)], Phase::Load);
    let mut sets = begun?.into_iter();
    let (mut state, format_min) = take_head(needs, &mut sets)?;
    if format_min > FORMAT {
        return Err(WriteError::Final(schema::too_old()));
    }
    loading.take_in(needs, sets.collect(), &mut state)?;
    Ok(state)
}

impl Load for Session {
    async fn load(&mut self, needs: &Needs, state: &mut State) -> Result<(), WriteError> {
        let mut script = Script::new(self.settings().packet_bytes_max);
        let loading = Loading::ask(needs, Reading::RowsAndLeases, &mut script);
        self.settings().check_transaction(&mut script);
        let sets = self.run_all(script.into_packets()?).await?;
        Ok(loading.take_in(needs, sets, state)?)
    }
}
