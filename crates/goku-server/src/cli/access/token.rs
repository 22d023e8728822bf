//! `goku token`.

use std::collections::HashMap;
use std::time::Duration;

use clap::{Args, Subcommand};
use goku::TokenHash;
use goku::access::{self, AccessName, SettingValue, TokenRecord};
use goku::{Admin, Clock, ConfigureRequest, Error, ErrorKind, SettingCondition, SystemClock, Timestamp};
use serde_json::json;

use super::{all, named, remove};
use crate::cli::connection::Connection;
use crate::exit::{Failure, Outcome};
use crate::output::Output;
use crate::time;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Token {
    /// Make a token for an identity, and write it
    ///
    /// It is shown once: the store keeps only its SHA-256.
    Create(Create),
    /// List the tokens, without their secrets, with the hour of their last use
    List,
    /// Take tokens away: the next call with one is refused, and its streams end
    Revoke(Revoke),
    /// Make another token with the same identity and roles, and write it; the old one is refused from then on
    Rotate(Rotate),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Create {
    /// Whose token it is: the name that events tell as their actor
    identity: AccessName,

    /// A role that its holder has beside those of the identity; may be given several times
    #[arg(long, value_name = "NAME")]
    role: Vec<AccessName>,

    /// The time after which it is refused; without it never
    #[arg(long, value_name = "DURATION", value_parser = time::parse_duration)]
    ttl: Option<Duration>,

    /// The name by which it is listed and revoked; made from the token by default
    #[arg(long, value_name = "NAME")]
    id: Option<AccessName>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Revoke {
    /// The ids, as `goku token list` shows them
    #[arg(required = true, value_name = "ID")]
    ids: Vec<AccessName>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Rotate {
    /// The id, as `goku token list` shows it
    id: AccessName,

    /// For how long the old token is taken, too
    #[arg(long, value_name = "DURATION", value_parser = time::parse_duration)]
    keep: Option<Duration>,
}

impl Token {
    pub(in crate::cli) async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        match self {
            Token::Create(create) => create.run(connection, output).await,
            Token::List => list(connection, output).await,
            Token::Revoke(revoke) => revoke.run(connection, output).await,
            Token::Rotate(rotate) => rotate.run(connection, output).await,
        }
    }
}

impl Create {
    async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let token = access::Token::random()?;
        let record = TokenRecord {
            roles: self.role,
            expires_at_ms: self.ttl.map(|ttl| in_time(ttl).as_millis()),
            ..TokenRecord::new(&token, self.identity)
        };
        let id = self.id.map_or_else(|| record.default_id(), Ok)?;
        let request = record.to_request(&id)?.condition(SettingCondition::Absent);
        let made = connection.client()?.configure(request).await;
        made.map_err(|error| match error.kind() {
            ErrorKind::ConditionFailed => Failure::Usage(format!("there is a token {id} already: choose another --id")),
            _ => Failure::from(error),
        })?;
        Ok(output.token(&token, &id)?)
    }
}

async fn list(connection: &Connection, output: &mut Output) -> Outcome {
    let client = connection.client()?;
    let used = last_uses(&client).await?;
    for setting in all::<TokenRecord>(&client).await? {
        let (id, record) = TokenRecord::of(&setting)?;
        let roles: Vec<_> = record.roles.iter().map(AccessName::as_str).collect();
        let expires_at = record.expires_at_ms.map(Timestamp::from_millis).transpose()?;
        let made_at = time::show(setting.changed_at);
        let expires_at = expires_at.map(time::show);
        let last_used = used.get(&record.sha256).copied().map(time::show);
        let cells = [
            id.as_str(),
            record.identity.as_str(),
            &roles.join(","),
            &made_at,
            expires_at.as_deref().unwrap_or_default(),
            last_used.as_deref().unwrap_or_default(),
        ];
        let names = ["ID", "IDENTITY", "ROLES", "MADE", "EXPIRES", "LAST USED"];
        let json = json!({
            "id": id.as_str(),
            "identity": record.identity.as_str(),
            "roles": roles,
            "made_at": made_at,
            "expires_at": expires_at,
            "last_used_at": last_used,
        });
        output.record(&names, &cells, &json)?;
    }
    Ok(())
}

/// The last uses of all tokens. A server of an earlier version tells none.
async fn last_uses(admin: &impl Admin) -> goku::Result<HashMap<TokenHash, Timestamp>> {
    let (mut found, mut after) = (HashMap::new(), None);
    loop {
        let page = match admin.token_uses(after).await {
            Err(error) if error.kind() == ErrorKind::Unsupported => return Ok(found),
            page => page?,
        };
        after = page.uses.last().map(|last| last.sha256);
        found.extend(page.uses.iter().map(|of| (of.sha256, of.used_at)));
        if !page.more {
            return Ok(found);
        }
    }
}

impl Revoke {
    async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let client = connection.client()?;
        for id in self.ids {
            remove::<TokenRecord>(&client, &id).await?;
            output.sentence(&format!("revoked {id}"), &json!({ "revoked": id.as_str() }))?;
        }
        Ok(())
    }
}

impl Rotate {
    async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let client = connection.client()?;
        let name = TokenRecord::setting_name(&self.id)?;
        let setting = client
            .get_setting(&name)
            .await
            .map_err(|error| named::<TokenRecord>(error, &self.id))?;
        let (_, old) = TokenRecord::of(&setting)?;
        let token = access::Token::random()?;
        let new = TokenRecord {
            sha256: token.hash(),
            ..old.clone()
        };
        let id = new.default_id()?;
        let made = new.to_request(&id)?.condition(SettingCondition::Absent);
        let goes = match self.keep {
            None => ConfigureRequest::remove(name),
            Some(keep) => TokenRecord {
                expires_at_ms: Some(in_time(keep).as_millis()),
                ..old
            }
            .to_request(&self.id)?,
        };
        let goes = goes.condition(SettingCondition::Rev(setting.rev));
        // In one change: there is no moment at which neither is taken.
        let Err(error) = client.configure_all(vec![made, goes]).await else {
            return Ok(output.token(&token, &id)?);
        };
        let explained = match error.kind() {
            ErrorKind::OutcomeUnknown => {
                // It may be the only one that is taken from now on.
                output.token(&token, &id)?;
                output.flush()?;
                format!(
                    "whether token {} was replaced by {id} is not known: keep both until `goku token list` tells: {}",
                    self.id,
                    error.message()
                )
            }
            ErrorKind::ConditionFailed => format!(
                "token {} was changed meanwhile and is not replaced, run it again: {}",
                self.id,
                error.message()
            ),
            _ => return Err(error.into()),
        };
        Err(Error::new(error.kind(), explained).into())
    }
}

fn in_time(ttl: Duration) -> Timestamp {
    SystemClock.now().saturating_add(ttl)
}
