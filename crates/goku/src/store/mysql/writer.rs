//! The connection on which batches are written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Mutex;

use super::changes;
use super::columns::{Fields, NOW};
use super::load::{Loading, Reading, ask_head, take_head};
use super::readers::stopped;
use super::schema;
use super::script::{Packet, Script};
use super::servers::Servers;
use super::session::{Role, Session};
use crate::decide::{Batch, Decision, Needs, State};
use crate::error::{Error, ErrorKind, Result};
use crate::store::{FORMAT, WriteError};

/// Loads after which a batch must have all that it needs: each may ask only for what the one before led to.
const LOADS_MAX: usize = 16;

/// Writes batches, one at a time.
#[derive(Debug)]
pub(super) struct Writer {
    servers: Arc<Servers>,
    /// Its row in the table `writers`, made anew at each opening.
    id: u64,
    /// None where the last one was given up.
    session: Mutex<Option<Session>>,
    closed: AtomicBool,
}

impl Writer {
    pub(super) fn new(servers: Arc<Servers>, id: u64, session: Session) -> Writer {
        Writer {
            servers,
            id,
            session: Mutex::new(Some(session)),
            closed: AtomicBool::new(false),
        }
    }

    /// Its row in the table `writers`.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Runs one batch in one transaction.
    ///
    /// Where this fails or is dropped half-way, the transaction is rolled back or the connection closed.
    pub(super) async fn write(&self, batch: &Batch) -> Result<Decision, WriteError> {
        let mut idle = self.session.lock().await;
        let mut reused = idle.take();
        if let Some(session) = &mut reused
            && !self.servers.is_still_right(session).await
        {
            reused = None;
        }
        let was_reused = reused.is_some();
        let mut session = match reused {
            Some(session) => session,
            None => self.connect().await?,
        };
        let mut outcome = self.transact(&mut session, batch).await;
        // An idle connection may be found dead, which says nothing of the database.
        if was_reused && session.is_lost() && matches!(outcome, Err(WriteError::Retry(_))) {
            session = self.connect().await?;
            outcome = self.transact(&mut session, batch).await;
        }
        let (known, open) = match &outcome {
            Ok(decision) => (true, !decision.writes),
            Err(WriteError::Unknown { .. }) => (false, true),
            Err(_) => (true, true),
        };
        if known && session.is_usable() && (!open || session.roll_back().await.is_ok()) {
            *idle = Some(session);
        }
        outcome
    }

    /// Finds out whether `batch` was applied, and makes sure that it cannot be applied later.
    ///
    /// The lock of the head waits for the transaction of the lost session if that still runs on this server, so what
    /// is read after it is final. Where the lost session was on another node of a cluster the lock does not wait; then
    /// the committed change of the row that the late transaction changes too makes that one fail.
    pub(super) async fn resolve(&self, batch: &Batch) -> Result<bool> {
        let mut session = self.connect().await?;
        let id = self.id;
        let mut script = Script::new(session.settings().packet_bytes_max);
        session.settings().begin(&mut script);
        script.statement("select id from head where id = 1 for update");
        script.statement(format!(
            "insert into writers (id, batch, fence, seen_at) values ({id}, 0, 1, {NOW}) \
             on duplicate key update fence = fence + 1, seen_at = values(seen_at)"
        ));
        script.statement(format!("select batch from writers where id = {id} for update"));
        session.settings().check_transaction(&mut script);
        let sets = session.run_all(script.into_packets()?).await?;
        session.run("commit").await?;
        session.close().await;
        let row = sets.into_iter().next_back().and_then(|set| set.into_iter().next());
        let row = row.ok_or_else(|| Error::new(ErrorKind::Internal, "the row of this writer is gone"))?;
        Ok(Fields::new(row).unsigned()? == batch.tag.get())
    }

    /// Closes the connection, after removing the own row in the table `writers`.
    pub(super) async fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        if let Some(mut session) = self.session.lock().await.take() {
            let removed = session.run(format!("delete from writers where id = {}", self.id)).await;
            if let Err(error) = removed {
                tracing::debug!(%error, "the row of this writer stays until it is old");
            }
            session.close().await;
        }
    }

    async fn connect(&self) -> Result<Session> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(stopped());
        }
        Ok(self.servers.connect(Role::Writer).await?)
    }

    async fn transact(&self, session: &mut Session, batch: &Batch) -> Result<Decision, WriteError> {
        let mut needs = batch.first_needs();
        let mut state = begin(session, &needs).await?;
        for _ in 0..LOADS_MAX {
            match batch.decide(&state) {
                Ok(decision) if decision.writes => return self.commit(session, batch, decision).await,
                Ok(decision) => return Ok(decision),
                Err(more) => needs = *more,
            }
            load(session, &needs, &mut state).await?;
        }
        Err(Error::new(ErrorKind::Internal, format!("a batch still asks for {needs:?}")).into())
    }

    async fn commit(&self, session: &mut Session, batch: &Batch, decision: Decision) -> Result<Decision, WriteError> {
        let packet_bytes_max = session.settings().packet_bytes_max;
        let mut script = Script::new(packet_bytes_max);
        changes::write_rows(&decision, &mut script)?;
        // Near the limit a lost connection may be the server's way to refuse the packet: then COMMIT is not in it.
        script.end_packet_over(packet_bytes_max / 2);
        changes::write_head(&decision, self.id, batch.tag, &mut script);
        session.settings().check_transaction(&mut script);
        let mut packets = script.into_packets()?;
        let mut last = match packets.pop() {
            Some(last) if !session.settings().commits_apart() => last,
            last => {
                packets.extend(last);
                Packet::default()
            }
        };
        session.run_all(packets).await?;
        let commit = last.statements;
        last.text.raw(if commit == 0 { "commit" } else { ";commit" });
        let after = session.settings().after_transaction();
        if let Some(after) = after.filter(|_| commit > 0) {
            last.text.raw(";").raw(after);
        }
        match session.run(last.text).await {
            Ok(_) if commit == 0 => {
                if let Some(after) = after {
                    session.run_or_give_up(after).await;
                }
                Ok(decision)
            }
            Ok(_) => Ok(decision),
            Err(failure) => failure.at_commit(commit, decision),
        }
    }
}

/// Begins a transaction with the lock of the head, and loads what is needed first.
async fn begin(session: &mut Session, needs: &Needs) -> Result<State, WriteError> {
    let mut script = Script::new(session.settings().packet_bytes_max);
    session.settings().begin(&mut script);
    ask_head(needs, true, &mut script);
    let loading = Loading::ask(needs, Reading::RowsAndLeases, &mut script);
    session.settings().check_transaction(&mut script);
    let mut sets = session.run_all(script.into_packets()?).await?.into_iter();
    let (mut state, format_min) = take_head(needs, &mut sets)?;
    if format_min > FORMAT {
        return Err(WriteError::Final(schema::too_old(format_min)));
    }
    loading.take_in(needs, sets.collect(), &mut state)?;
    Ok(state)
}

async fn load(session: &mut Session, needs: &Needs, state: &mut State) -> Result<(), WriteError> {
    let mut script = Script::new(session.settings().packet_bytes_max);
    let loading = Loading::ask(needs, Reading::RowsAndLeases, &mut script);
    session.settings().check_transaction(&mut script);
    let sets = session.run_all(script.into_packets()?).await?;
    Ok(loading.take_in(needs, sets, state)?)
}
