//! A command line that is read again when the file that it names has changed.

use std::ffi::OsString;

use clap::FromArgMatches;
use goku::{Error, ErrorKind};
use goku_server::{ConfigSource, Revision};

use super::Cli;
use crate::configuration::{self, Effective, Loaded, Problem, ServeOptions};
use crate::exit::Failure;

/// The command line of this process, and the options that it came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Invocation {
    arguments: Vec<OsString>,
    pub(super) effective: Effective,
}

impl Invocation {
    /// Reads the command line of a command that has options, and the file that it names.
    pub(super) fn read(arguments: Vec<OsString>) -> Result<(Cli, Invocation), Vec<Problem>> {
        let Loaded { matches, effective } = configuration::load(Cli::command_line(), &arguments)?;
        let cli = Cli::from_arg_matches(&matches)
            .map_err(|error| vec![Problem::new("the command line", error.to_string())])?;
        Ok((cli, Invocation { arguments, effective }))
    }

    /// What the options come to.
    pub(super) fn revision(&self, options: ServeOptions) -> Result<Revision, Failure> {
        self.try_revision(options).map_err(Failure::Config)
    }

    fn try_revision(&self, options: ServeOptions) -> Result<Revision, Vec<Problem>> {
        let mut effective = self.effective.clone();
        let config = options.config(&mut effective)?;
        Ok(Revision {
            config,
            values: effective.values(),
        })
    }
}

impl ConfigSource for Invocation {
    fn read(&self) -> goku::Result<Revision> {
        let read = || {
            let (cli, invocation) = Invocation::read(self.arguments.clone())?;
            let options = cli.command.into_options();
            let options = options.ok_or_else(|| vec![Problem::new("the command line", "it has no options")])?;
            invocation.try_revision(options)
        };
        read().map_err(|problems| {
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            Error::new(ErrorKind::Config, problems.join("; "))
        })
    }
}
