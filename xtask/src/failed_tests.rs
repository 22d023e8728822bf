//! The names of the tests that failed, read from the output of `cargo test`.

use std::fmt;

/// Names of failed tests. As text, a line for each behind a heading; empty if there are none.
#[derive(Debug, Default)]
pub(crate) struct FailedTests {
    names: Vec<String>,
    /// Whether the lines that come are those of a test binary's list of failures.
    in_list: bool,
}

impl FailedTests {
    /// Takes in the next line of the output. A test binary ends with a line `failures:`, then its failed tests, indented.
    pub(crate) fn see(&mut self, line: &str) {
        match line.strip_prefix("    ").filter(|_| self.in_list) {
            Some(name) => self.names.push(name.trim_end().to_owned()),
            None => self.in_list = line.trim_end() == "failures:",
        }
    }
}

impl fmt::Display for FailedTests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.names.len() {
            0 => return Ok(()),
            1 => f.write_str("\n1 test failed:")?,
            count => write!(f, "\n{count} tests failed:")?,
        }
        self.names.iter().try_for_each(|name| write!(f, "\n  {name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(output: &str) -> String {
        let mut failed = FailedTests::default();
        output.lines().for_each(|line| failed.see(line));
        failed.to_string()
    }

    #[test]
    fn failed_tests_of_all_binaries_are_named_once() {
        let output = "\nrunning 3 tests\ntest a::b ... FAILED\ntest c ... ok\ntest d ... FAILED\n\nfailures:\n\n\
                      ---- a::b stdout ----\n    thread 'a::b' panicked\n\n---- d stdout ----\nfailures: none\n\n\nfailures:\n    \
                      a::b\n    d\n\ntest result: FAILED. 1 passed; 2 failed\n\nrunning 1 test\ntest src/lib.rs - (line 3) ... FAILED\n\n\
                      failures:\n\n---- src/lib.rs - (line 3) stdout ----\n\nfailures:\n    src/lib.rs - (line 3)\n\ntest result: FAILED.";
        assert_eq!(seen(output), "\n3 tests failed:\n  a::b\n  d\n  src/lib.rs - (line 3)");
    }

    #[test]
    fn nothing_is_said_where_no_test_failed() {
        assert_eq!(seen("running 1 test\ntest c ... ok\n\ntest result: ok. 1 passed\n"), "");
    }
}
