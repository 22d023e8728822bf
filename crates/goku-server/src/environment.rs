//! Options that come from the environment.

use clap::{Arg, Command};

/// A command, and those under it, to which a variable that is set and empty is one that is not set, as scripts and units leave
/// behind.
pub(crate) fn without_empty(command: Command) -> Command {
    command.mut_args(without_empty_variable).mut_subcommands(without_empty)
}

fn without_empty_variable(arg: Arg) -> Arg {
    let value = arg.get_env().and_then(std::env::var_os);
    if value.is_some_and(|value| value.is_empty()) {
        return arg.env(None::<&'static str>);
    }
    arg
}
