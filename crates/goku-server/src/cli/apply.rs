//! `goku apply`.

mod declaration;
mod difference;

use std::io::Read;
use std::path::PathBuf;

use clap::Args;
use goku::access::{self, AccessName, SettingValue, TokenRecord};
use goku::{Admin, Clock, ErrorKind, Setting, SystemClock};
use serde_json::json;

use self::declaration::Declaration;
use self::difference::{Difference, differences};
use super::access::all;
use super::connection::Connection;
use crate::configuration::Problem;
use crate::exit::{self, Failure, Outcome};
use crate::output::Output;

/// Bytes of a file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Have the store hold the roles and identities that a file declares
///
/// What differs is written, `+` for what is made, `~` for what is changed and `-` for what is removed, and done as one change:
/// all of it or nothing, and nothing where somebody else has changed one of these meanwhile. What the store holds and the file
/// does not name stays, unless --prune is given. Tokens are never declared, nor is whether rights are asked for.
#[derive(Debug, Args)]
#[command(after_help = "\
The file is TOML. Grants are written as for `goku role set`; one whose key is no
text is a table, { verbs = [\"read\"], prefix_base64 = \"/w==\" }.

  [role.reader]
  grants = [\"read,watch:app/\", \"write=app/leader\", \"observe\"]

  [identity.ci]
  roles = [\"reader\"]

With --dry-run the exit code is 0 where nothing differs, and 11 where something does.")]
pub(super) struct Apply {
    /// The file; `-` reads standard input
    file: PathBuf,

    /// Write what differs, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// Remove the roles and identities that the file does not name
    #[arg(long)]
    prune: bool,
}

/// The settings that a file can declare, as the store holds them.
struct Stored {
    roles: Vec<Setting>,
    identities: Vec<Setting>,
}

impl Apply {
    pub(super) async fn run(self, connection: &Connection, output: &mut Output) -> Outcome {
        let (name, text) = (self.name(), self.read()?);
        let (declaration, source) = Declaration::read(&name, &text).map_err(Failure::Config)?;
        let client = connection.client()?;
        let stored = Stored::read(&client).await?;
        let roles = declaration.roles_after(&stored.roles, self.prune);
        source
            .check(declaration.unknown_roles(&roles))
            .map_err(Failure::Config)?;
        let stored_settings = stored.roles.iter().chain(&stored.identities);
        let differences = differences(&declaration, stored_settings, self.prune).map_err(Failure::from)?;
        for difference in &differences {
            let cells = difference.cells();
            let cells = cells.each_ref().map(String::as_str);
            output.record(&["CHANGE", "BEFORE", "AFTER"], &cells, &difference.json())?;
        }
        check_administrators(&client, &stored, &differences).await?;
        if self.dry_run {
            output.flush()?;
            return match differences.is_empty() {
                true => Ok(()),
                false => Err(Failure::Found(exit::DIFFERS)),
            };
        }
        apply(&client, &differences).await?;
        let text = match differences.len() {
            0 => "nothing differs".to_owned(),
            1 => "applied 1 change".to_owned(),
            number => format!("applied {number} changes"),
        };
        Ok(output.sentence(&text, &json!({ "applied": differences.len() }))?)
    }

    fn read(&self) -> Result<String, Failure> {
        let mut text = String::new();
        // One byte over the limit is enough to be refused.
        let limit = FILE_BYTES_MAX + 1;
        let read = match self.path() {
            None => std::io::stdin().lock().take(limit).read_to_string(&mut text),
            Some(path) => std::fs::File::open(path).and_then(|file| file.take(limit).read_to_string(&mut text)),
        };
        let problem = |message: String| Failure::Config(vec![Problem::new(self.name(), message)]);
        let read = read.map_err(|error| problem(format!("cannot be read: {error}")))?;
        if read as u64 > FILE_BYTES_MAX {
            return Err(problem(format!("has more than {FILE_BYTES_MAX} bytes")));
        }
        Ok(text)
    }

    fn path(&self) -> Option<&PathBuf> {
        Some(&self.file).filter(|path| path.as_os_str() != "-")
    }

    fn name(&self) -> String {
        self.path()
            .map_or_else(|| "standard input".to_owned(), |path| path.display().to_string())
    }
}

impl Stored {
    async fn read(admin: &impl Admin) -> goku::Result<Stored> {
        Ok(Stored {
            roles: all::<access::Role>(admin).await?,
            identities: all::<access::Identity>(admin).await?,
        })
    }
}

/// Refuses changes after which there would be no administrator any more, who could take them back.
async fn check_administrators(admin: &impl Admin, stored: &Stored, differences: &[Difference]) -> Outcome {
    let tokens = all::<TokenRecord>(admin).await?;
    let now = SystemClock.now();
    let declared = stored.roles.iter().chain(&stored.identities);
    let before: Vec<_> = declared.chain(&tokens).cloned().collect();
    let mut after = before.clone();
    after.retain(|setting| differences.iter().all(|difference| *difference.name() != setting.name));
    after.extend(differences.iter().filter_map(Difference::setting));
    if access::has_administrator(&before, now) && !access::has_administrator(&after, now) {
        let message = "after this nobody would be an administrator any more: declare the role that administrators have, or \
                       leave out --prune; nothing was changed";
        return Err(Failure::Usage(message.to_owned()));
    }
    Ok(())
}

async fn apply(admin: &impl Admin, differences: &[Difference]) -> Outcome {
    if differences.is_empty() {
        return Ok(());
    }
    let requests = differences.iter().map(Difference::request).collect();
    let applied = admin.configure_all(requests).await;
    applied.map(drop).map_err(|error| match error.kind() {
        ErrorKind::ConditionFailed => {
            let message = format!(
                "somebody else has changed this meanwhile, run it again: {}",
                error.message()
            );
            goku::Error::new(ErrorKind::ConditionFailed, message).into()
        }
        _ => error.into(),
    })
}

/// The name that a setting of this kind is declared by; `None` for one of another kind.
fn declared_name<V: SettingValue>(setting: &Setting) -> Option<AccessName> {
    let name = setting
        .name
        .as_bytes()
        .strip_prefix(V::KIND.as_bytes())?
        .strip_prefix(b"/")?;
    AccessName::new(String::from_utf8_lossy(name)).ok()
}
