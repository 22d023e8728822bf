//! Secrets of the tests that show in their output.

use std::fmt;

/// The password of the tests' user of the private MariaDB server. No program has a reason to show it.
pub(crate) const PASSWORD: &str = "tests-only-password-4658";

/// How a token of goku begins, and how many digits of base 62 follow.
const TOKEN_MARK: &str = "goku_";
const TOKEN_DIGITS: usize = 49;

/// Lines more than this are counted and not kept.
const LINES_MAX: usize = 20;

/// Lines that show a secret. As text, a line for each behind a heading, without the secret; empty if there are none.
#[derive(Debug, Default)]
pub(crate) struct ShownSecrets {
    lines: Vec<String>,
    count: usize,
}

impl ShownSecrets {
    /// Takes in the next line of an output.
    pub(crate) fn see(&mut self, line: &str) {
        let Some(secret) = secret_in(line) else { return };
        self.count += 1;
        if self.lines.len() < LINES_MAX {
            self.lines.push(line.replace(secret, "***"));
        }
    }

    pub(crate) fn are_none(&self) -> bool {
        self.count == 0
    }
}

/// The first secret in a line.
fn secret_in(line: &str) -> Option<&str> {
    let password = || {
        let at = line.find(PASSWORD)?;
        Some(&line[at..at + PASSWORD.len()])
    };
    token_in(line).or_else(password)
}

fn token_in(line: &str) -> Option<&str> {
    line.match_indices(TOKEN_MARK).find_map(|(at, mark)| {
        let digits = &line[at + mark.len()..];
        let count = digits.bytes().take_while(u8::is_ascii_alphanumeric).count();
        (count >= TOKEN_DIGITS).then(|| &line[at..at + mark.len() + count])
    })
}

impl fmt::Display for ShownSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.are_none() {
            return Ok(());
        }
        write!(f, "\n{} lines of the output show a token or a password:", self.count)?;
        self.lines.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(output: &str) -> ShownSecrets {
        let mut shown = ShownSecrets::default();
        output.lines().for_each(|line| shown.see(line));
        shown
    }

    #[test]
    fn tokens_and_the_password_are_found_and_not_shown_again() {
        let token = format!("goku_{}", "0aZ".repeat(17));
        let text = seen(&format!("a\ntoken={token}, b\nmysql://u:{PASSWORD}@h\n{token}\n")).to_string();
        assert_eq!(
            text,
            "\n3 lines of the output show a token or a password:\n  token=***, b\n  mysql://u:***@h\n  ***"
        );
    }

    #[test]
    fn what_is_no_token_is_none() {
        for line in [
            "",
            "a token begins with goku_",
            "goku_test_0123",
            &format!("goku_{}", "a".repeat(48)),
        ] {
            assert!(seen(line).are_none(), "{line}");
        }
        assert_eq!(seen("").to_string(), "");
    }
}
