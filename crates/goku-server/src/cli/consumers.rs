//! `goku consumers`.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use goku::consumer::{self, Failing, Lag, Place, Roster, dead_letter_counts, dead_letters};
use goku::{Client, ConsumerName, Cursor, CursorId, CursorsRequest, Error, ErrorKind, EventId, Status};

use crate::cli::connection::Connection;
use crate::cli::consume::consumer_name;
use crate::exit::Outcome;
use crate::output::{ConsumerStatus, Output};

/// List consumers with their positions, how far they are behind, what fails, and their dead letters; reset them
///
/// A line has name, partition, position, the events after it with the age of the first of them, dead letters, when the cursor
/// was moved, the member that holds the partition of a group, and the event that fails at the moment, separated by tabs. The events after a position are those of
/// all keys, what a group writes for itself among them: a consumer that has nothing to do passes them within 5 s.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Consumers {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Move a consumer's cursors, forth or back; one that runs goes on from there within some seconds
    ///
    /// There is no such consumer before it first ran, unless --create makes its cursor.
    Reset(Reset),
    /// List a consumer's dead letters
    Dead(Named),
    /// List a group's members, in the order in which they joined
    ///
    /// A line has label, lease, how many partitions it holds, and which, separated by tabs.
    Members(Named),
    /// Divide a group that has no members into another number of partitions; they begin where the one furthest behind was
    Repartition(Repartition),
    /// Forget a consumer's cursors, or a group that has no members; its dead letters stay
    Delete(Named),
}

#[derive(Debug, Args)]
struct Repartition {
    #[command(flatten)]
    group: Named,

    /// Into how many
    #[arg(long, value_name = "N")]
    partitions: u32,
}

#[derive(Debug, Args)]
struct Reset {
    #[command(flatten)]
    consumer: Named,

    /// New place: after the event ID, at the beginning or at the head
    #[arg(long, value_name = "ID|beginning|head", value_parser = place)]
    to: Place,

    /// Make the cursor of a consumer that has none yet, for its first run
    #[arg(long)]
    create: bool,
}

#[derive(Debug, Args)]
struct Named {
    /// The consumer's name
    #[arg(value_parser = consumer_name)]
    name: ConsumerName,
}

impl Consumers {
    pub(super) async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let client = connection.client()?;
        match self.command {
            None => list(&client, output).await,
            Some(Command::Reset(reset)) => {
                let name = &reset.consumer.name;
                if !reset.create && !exists(&client, name).await? {
                    let message = format!(
                        "there is no consumer {:?}: see `goku consumers`, or give --create to make its cursor",
                        name.as_str()
                    );
                    return Err(Error::new(ErrorKind::NotFound, message).into());
                }
                let cursors = consumer::reset(&client, name, reset.to).await?;
                Telling::begin(&client).await?.tell(cursors, output).await
            }
            Some(Command::Dead(named)) => {
                for letter in dead_letters(&client, &named.name).await? {
                    output.dead_letter(&letter)?;
                }
                Ok(())
            }
            Some(Command::Members(named)) => {
                let Some(roster) = consumer::roster(&client, &named.name).await? else {
                    let message = format!("there is no group {:?}", named.name.as_str());
                    return Err(Error::new(ErrorKind::NotFound, message).into());
                };
                for member in &roster.members {
                    output.member(member)?;
                }
                Ok(())
            }
            Some(Command::Repartition(repartition)) => {
                consumer::repartition(&client, &repartition.group.name, repartition.partitions).await?;
                Ok(())
            }
            Some(Command::Delete(named)) => delete(&client, &named.name).await,
        }
    }
}

/// Whether a consumer has a cursor, or is a group.
async fn exists(client: &dyn Client, name: &ConsumerName) -> goku::Result<bool> {
    let request = CursorsRequest {
        consumer: Some(name.clone()),
        limit: Some(1),
        ..CursorsRequest::default()
    };
    Ok(!client.list_cursors(request).await?.is_empty() || consumer::roster(client, name).await?.is_some())
}

