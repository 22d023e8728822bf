//! The contexts that a user keeps: by their names the servers that client commands call, and what they show them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use goku::secret_file;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::credentials;
use crate::configuration::Problem;
use crate::configuration::toml_source::{nearest, position};
use crate::exit::Failure;

/// Bytes of the file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Bytes of a name.
const NAME_BYTES_MAX: usize = 128;

/// The file, in the folder of the user's configuration.
const FILE: &str = "goku/contexts.toml";

/// The argument that names the servers.
pub(super) const ENDPOINT: &str = "endpoint";

/// The argument that names a context.
const CONTEXT: &str = "context";

/// All contexts of a user. They hold no token: only where one is.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Contexts {
    /// The one that counts where none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) current: Option<String>,
    #[serde(default, rename = "context")]
    pub(super) by_name: BTreeMap<String, Context>,
}

/// Servers, and what client commands show them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Context {
    pub(super) endpoint: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ca: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cert: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token_file: Option<PathBuf>,
}

impl Contexts {
    /// The contexts of whoever runs this process; none where there is no file of them.
    pub(super) fn read() -> Result<Contexts, Failure> {
        match path() {
            Some(path) => Contexts::read_from(&path),
            None => Ok(Contexts::default()),
        }
    }

    fn read_from(path: &Path) -> Result<Contexts, Failure> {
        if matches!(fs::metadata(path), Err(error) if error.kind() == ErrorKind::NotFound) {
            return Ok(Contexts::default());
        }
        // Whoever may write it decides where tokens are sent.
        let bytes =
            secret_file::read(path, FILE_BYTES_MAX).map_err(|error| Failure::Usage(error.message().to_owned()))?;
        let shown = path.display();
        let text = String::from_utf8(bytes).map_err(|_| Failure::Usage(format!("{shown} is not UTF-8")))?;
        toml::from_str(&text).map_err(|error| {
            let (line, column) = position(&text, error.span().map_or(0, |span| span.start));
            let place = format!("{shown}:{line}:{column}");
            Failure::Config(vec![Problem::new(place, error.message().replace('\n', ", "))])
        })
    }

    /// Keeps them, in a file that is there whole at any moment, and that nobody else can read.
    pub(super) fn write(&self) -> Result<(), Failure> {
        let path = path().ok_or_else(|| {
            let message = "there is no place for contexts: neither XDG_CONFIG_HOME nor HOME is set";
            Failure::Usage(message.to_owned())
        })?;
        self.write_to(&path)
    }

    fn write_to(&self, path: &Path) -> Result<(), Failure> {
        let cannot = |why: String| Failure::Usage(format!("cannot write {}: {why}", path.display()));
        let text = toml::to_string(self).map_err(|error| cannot(error.to_string()))?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(cannot(format!("it would have more than {FILE_BYTES_MAX} bytes")));
        }
        let folder = path.parent().unwrap_or(Path::new("."));
        let write = || {
            fs::create_dir_all(folder)?;
            // Made with rights for its owner alone.
            let mut file = NamedTempFile::new_in(folder)?;
            file.write_all(text.as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(path).map_err(|error| error.error)
        };
        write().map(drop).map_err(|error| cannot(error.to_string()))
    }

    /// The context of a name.
    pub(super) fn get(&self, name: &str) -> Result<&Context, Failure> {
        self.by_name.get(name).ok_or_else(|| {
            let meant = match nearest(name, self.by_name.keys().cloned()) {
                Some(known) => format!("did you mean `{known}`?"),
                None => "see `goku context list`".to_owned(),
            };
            Failure::Usage(format!("there is no context `{name}`: {meant}"))
        })
    }
}

