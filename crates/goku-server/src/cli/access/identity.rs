//! `goku identity`.

use clap::{Args, Subcommand};
use goku::Admin;
use goku::access::{self, AccessName, SettingValue};
use serde_json::json;

use super::{all, remove};
use crate::cli::connection::Connection;
use crate::exit::Outcome;
use crate::output::Output;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Identity {
    /// Say which roles an identity has, whatever it shows to prove who it is
    ///
    /// The identity `anonymous` is that of callers who show nothing.
    Set(Set),
    /// List the identities with their roles
    List,
    /// Take all roles from an identity
    Remove(Named),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Set {
    /// The identity: a name that tokens are made for, or that a certificate has
    name: AccessName,

    /// A role; may be given several times
    #[arg(long = "role", value_name = "NAME", required = true)]
    roles: Vec<AccessName>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Named {
    /// The identity
    name: AccessName,
}

impl Identity {
    pub(in crate::cli) async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        match self {
            Identity::Set(set) => {
                let identity = access::Identity { roles: set.roles };
                connection.client()?.configure(identity.to_request(&set.name)?).await?;
                show(output, &set.name, &identity)
            }
            Identity::List => {
                for setting in all::<access::Identity>(&connection.client()?).await? {
                    let (name, identity) = access::Identity::of(&setting)?;
                    show(output, &name, &identity)?;
                }
                Ok(())
            }
            Identity::Remove(named) => {
                remove::<access::Identity>(&connection.client()?, &named.name).await?;
                let json = json!({ "removed": named.name.as_str() });
                Ok(output.sentence(&format!("removed {}", named.name), &json)?)
            }
        }
    }
}

fn show(output: &mut Output, name: &AccessName, identity: &access::Identity) -> Outcome {
    let roles: Vec<_> = identity.roles.iter().map(AccessName::as_str).collect();
    let json = json!({ "identity": name.as_str(), "roles": roles });
    Ok(output.record(&["IDENTITY", "ROLES"], &[name.as_str(), &roles.join(",")], &json)?)
}
