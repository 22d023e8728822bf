//! `goku completions`.

use clap::{Args, Command};
use clap_complete::Shell;

use crate::exit::Outcome;
use crate::output::Output;

/// Write a script that completes goku's commands, for a shell
///
/// For bash, in this shell: source <(goku completions bash)
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// For which shell
    shell: Shell,
}

impl Completions {
    /// Writes the script of a command line.
    pub(super) fn run(self, mut command: Command, output: &mut Output) -> Outcome {
        // Into memory first: the generator panics where its writer fails, as a closed pipe does.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "goku", &mut script);
        Ok(output.raw(&script)?)
    }
}
