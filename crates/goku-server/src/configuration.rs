//! The options of a server, as flags, variables and a file give them.
//!
//! They are the arguments of `goku serve`: a new one is a variable and a key of the file without another line of code. Flags
//! count before variables, variables before the file, the file before defaults.

mod arguments;
#[cfg(test)]
mod documents;
mod effective;
mod file;
mod problem;
pub(crate) mod secret;
mod serve_option;
pub(crate) mod toml_source;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgMatches, Command};

pub(crate) use self::arguments::ServeOptions;
pub(crate) use self::effective::{Effective, Entry};
use self::file::File;
pub(crate) use self::problem::Problem;
pub(crate) use self::serve_option::Kind;

/// The argument that names the file.
const CONFIG: &str = "config";

/// A command line whose command has options, with the file that it names.
pub(crate) struct Loaded {
    pub(crate) matches: ArgMatches,
    pub(crate) effective: Effective,
}

/// Reads these arguments of the command line, and the file that they or a variable name. All that is wrong with the file is
/// told.
pub(crate) fn load(command: Command, arguments: &[OsString]) -> Result<Loaded, Vec<Problem>> {
    let parse = |command: Command| {
        let parsed = command.try_get_matches_from(arguments);
        parsed.map_err(|error| vec![Problem::new("the command line", error.to_string())])
    };
    let options = ServeOptions::command();
    let path = leaf(&parse(command.clone())?).get_one::<PathBuf>(CONFIG).cloned();
    let file = path.map(|path| File::read(&path, &options)).transpose()?;
    let command = match &file {
        Some(file) => with_defaults(command, file),
        None => command,
    };
    let matches = parse(command)?;
    let effective = Effective::new(&options, leaf(&matches), file.as_ref())?;
    Ok(Loaded { matches, effective })
}

/// The matches of the innermost command.
fn leaf(matches: &ArgMatches) -> &ArgMatches {
    match matches.subcommand() {
        Some((_, inner)) => leaf(inner),
        None => matches,
    }
}

/// A command line, in which what the file says is the default of each command that has options.
fn with_defaults(command: Command, file: &File) -> Command {
    let has_options = command.get_arguments().any(|arg| arg.get_id() == CONFIG);
    let command = if has_options {
        file.with_defaults(command)
    } else {
        command
    };
    command.mut_subcommands(|inner| with_defaults(inner, file))
}
