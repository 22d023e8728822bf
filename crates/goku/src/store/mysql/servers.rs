//! The listed servers, and which of them is used.
//!
//! All connections of a store go to one server, which takes writes. Of plain servers that is the one that is not read only;
//! of the nodes of a Galera cluster the one that all replicas have agreed on ([`writer_node`]). Every new connection finds
//! out what its server is; where that has changed, the connections to the one before are old, and not used again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use mysql_async::Opts;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::address::Address;
use super::addresses;
use super::error::{Cause, Failure, Trouble};
use super::session::{Role, Session};
use super::standing::Kind;
use super::writer_node::{self, REST_MS, WriterNode};
use crate::error::Result;
use crate::outage::{Outage, REMINDER_INTERVAL};

/// How long the server of the last connection may take before the others are asked, too.
const HEDGE: Duration = Duration::from_secs(1);

/// How long the other servers may take once one that can be used has answered.
const GATHER: Duration = Duration::from_secs(1);

/// How long the node that replicas write to may be out of reach before another one is named.
const ABSENCE_MAX: Duration = Duration::from_secs(1);

/// The pause before a node that was out of reach is tried again.
const PAUSE: Duration = Duration::from_millis(100);

/// Longest search for a server; each attempt has a shorter limit of its own.
const SEARCH_TIME_MAX: Duration = Duration::from_secs(15);

/// How long a server is left alone after the driver panicked when it logged in there.
const PANIC_PAUSE: Duration = Duration::from_secs(60);

/// The servers of a store, and which of them is used.
#[derive(Debug)]
pub(super) struct Servers {
    addresses: Vec<Address>,
    state: Mutex<State>,
    /// The node of a cluster that replicas write to, which each connection of a writer looks for.
    named_node: Outage,
}

#[derive(Debug, Default)]
struct State {
    /// The address of the last connection that could be used, and the name of its server.
    chosen: Option<(usize, String)>,
    /// Counts the changes of server: connections of an earlier one are old.
    generation: u64,
    /// The time when a line of the log last told of a change, and the changes up to then.
    told: Option<(Instant, u64)>,
    /// The addresses at which the driver panicked, with the time and its explanation.
    panicked: HashMap<usize, (Instant, String)>,
}

impl State {
    /// Changes of server that no line of the log has told of, where another line may tell: at most one in
    /// [`REMINDER_INTERVAL`].
    fn changes_to_tell(&mut self, now: Instant) -> Option<u64> {
        let told = match self.told {
            Some((at, _)) if now.duration_since(at) < REMINDER_INTERVAL => return None,
            Some((_, told)) => told,
            None => 0,
        };
        self.told = Some((now, self.generation));
        Some(self.generation - told)
    }
}

/// The target of a connection on a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Database,
    /// The server itself, where the database does not exist yet.
    Server,
}

/// The reason why no server of a list can be used.
#[derive(Debug)]
pub(super) struct NoServer {
    /// The address whose failure says most.
    pub(super) address: Address,
    pub(super) failure: Failure,
}

type Answers = Vec<(usize, Result<Session, Failure>)>;

impl Servers {
    /// Reads a URL with one server or several.
    pub(super) fn parse(url: &str) -> Result<Servers> {
        let addresses = addresses::parse(url)?;
        let names: Vec<_> = addresses.iter().map(Address::to_string).collect();
        let named_node = Outage::new("connections to the node that replicas write to").at(names.join(","));
        Ok(Servers {
            addresses,
            state: Mutex::default(),
            named_node,
        })
    }

    /// The address that is used, or the first. User and database are those of all.
    pub(super) fn chosen(&self) -> &Address {
        let chosen = self.state().chosen.as_ref().map_or(0, |(index, _)| *index);
        self.addresses.get(chosen).expect("an address of the list was chosen")
    }

    /// A connection to the server that takes writes.
    pub(super) async fn connect(&self, role: Role) -> Result<Session, NoServer> {
        self.connect_to(Target::Database, role).await
    }

    /// A connection to each of the servers, whether it takes writes or not.
    pub(super) async fn each(&self, target: Target) -> Vec<(Address, Result<Session, Failure>)> {
        let opening = self
            .addresses
            .iter()
            .enumerate()
            .map(async |(index, address)| (address.clone(), self.open(index, target, Role::Reader).await));
        join_all(opening).await
    }

