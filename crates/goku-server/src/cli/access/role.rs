//! `goku role`.

use std::str::FromStr;

use clap::{Args, Subcommand};
use goku::Admin;
use goku::access::{self, AccessName, Grant, Scope, SettingValue, Verb};
use serde_json::json;

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

/// A grant as it is given on the command line.
#[derive(Clone, Debug)]
struct GrantArgument(Grant);

impl FromStr for GrantArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<GrantArgument, String> {
        let end = text.find([':', '=']).unwrap_or(text.len());
        let (verbs, rest) = text.split_at(end);
        let verbs: Result<Vec<Verb>, _> = verbs.split(',').map(|verb| verb.trim().parse()).collect();
        let verbs = verbs.map_err(|error: goku::Error| error.to_string())?;
        let has_scope = verbs.iter().any(|verb| verb.has_scope());
        let scope = match rest.as_bytes() {
            [] if has_scope => {
                return Err(format!(
                    "it says not for which keys: {text}:PREFIX, or {text}: for every key"
                ));
            }
            [] => Scope::ALL,
            [_, rest @ ..] if !has_scope && !rest.is_empty() => {
                return Err(format!("{} is for the whole store, without keys", &text[..end]));
            }
            [b':', prefix @ ..] => Scope::Prefix(prefix.to_vec()),
            [_, key @ ..] => Scope::Key(key.to_vec()),
        };
        Ok(GrantArgument(Grant { verbs, scope }))
    }
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
        // Verbs without keys stand apart from those with keys.
        let grants = self.grants.into_iter().flat_map(|GrantArgument(grant)| {
            let (with, without): (Vec<_>, Vec<_>) = grant.verbs.iter().partition(|verb| verb.has_scope());
            let with = (with, grant.scope.clone());
            [with, (without, Scope::ALL)].map(|(verbs, scope)| Grant { verbs, scope })
        });
        let role = access::Role {
            grants: grants.filter(|grant| !grant.verbs.is_empty()).collect(),
        };
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
    let grants: Vec<_> = role.grants.iter().map(text_of).collect();
    let json = json!({ "role": name.as_str(), "grants": role.grants });
    Ok(output.record(&["ROLE", "GRANTS"], &[name.as_str(), &grants.join(" ")], &json)?)
}

/// A grant as it is given on the command line.
fn text_of(grant: &Grant) -> String {
    let verbs: Vec<_> = grant.verbs.iter().map(|verb| verb.name()).collect();
    let verbs = verbs.join(",");
    match &grant.scope {
        _ if !grant.verbs.iter().any(|verb| verb.has_scope()) => verbs,
        Scope::Prefix(prefix) => format!("{verbs}:{}", prefix.escape_ascii()),
        Scope::Key(key) => format!("{verbs}={}", key.escape_ascii()),
    }
}