impl Context {
    /// The context that counts for a command line. One that names servers, and no context, has none: what belongs to the
    /// servers of a context is shown to no others.
    pub(super) fn of(matches: &ArgMatches) -> Result<Option<Context>, Failure> {
        let named = matches.get_one::<String>(CONTEXT);
        if named.is_none() && is_given(matches, ENDPOINT) {
            return Ok(None);
        }
        let contexts = Contexts::read()?;
        let name = named.or(contexts.current.as_ref());
        name.map(|name| contexts.get(name).cloned()).transpose()
    }

    /// A command line in which what the context says counts where `matches` have no flag and no variable for it.
    pub(super) fn with_defaults(&self, command: Command, matches: &ArgMatches) -> Command {
        let mut values: Vec<(&str, Vec<String>)> = Vec::new();
        values.push((ENDPOINT, self.endpoint.clone()));
        let file = |path: &Option<PathBuf>| -> Vec<String> {
            path.iter().map(|path| path.to_string_lossy().into_owned()).collect()
        };
        values.push((credentials::CA, file(&self.ca)));
        // Certificate and key belong together.
        if !is_given(matches, credentials::CERT) && !is_given(matches, credentials::KEY) {
            values.push((credentials::CERT, file(&self.cert)));
            values.push((credentials::KEY, file(&self.key)));
        }
        if !credentials::has_token_variable() {
            values.push((credentials::TOKEN_FILE, file(&self.token_file)));
        }
        let values = values.into_iter().filter(|(_, values)| !values.is_empty());
        values.fold(command, |command, (id, values)| {
            command.mut_arg(id, |arg| arg.default_values(values))
        })
    }
}

/// Checks a name that a context is to have.
pub(super) fn check_name(name: &str) -> Result<String, String> {
    let is_name = !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && !name.contains(|c: char| c.is_control() || c.is_whitespace());
    match is_name {
        true => Ok(name.to_owned()),
        false => Err(format!(
            "the name of a context has 1 to {NAME_BYTES_MAX} bytes, without white space"
        )),
    }
}

/// Whether a flag or a variable gives an argument.
fn is_given(matches: &ArgMatches, id: &str) -> bool {
    let source = matches.value_source(id);
    matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
}

/// The file, as [the specification](https://specifications.freedesktop.org/basedir-spec/latest/) has it; `None` where the
/// user has no place for configuration.
fn path() -> Option<PathBuf> {
    let folder = |variable| std::env::var_os(variable).map(PathBuf::from);
    let folder = folder("XDG_CONFIG_HOME")
        .filter(|folder| folder.is_absolute())
        .or_else(|| Some(folder("HOME").filter(|home| home.is_absolute())?.join(".config")));
    Some(folder?.join(FILE))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn contexts_are_read_as_they_were_written_and_nobody_else_can_read_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/goku/contexts.toml");
        assert_eq!(Contexts::read_from(&path).unwrap(), Contexts::default());
        let context = Context {
            endpoint: vec!["https://a:1".to_owned(), "https://b:2".to_owned()],
            token_file: Some("/token \"file\"".into()),
            ..Context::default()
        };
        let contexts = Contexts {
            current: Some("ü.x".to_owned()),
            by_name: [("ü.x".to_owned(), context)].into(),
        };
        contexts.write_to(&path).unwrap();
        assert_eq!(Contexts::read_from(&path).unwrap(), contexts);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        Contexts::default().write_to(&path).unwrap();
        assert_eq!(Contexts::read_from(&path).unwrap(), Contexts::default());
        let left = fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(left, 1, "a temporary file is left");
    }

    #[test]
    fn a_file_that_is_wrong_or_that_others_can_change_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("contexts.toml");
        let refused = |text: &str, mode| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let failure = Contexts::read_from(&path).unwrap_err();
            failure.messages().unwrap().1.join("\n")
        };
        let told = refused("current = 'a'\n[context.a]\nendpoint = []\ntoken = 'x'", 0o600);
        assert!(told.contains("contexts.toml:4:1: unknown field `token`"), "{told}");
        assert!(refused("", 0o602).contains("chmod o="));
    }
}
