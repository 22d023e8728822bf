//! `goku man`: for who builds packages, only with the feature `manual`.

use std::path::PathBuf;

use clap::{Args, Command};

use crate::exit::Outcome;

/// Write the manual pages of all commands, one file each, into a folder
#[derive(Debug, Args)]
pub(super) struct Man {
    /// Folder, which has to exist
    folder: PathBuf,
}

impl Man {
    /// Writes the pages of a command line.
    pub(super) fn run(self, command: Command) -> Outcome {
        Ok(clap_mangen::generate_to(command, self.folder)?)
    }
}
