//! `goku status`.

use goku::Client;

use crate::cli::connection::Connection;
use crate::exit::Outcome;
use crate::output::Output;

pub(super) async fn run(connection: &Connection, output: &mut Output) -> Outcome {
    let status = connection.client()?.status().await?;
    Ok(output.status(&status)?)
}