    /// A connection to the server that takes writes, to its database or beside it.
    pub(super) async fn connect_to(&self, target: Target, role: Role) -> Result<Session, NoServer> {
        if let [only] = &self.addresses[..] {
            return match usable(self.open(0, target, role).await) {
                Ok(session) => Ok(self.choose(0, role, session)),
                Err(failure) => Err(NoServer {
                    address: only.clone(),
                    failure,
                }),
            };
        }
        let chosen = self.state().chosen.as_ref().map(|(index, _)| *index);
        if let Some(index) = chosen
            && let Ok(opened) = timeout(HEDGE, self.open(index, target, role)).await
            && let Ok(mut session) = usable(opened)
            && self.is_agreed_on(&mut session, target, role).await
        {
            return Ok(self.choose(index, role, session));
        }
        self.search(target, role).await
    }

    /// Whether a connection is to the server that is used now, and young enough.
    pub(super) fn is_current(&self, session: &Session) -> bool {
        session.generation == self.state().generation && !session.is_over_age()
    }

    /// Whether a writer goes on with its connection: asks the server, where nobody has for a while, whether it takes
    /// writes and is the one to write to.
    pub(super) async fn is_still_right(&self, session: &mut Session) -> bool {
        if !self.is_current(session) {
            return false;
        }
        if !session.is_due_for_a_look() {
            return true;
        }
        if session.look().await.is_err() {
            return false;
        }
        self.addresses.len() == 1 || self.is_agreed_on(session, Target::Database, Role::Writer).await
    }

    /// The connection of a writer after the tables were made, or another one where replicas write to another node.
    pub(super) async fn agree_at_last(&self, mut session: Session) -> Result<Session, NoServer> {
        if self.addresses.len() == 1 || self.is_agreed_on(&mut session, Target::Database, Role::Writer).await {
            return Ok(session);
        }
        self.search(Target::Database, Role::Writer).await
    }

    /// Whether replicas write to this server, as far as they have agreed on one.
    async fn is_agreed_on(&self, session: &mut Session, target: Target, role: Role) -> bool {
        if !session.standing().is_galera() || target == Target::Server || role == Role::Reader {
            return true;
        }
        match writer_node::read(session).await {
            Ok(Some(node)) if node.name == session.standing().name => {
                self.named_node.worked();
                true
            }
            // The named node is out of reach for this replica, and must stay named for a while.
            Ok(Some(node)) => session.beside == Some(node.term) && node.age_ms < REST_MS,
            // A new database: the search names a node once the table is there.
            Ok(None) => false,
            Err(failure) => failure.trouble() == Trouble::NoTable,
        }
    }

    /// Asks all servers.
    async fn search(&self, target: Target, role: Role) -> Result<Session, NoServer> {
        let started = Instant::now();
        loop {
            let found = self.ask_all(target, role).await?;
            let is_galera = found.iter().any(|(_, session)| session.standing().is_galera());
            if !is_galera {
                return self.only_one(found, role);
            }
            if target == Target::Server || role == Role::Reader {
                return Ok(self.prefer_chosen(found, role));
            }
            let waited_long = started.elapsed() >= ABSENCE_MAX;
            if let Some(session) = self.agree(found, waited_long).await? {
                return Ok(session);
            }
            if started.elapsed() >= SEARCH_TIME_MAX {
                return Err(self.no_agreement());
            }
            sleep(PAUSE).await;
        }
    }

