//! `goku role`.

use clap::{Args, Subcommand};
use goku::Admin;
use goku::access::{self, AccessName, SettingValue};
use serde_json::json;

use super::grant::GrantArgument;
use super::{all, remove};
use crate::cli::connection::Connection;
use crate::exit::Outcome;
use crate::output::Output;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Role {
    /// Say what those may do who have a role
    ///
    /// The role has exactly these grants from then on; whoever has it has them with the next call.
    #[command(after_help = "\
Grants:
  VERBS:PREFIX   with all keys that begin with PREFIX; with every key where it is empty
  VERBS=KEY      with this key alone
  VERBS          for verbs without keys

Verbs, several with commas:
  read      get, list, history, and compare in a transaction
  watch     watch
  write     set and delete
  lease     read, renew and end leases all of whose keys are among these; `lease:` is
            for every lease, and lists them
  consume   run the consumers with such names: their cursors and what is kept for them
  observe   status, and the cursors of all consumers
  admin     settings, and so all rights

  goku role set deployer --grant read,watch:app/ --grant write=app/leader --grant observe")]
    Set(Set),
    /// List the roles with their grants
    List,
    /// Remove a role: whoever has it may do no more by it
    Remove(Named),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Set {
    /// The role
    name: AccessName,

    /// What may be done, and with what; may be given several times
    #[arg(long = "grant", value_name = "VERBS:PREFIX", required = true)]
    grants: Vec<GrantArgument>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Named {
    /// The role
    name: AccessName,
}

impl Role {
    pub(in crate::cli) async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        match self {
            Role::Set(set) => set.run(connection, output).await,
            Role::List => list(connection, output).await,
            Role::Remove(named) => {
                remove::<access::Role>(&connection.client()?, &named.name).await?;
                let json = json!({ "removed": named.name.as_str() });
                Ok(output.sentence(&format!("removed {}", named.name), &json)?)
            }
        }
    }
}

impl Set {
    async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let role = GrantArgument::role(self.grants);
        connection.client()?.configure(role.to_request(&self.name)?).await?;
        show(output, &self.name, &role)
    }
}

async fn list(connection: &Connection, output: &mut Output) -> Outcome {
    for setting in all::<access::Role>(&connection.client()?).await? {
        let (name, role) = access::Role::of(&setting)?;
        show(output, &name, &role)?;
    }
    Ok(())
}

fn show(output: &mut Output, name: &AccessName, role: &access::Role) -> Outcome {
    let json = json!({ "role": name.as_str(), "grants": role.grants });
    let grants = GrantArgument::show(role);
    Ok(output.record(&["ROLE", "GRANTS"], &[name.as_str(), &grants], &json)?)
}
