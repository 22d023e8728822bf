//! `goku context`.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::connection::Connection;
use super::contexts::{Context as Kept, Contexts, check_name};
use crate::exit::{Failure, Outcome};
use crate::output::Output;

#[derive(Debug, Subcommand)]
pub(super) enum Context {
    /// Keep servers and credentials by a name: what --endpoint, --ca, --cert, --key and --token-file say, or their variables
    ///
    /// A token is not kept, only the path of its file. The context counts for commands with --context NAME, and once `goku
    /// context use NAME` has made it the current one.
    Add {
        /// The name
        #[arg(value_parser = check_name)]
        name: String,
    },
    /// List the contexts, the current one with a star
    List,
    /// Make a context the current one: it counts for commands that name neither a context nor servers
    Use {
        /// The name
        name: String,
    },
    /// Show a context: without a name the one that counts
    Show {
        /// The name
        name: Option<String>,
    },
    /// Remove a context; a file that it names stays
    Remove {
        /// The name
        name: String,
    },
}

impl Context {
    /// Runs the command. `named` is the context that the command line names.
    pub(super) fn run(self, named: Option<String>, connection: &Connection, output: &mut Output) -> Outcome {
        let mut contexts = Contexts::read()?;
        match self {
            Context::Add { name } => {
                if contexts.by_name.contains_key(&name) {
                    let message = format!("there is a context `{name}` already: remove it first");
                    return Err(Failure::Usage(message));
                }
                // Refuses what no command could use.
                connection.silent_client()?;
                contexts.by_name.insert(name.clone(), kept(connection)?);
                contexts.write()?;
                let text = format!("added {name}: `goku context use {name}` makes it the current one");
                Ok(output.sentence(&text, &json!({ "added": name }))?)
            }
            Context::List => {
                for (name, context) in &contexts.by_name {
                    show(output, name, context, contexts.current.as_ref() == Some(name))?;
                }
                Ok(())
            }
            Context::Use { name } => {
                contexts.get(&name)?;
                contexts.current = Some(name.clone());
                contexts.write()?;
                Ok(output.sentence(&format!("{name} is the current context"), &json!({ "current": name }))?)
            }
            Context::Show { name } => {
                let Some(name) = name.or(named).or_else(|| contexts.current.clone()) else {
                    let text = "no context counts: none is the current one";
                    return Ok(output.sentence(text, &json!({ "name": null }))?);
                };
                show(
                    output,
                    &name,
                    contexts.get(&name)?,
                    contexts.current.as_ref() == Some(&name),
                )
            }
            Context::Remove { name } => {
                contexts.get(&name)?;
                contexts.by_name.remove(&name);
                contexts.current = contexts.current.filter(|current| *current != name);
                contexts.write()?;
                Ok(output.sentence(&format!("removed {name}"), &json!({ "removed": name }))?)
            }
        }
    }
}

/// What is kept of a connection. Paths are those that they are now, wherever commands run later.
fn kept(connection: &Connection) -> Result<Kept, Failure> {
    let absolute = |path: Option<&PathBuf>| {
        let path = path.map(std::path::absolute).transpose();
        path.map_err(|error| Failure::Usage(format!("a path cannot be kept: {error}")))
    };
    let credentials = &connection.credentials;
    Ok(Kept {
        endpoint: connection.endpoints.clone(),
        ca: absolute(credentials.ca.as_ref())?,
        cert: absolute(credentials.cert.as_ref())?,
        key: absolute(credentials.key.as_ref())?,
        token_file: absolute(credentials.token_file.as_ref())?,
    })
}

fn show(output: &mut Output, name: &str, context: &Kept, is_current: bool) -> Outcome {
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let (ca, cert, key) = (path(&context.ca), path(&context.cert), path(&context.key));
    let token_file = path(&context.token_file);
    let json = json!({
        "name": name,
        "current": is_current,
        "endpoint": context.endpoint,
        "ca": ca,
        "cert": cert,
        "key": key,
        "token_file": token_file,
    });
    let names = ["CURRENT", "NAME", "ENDPOINT", "CA", "CERT", "KEY", "TOKEN FILE"];
    let cells = [
        if is_current { "*" } else { "" },
        name,
        &context.endpoint.join(","),
        &ca.unwrap_or_default(),
        &cert.unwrap_or_default(),
        &key.unwrap_or_default(),
        &token_file.unwrap_or_default(),
    ];
    Ok(output.record(&names, &cells, &json)?)
}