    /// All servers that can be used, the best first: at least one.
    async fn ask_all(&self, target: Target, role: Role) -> Result<Vec<(usize, Session)>, NoServer> {
        let mut asked: FuturesUnordered<_> = (0..self.addresses.len())
            .map(|index| async move { (index, usable(self.open(index, target, role).await)) })
            .collect();
        let mut answers = Answers::new();
        let mut end = None;
        loop {
            let answer = match end {
                None => asked.next().await,
                Some(end) => timeout_at(end, asked.next()).await.unwrap_or_default(),
            };
            let Some((index, answer)) = answer else { break };
            if answer.is_ok() {
                end.get_or_insert_with(|| Instant::now() + GATHER);
            }
            answers.push((index, answer));
        }
        if !answers.iter().any(|(_, answer)| answer.is_ok()) {
            return Err(self.no_server(answers));
        }
        for (index, answer) in &answers {
            if let Err(failure) = answer {
                tracing::debug!(server = %self.addresses[*index], %failure, "a server cannot be used");
            }
        }
        let found = answers.into_iter();
        let mut found: Vec<_> = found
            .filter_map(|(index, answer)| Some((index, answer.ok()?)))
            .collect();
        // A node that gives others a copy of all that it has may stand still meanwhile.
        found.sort_by_key(|(index, session)| (session.standing().kind == Kind::Galera { synced: false }, *index));
        Ok(found)
    }

    /// The only server that takes writes; fails where several do that are no cluster: nobody knows which has the data.
    fn only_one(&self, found: Vec<(usize, Session)>, role: Role) -> Result<Session, NoServer> {
        let mut found = found.into_iter();
        let (index, session) = found.next().expect("at least one server was found");
        let other = found.find(|(_, other)| {
            other.standing().kind == Kind::Plain && other.standing().name != session.standing().name
        });
        match other {
            Some((other, _)) => Err(NoServer {
                address: self.addresses[index].clone(),
                failure: Failure {
                    answered: 0,
                    cause: Cause::NoServer {
                        told: format!(
                            "{} and {} both take writes and are no cluster: set read_only on all servers but the primary",
                            self.addresses[index], self.addresses[other]
                        ),
                        trouble: Trouble::Transient,
                    },
                },
            }),
            None => Ok(self.choose(index, role, session)),
        }
    }

    /// The node that is written to, among nodes that can all be read.
    fn prefer_chosen(&self, mut found: Vec<(usize, Session)>, role: Role) -> Session {
        let chosen = self.state().chosen.as_ref().map(|(index, _)| *index);
        let place = found.iter().position(|(index, _)| Some(*index) == chosen).unwrap_or(0);
        let (index, session) = found.swap_remove(place);
        self.choose(index, role, session)
    }

    /// The node that replicas write to, after naming one where none is named or the named one cannot be reached. Returns
    /// `None` when asking all servers again could still find one.
    async fn agree(&self, mut found: Vec<(usize, Session)>, waited_long: bool) -> Result<Option<Session>, NoServer> {
        let (first, mut session) = found.swap_remove(0);
        let node = match writer_node::read(&mut session).await {
            Ok(node) => node,
            // The tables are still to be made, by this store when it is open.
            Err(failure) if failure.trouble() == Trouble::NoTable => {
                return Ok(Some(self.choose(first, Role::Writer, session)));
            }
            Err(failure) => return Err(self.no_server(vec![(first, Err(failure))])),
        };
        let Some(node) = node else {
            let name = session.standing().name.clone();
            return Ok(self.name(&mut session, &name, None).await);
        };
        if node.name == session.standing().name {
            self.named_node.worked();
            return Ok(Some(self.choose(first, Role::Writer, session)));
        }
        let place = found.iter().position(|(_, other)| other.standing().name == node.name);
        if let Some(place) = place {
            self.named_node.worked();
            let (index, session) = found.swap_remove(place);
            return Ok(Some(self.choose(index, Role::Writer, session)));
        }
        if !waited_long {
            return Ok(None);
        }
        if node.age_ms >= REST_MS {
            let name = session.standing().name.clone();
            return Ok(self.name(&mut session, &name, Some(&node)).await);
        }
        self.named_node.failed(&format_args!(
            "{} cannot be reached, and was named a moment ago: this replica writes to {} meanwhile",
            node.name,
            session.standing().name
        ));
        session.beside = Some(node.term);
        Ok(Some(self.choose(first, Role::Writer, session)))
    }

    /// Names a node; asking again shows who was first.
    async fn name(&self, session: &mut Session, name: &str, before: Option<&WriterNode>) -> Option<Session> {
        match writer_node::name(session, name, before).await {
            Ok(()) => tracing::warn!(
                node = name,
                before = before.map_or("none", |before| &before.name),
                "replicas are told to write to another node of the cluster"
            ),
            Err(failure) => tracing::debug!(%failure, "another replica names the node to write to"),
        }
        None
    }

