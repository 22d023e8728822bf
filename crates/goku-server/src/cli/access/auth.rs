//! `goku auth`.

use clap::{Args, Subcommand};
use goku::access::{self, AccessName, Role, SettingValue, Token, TokenRecord};
use goku::{Admin, ConfigureRequest, Engine, ErrorKind};
use serde_json::json;

use crate::cli::connection::Connection;
use crate::configuration::secret;
use crate::exit::{Failure, Outcome};
use crate::output::Output;

/// The role of administrators.
const ADMIN: &str = "admin";

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Auth {
    /// Make a token of an administrator with the credentials of the database, and write it
    ///
    /// Whoever may open the store may do this, again whenever all such tokens are lost. A SQLite file must not be in use. The
    /// token is shown once: keep it where secrets are kept.
    Init(Init),
    /// Make a token that no store knows yet, and write it
    ///
    /// In a file that others cannot read it is what `auth.bootstrap_token_file` of `goku serve` takes: the first
    /// administrator of a store that has none. No server is asked.
    Token,
    /// Ask for rights: from now on callers may do only what they have a right to, at every server on the store
    ///
    /// Refused unless the call itself has the credentials of an administrator.
    Enable,
    /// Ask for no rights any more: everybody who reaches a server may do everything
    Disable,
    /// Show whether rights are asked for
    Status,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Init {
    #[command(flatten)]
    store: Store,

    /// Ask callers for rights from then on, as `goku auth enable` does
    #[arg(long)]
    enable: bool,

    /// The identity of the administrator
    #[arg(long, value_name = "NAME", default_value = ADMIN)]
    identity: AccessName,
}

/// Where the store is.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Store {
    /// The store; where the URL holds a password, a file is the place for it
    #[arg(long, env = "GOKU_STORE", hide_env_values = true, value_name = "URL")]
    store: Option<String>,

    /// A file that holds the URL of the store, and that others cannot read
    #[arg(long, env = "GOKU_STORE_FILE", value_name = "FILE")]
    store_file: Option<String>,
}

impl Store {
    fn url(self) -> Result<String, Failure> {
        let url = match self.store_file {
            Some(file) => secret::read(&file).map_err(Failure::Usage)?,
            // The group asks for one of them.
            None => self.store.unwrap_or_default(),
        };
        Engine::check_url(&url).map_err(|error| Failure::Usage(error.message().to_owned()))?;
        Ok(url)
    }
}

impl Auth {
    /// Whether the command calls servers.
    pub(in crate::cli) fn calls_servers(&self) -> bool {
        !matches!(self, Auth::Init(_) | Auth::Token)
    }

    pub(in crate::cli) async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        match self {
            Auth::Init(init) => init.run(output).await,
            Auth::Token => {
                let token = Token::random()?;
                Ok(output.sentence(token.reveal(), &json!({ "token": token.reveal() }))?)
            }
            Auth::Enable => change(connection, output, true).await,
            Auth::Disable => change(connection, output, false).await,
            Auth::Status => show(connection, output).await,
        }
    }
}

impl Init {
    async fn run(self, output: &mut Output) -> Outcome {
        let engine = Engine::open(&self.store.url()?).await?;
        let made = make_administrator(&engine, self.identity, self.enable).await;
        engine.close().await;
        let (token, id) = made?;
        Ok(output.token(&token, &id)?)
    }
}

async fn make_administrator(engine: &Engine, identity: AccessName, enable: bool) -> goku::Result<(Token, AccessName)> {
    let role = AccessName::new(ADMIN)?;
    engine.configure(Role::everything().to_request(&role)?).await?;
    let token = Token::random()?;
    let record = TokenRecord {
        roles: vec![role],
        ..TokenRecord::new(&token, identity)
    };
    let id = record.default_id()?;
    engine.configure(record.to_request(&id)?).await?;
    if enable {
        engine.configure(access::Auth { enabled: true }.to_request()?).await?;
    }
    Ok((token, id))
}

async fn change(connection: &Connection, output: &mut Output, enabled: bool) -> Outcome {
    let request: ConfigureRequest = access::Auth { enabled }.to_request()?;
    connection.client()?.configure(request).await?;
    tell(output, enabled)
}

async fn show(connection: &Connection, output: &mut Output) -> Outcome {
    let enabled = match connection.client()?.get_setting(&access::Auth::name()?).await {
        Ok(setting) => access::Auth::of(&setting)?.enabled,
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => return Err(error.into()),
    };
    tell(output, enabled)
}

fn tell(output: &mut Output, enabled: bool) -> Outcome {
    let text = match enabled {
        true => "rights are asked for",
        false => "no rights are asked for: everybody who reaches a server may do everything",
    };
    Ok(output.sentence(text, &json!({ "enabled": enabled }))?)
}
