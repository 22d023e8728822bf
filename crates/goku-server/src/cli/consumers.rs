//! `goku consumers`.

use clap::{Args, Subcommand};
use goku::consumer::{self, Lag, Place, dead_letters};
use goku::{Client, ConsumerName, Cursor, CursorsRequest, ErrorKind, EventId};

use crate::cli::Connection;
use crate::cli::consume::consumer_name;
use crate::exit::Outcome;
use crate::output::Output;

/// List consumers with their positions, how far they are behind, and their dead letters; reset them
///
/// A line has name, partition, position, the events after it with the age of the first of them, dead letters, and when the
/// cursor was moved, separated by tabs.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Consumers {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Move a consumer's cursors, forth or back; one that runs goes on from there within some seconds
    Reset(Reset),
    /// List a consumer's dead letters
    Dead(Named),
    /// Forget a consumer's cursors; its dead letters stay
    Delete(Named),
}

#[derive(Debug, Args)]
struct Reset {
    #[command(flatten)]
    consumer: Named,

    /// Where to: after the event ID, to the beginning or to the head
    #[arg(long, value_name = "ID|beginning|head", value_parser = place)]
    to: Place,
}

#[derive(Debug, Args)]
struct Named {
    /// The consumer's name
    #[arg(value_parser = consumer_name)]
    name: ConsumerName,
}

/// What is told of a cursor.
pub(crate) struct Standing {
    pub(crate) cursor: Cursor,
    /// None where what follows it is not retained, or was lost.
    pub(crate) lag: Option<Lag>,
    pub(crate) dead: usize,
}

impl Consumers {
    pub(super) async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let client = connection.client()?;
        match self.command {
            None => list(&client, output).await,
            Some(Command::Reset(reset)) => {
                for cursor in consumer::reset(&client, &reset.consumer.name, reset.to).await? {
                    let standing = standing(&client, cursor).await?;
                    output.consumer(&standing)?;
                }
                Ok(())
            }
            Some(Command::Dead(named)) => {
                for letter in dead_letters(&client, &named.name).await? {
                    output.dead_letter(&letter)?;
                }
                Ok(())
            }
            Some(Command::Delete(named)) => {
                if client.delete_cursors(&named.name).await? == 0 {
                    let message = format!("no consumer {:?} has a cursor", named.name.as_str());
                    return Err(goku::Error::new(ErrorKind::NotFound, message).into());
                }
                Ok(())
            }
        }
    }
}

async fn list(client: &dyn Client, output: &mut Output) -> Outcome {
    let mut request = CursorsRequest::default();
    loop {
        let page = client.list_cursors(request.clone()).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        request.after = Some(last.id.clone());
        for cursor in page {
            let standing = standing(client, cursor).await?;
            output.consumer(&standing)?;
        }
    }
}

async fn standing(client: &dyn Client, cursor: Cursor) -> goku::Result<Standing> {
    let lag = match consumer::lag(client, &cursor).await {
        Ok(lag) => Some(lag),
        Err(error) if matches!(error.kind(), ErrorKind::Compacted { .. } | ErrorKind::PositionLost) => None,
        Err(error) => return Err(error),
    };
    let dead = dead_letters(client, &cursor.id.consumer).await?.len();
    Ok(Standing { cursor, lag, dead })
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