    /// Uses a server from now on.
    fn choose(&self, index: usize, role: Role, mut session: Session) -> Session {
        let mut state = self.state();
        let chosen = (index, session.standing().name.clone());
        // Nodes of a cluster are all as good to read from, so reads follow the writes.
        let decides = role == Role::Writer || !session.standing().is_galera() || state.chosen.is_none();
        if decides && state.chosen.as_ref() != Some(&chosen) {
            if state.chosen.is_some() {
                state.generation += 1;
                if let Some(changes) = state.changes_to_tell(Instant::now()) {
                    let server = &self.addresses[index];
                    tracing::info!(%server, name = chosen.1, changes, "the database is on another server now");
                }
            }
            state.chosen = Some(chosen);
        }
        session.generation = state.generation;
        session
    }

    async fn open(&self, index: usize, target: Target, role: Role) -> Result<Session, Failure> {
        let lately = |(when, _): &&(Instant, String)| when.elapsed() < PANIC_PAUSE;
        let panicked = self.state().panicked.get(&index).filter(lately).cloned();
        if let Some((_, text)) = panicked {
            return Err(Failure {
                answered: 0,
                cause: Cause::Panicked(text),
            });
        }
        let opened = Session::connect(target.opts(&self.addresses[index]), role).await;
        if let Err(Failure {
            cause: Cause::Panicked(text),
            ..
        }) = &opened
        {
            let panicked = (Instant::now(), text.clone());
            self.state().panicked.insert(index, panicked);
        }
        opened
    }

    /// The failure where the nodes of a cluster can be reached, but for the one that replicas write to.
    fn no_agreement(&self) -> NoServer {
        NoServer {
            address: self.chosen().clone(),
            failure: Failure {
                answered: 0,
                cause: Cause::NoServer {
                    told: format!(
                        "the nodes of the cluster named none within {} s that takes writes and can be reached",
                        SEARCH_TIME_MAX.as_secs()
                    ),
                    trouble: Trouble::Transient,
                },
            },
        }
    }

    /// The failure of all servers, led by the one that says most: a wrong set-up before an error that may pass.
    fn no_server(&self, answers: Answers) -> NoServer {
        let failures = answers.into_iter();
        let failures = failures.filter_map(|(index, answer)| Some((index, answer.err()?)));
        let mut failures: Vec<_> = failures.collect();
        failures.sort_by_key(|(index, failure)| (failure.trouble() == Trouble::Transient, *index));
        let told: Vec<_> = failures
            .iter()
            .map(|(index, failure)| format!("{}: {failure}", self.addresses[*index]))
            .collect();
        let told = told.join("; ");
        let first = failures.into_iter().next();
        let (index, failure) = first.unwrap_or_else(|| (0, late(SEARCH_TIME_MAX)));
        let failure = match failure.cause {
            Cause::Server(_) => failure,
            _ => Failure {
                answered: 0,
                cause: Cause::NoServer {
                    told,
                    trouble: failure.trouble(),
                },
            },
        };
        NoServer {
            address: self.addresses[index].clone(),
            failure,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change of the state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Target {
    fn opts(self, address: &Address) -> Opts {
        match self {
            Target::Database => address.opts(),
            Target::Server => address.server(),
        }
    }
}

impl From<NoServer> for crate::error::Error {
    fn from(none: NoServer) -> crate::error::Error {
        none.failure.into()
    }
}

/// A connection to a server that takes writes.
fn usable(opened: Result<Session, Failure>) -> Result<Session, Failure> {
    let session = opened?;
    match session.standing().refusal {
        Some(refusal) => Err(Failure {
            answered: 0,
            cause: Cause::Refused(refusal),
        }),
        None => Ok(session),
    }
}

fn late(limit: Duration) -> Failure {
    Failure {
        answered: 0,
        cause: Cause::Late(limit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_a_minute_tells_of_changes_of_server() {
        let mut state = State::default();
        let began = Instant::now();
        let lines: Vec<_> = (0..150)
            .filter_map(|second| {
                state.generation += 1;
                state.changes_to_tell(began + Duration::from_secs(second))
            })
            .collect();
        assert_eq!(lines, [1, 60, 60]);
    }
}
