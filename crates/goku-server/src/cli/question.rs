//! Questions to whoever sits at the terminal.

use std::io::{self, IsTerminal, Write};

use crate::exit::Failure;

/// Asks whether to do something, and waits for the answer: true for `y` or `yes`. Where there is no terminal to ask at, the
/// failure says `otherwise`.
pub(super) fn confirmed(question: &str, otherwise: &str) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::Input(otherwise.to_owned()));
    }
    let mut answer = String::new();
    let asked = write!(io::stderr(), "goku: {question} [y/N] ");
    asked
        .and_then(|()| io::stdin().read_line(&mut answer))
        .map_err(|error| Failure::Input(format!("cannot ask at the terminal: {error}")))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
