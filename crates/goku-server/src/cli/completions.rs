//! `goku completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::cli::Cli;
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
    pub(super) fn run(self, output: &mut Output) -> Outcome {
        // Into memory first: the generator panics where its writer fails, as a closed pipe does.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "goku", &mut script);
        Ok(output.raw(&script)?)
    }
}