async fn list(client: &dyn Client, output: &mut Output) -> Outcome {
    let mut telling = Telling::begin(client).await?;
    let mut request = CursorsRequest::default();
    loop {
        let page = client.list_cursors(request.clone()).await?;
        let Some(last) = page.last() else {
            return telling.tell_without_cursors(output).await;
        };
        request.after = Some(last.id.clone());
        telling.tell(page, output).await?;
    }
}

/// Tells of cursors, those of a consumer one after the other.
struct Telling<'a> {
    client: &'a dyn Client,
    /// The number of dead letters of each consumer that has some.
    dead: BTreeMap<String, usize>,
    /// Deliveries that fail and were not told of yet.
    failing: BTreeMap<CursorId, Failing>,
    /// Of the last that was told of.
    common: Option<Common>,
}

/// The part that all cursors of a consumer have in common.
struct Common {
    name: ConsumerName,
    status: Status,
    roster: Option<Roster>,
}

impl Common {
    async fn of(client: &dyn Client, name: &ConsumerName) -> goku::Result<Common> {
        Ok(Common {
            name: name.clone(),
            status: client.status().await?,
            roster: consumer::roster(client, name).await?,
        })
    }
}

impl Telling<'_> {
    async fn begin(client: &dyn Client) -> goku::Result<Telling<'_>> {
        let failing = consumer::failing(client, None).await?.into_iter();
        Ok(Telling {
            client,
            dead: dead_letter_counts(client, None).await?,
            failing: failing.map(|failing| (failing.cursor.clone(), failing)).collect(),
            common: None,
        })
    }

    async fn tell(&mut self, cursors: Vec<Cursor>, output: &mut Output) -> Outcome {
        for cursor in cursors {
            let status = self.common(&cursor.id.consumer).await?.status.clone();
            let lag = match consumer::lag_at(self.client, &cursor, &status).await {
                Ok(lag) => Some(lag),
                Err(error) if matches!(error.kind(), ErrorKind::Compacted { .. } | ErrorKind::PositionLost) => None,
                Err(error) => return Err(error.into()),
            };
            self.tell_of(cursor.id.clone(), Some(cursor), lag, output).await?;
        }
        Ok(())
    }

    /// Tells of what fails though there is no cursor of it in the store.
    async fn tell_without_cursors(&mut self, output: &mut Output) -> Outcome {
        let ids: Vec<CursorId> = self.failing.keys().cloned().collect();
        for id in ids {
            self.tell_of(id, None, None, output).await?;
        }
        Ok(())
    }

    async fn tell_of(
        &mut self,
        id: CursorId,
        cursor: Option<Cursor>,
        lag: Option<Lag>,
        output: &mut Output,
    ) -> Outcome {
        let roster = self.common(&id.consumer).await?.roster.as_ref();
        let holder = roster.and_then(|roster| roster.holder(id.partition)).cloned();
        let dead = self.dead.get(id.consumer.as_str()).copied().unwrap_or(0);
        let failing = self.failing.remove(&id);
        output.consumer(&ConsumerStatus {
            id,
            cursor,
            lag,
            dead,
            holder,
            failing,
        })?;
        Ok(())
    }

    /// The part that the cursors of this consumer have in common.
    async fn common(&mut self, name: &ConsumerName) -> goku::Result<&Common> {
        let common = match self.common.take() {
            Some(of) if of.name == *name => of,
            _ => Common::of(self.client, name).await?,
        };
        Ok(self.common.insert(common))
    }
}

async fn delete(client: &dyn Client, name: &ConsumerName) -> Outcome {
    // The group first: while it has members its cursors are not touched.
    let was_group = match consumer::disband(client, name).await {
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        disbanded => {
            disbanded?;
            true
        }
    };
    if client.delete_cursors(name).await? == 0 && !was_group {
        let message = format!("no consumer {:?} has a cursor", name.as_str());
        return Err(Error::new(ErrorKind::NotFound, message).into());
    }
    Ok(())
}

fn place(text: &str) -> Result<Place, String> {
    match text {
        "beginning" => Ok(Place::Beginning),
        "head" => Ok(Place::Head),
        id => {
            let id = id
                .parse()
                .map_err(|_| "give the id of an event, `beginning` or `head`")?;
            EventId::new(id).map(Place::After).map_err(|error| error.to_string())
        }
    }
}
