//! Options that come from the environment.

use clap::{Arg, Command};
use goku_server::telemetry;

/// The option of what is logged, whose variable has older names.
const LOG_FILTER: &str = "log_filter";

/// A command, and those under it, to which a variable that is set and empty is one that is not set, as scripts and units leave
/// behind, and to which variables by their older names count.
pub(crate) fn prepared(command: Command) -> Command {
    let command = command.mut_args(|arg| without_empty_variable(with_older_name(arg)));
    command.mut_subcommands(prepared)
}

fn without_empty_variable(arg: Arg) -> Arg {
    let value = arg.get_env().and_then(std::env::var_os);
    if value.is_some_and(|value| value.is_empty()) {
        return arg.env(None::<&'static str>);
    }
    arg
}

/// Where a variable by an older name is no filter, the log tells so.
fn with_older_name(arg: Arg) -> Arg {
    match telemetry::variable() {
        Some((variable, Ok(_))) if arg.get_id() == LOG_FILTER => arg.env(variable),
        _ => arg,
    }
}
