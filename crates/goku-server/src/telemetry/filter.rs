//! Log filters: levels of all targets, or of some.

use std::fmt;
use std::str::FromStr;

use tracing_subscriber::filter::{ParseError, Targets};

/// What is logged: directives of the form `level`, `target=level` or `target`, separated by commas; the longest target that
/// fits counts. By default `info`.
#[derive(Clone, Debug)]
pub struct LogFilter {
    text: String,
    targets: Targets,
}

impl LogFilter {
    pub(super) fn targets(&self) -> Targets {
        self.targets.clone()
    }
}

/// By their texts.
impl PartialEq for LogFilter {
    fn eq(&self, other: &LogFilter) -> bool {
        self.text == other.text
    }
}

impl Eq for LogFilter {}

impl Default for LogFilter {
    fn default() -> LogFilter {
        LogFilter {
            text: "info".to_owned(),
            targets: Targets::new().with_default(tracing::Level::INFO),
        }
    }
}

impl FromStr for LogFilter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<LogFilter, FilterError> {
        Ok(LogFilter {
            text: text.to_owned(),
            targets: parse(text)?,
        })
    }
}

/// As it was read.
impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a text is no log filter.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// A directive selects spans or fields.
    #[error("`{0}` selects by span or field: write `level` or `target=level`")]
    SpanOrField(String),

    /// A directive is neither a level nor a target with its level.
    #[error("`{0}` is neither `level` nor `target=level`")]
    Malformed(String),

    /// A directive has a level that there is not, or more than one `=`.
    #[error("`{directive}`: {source}")]
    Level {
        /// The directive.
        directive: String,
        /// What is wrong with it.
        source: ParseError,
    },
}

/// Reads directives of the form `level`, `target=level` or `target`, separated by commas; the longest target that fits
/// counts.
///
/// # Errors
///
/// [`FilterError`] where a directive has another form, which `tracing`'s filters of the environment may know: those bring
/// a compiler of regular expressions with them.
fn parse(text: &str) -> Result<Targets, FilterError> {
    let mut directives = text.split(',').map(str::trim).filter(|directive| !directive.is_empty());
    directives.try_fold(Targets::new(), |all, directive| {
        let one = parse_directive(directive)?;
        Ok(match one.default_level() {
            Some(level) => all.with_default(level),
            None => all.with_targets(one),
        })
    })
}

fn parse_directive(directive: &str) -> Result<Targets, FilterError> {
    if directive.contains(['[', '{', ']', '}']) {
        return Err(FilterError::SpanOrField(directive.to_owned()));
    }
    if !directive.starts_with(|first: char| first.is_alphanumeric() || "-:_".contains(first)) {
        return Err(FilterError::Malformed(directive.to_owned()));
    }
    directive.parse().map_err(|source| FilterError::Level {
        directive: directive.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "these are tests")]

    use tracing::Level;

    use super::parse;

    #[test]
    fn levels_are_those_of_the_longest_target_that_fits() {
        let filter = parse("info, goku::engine=TRACE,goku=debug,h2=off,tower,").unwrap();
        let logs = |target: &str, level| filter.would_enable(target, &level);
        assert!(logs("hyper", Level::INFO) && !logs("hyper", Level::DEBUG));
        assert!(logs("goku::store", Level::DEBUG) && !logs("goku::store", Level::TRACE));
        assert!(logs("goku::engine::writer", Level::TRACE));
        assert!(!logs("h2", Level::ERROR));
        assert!(logs("tower", Level::TRACE));
    }

    #[test]
    fn other_targets_log_nothing_without_a_level_for_all() {
        let filter = parse("goku=warn").unwrap();
        assert!(filter.would_enable("goku", &Level::WARN));
        assert!(!filter.would_enable("h2", &Level::ERROR));
    }

    #[test]
    fn what_is_no_filter_is_told() {
        let refusal = |text| parse(text).unwrap_err().to_string();
        for text in ["goku[commit]=debug", "[{id=7}]=trace", "info,[commit]"] {
            assert!(refusal(text).contains("by span or field"), "{text}");
        }
        assert!(refusal("goku=loud").starts_with("`goku=loud`: "));
        assert!(refusal("goku=info=warn").contains("too many '='"));
        assert!(refusal("?").contains("neither `level` nor `target=level`"));
    }
}
