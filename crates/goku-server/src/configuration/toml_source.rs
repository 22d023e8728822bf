//! A text in TOML, and what is wrong with it by line and column.

use toml::de::{DeTable, DeValue, Error};

use super::problem::Problem;

/// What is wrong, and where in the text.
pub(crate) type Fault = (usize, String);

/// A text in TOML that was parsed as far as it can be, whatever is wrong with it.
pub(crate) struct TomlSource<'a> {
    name: &'a str,
    text: &'a str,
    errors: Vec<Error>,
}

impl<'a> TomlSource<'a> {
    /// Parses the text of the file of this name.
    pub(crate) fn parse(name: &'a str, text: &'a str) -> (DeTable<'a>, TomlSource<'a>) {
        let (table, errors) = DeTable::parse_recoverable(text);
        (table.into_inner(), TomlSource { name, text, errors })
    }

    /// All that is wrong, in the order of the text: with its form, and what was found beside that.
    pub(crate) fn check(&self, mut faults: Vec<Fault>) -> Result<(), Vec<Problem>> {
        // What is made of a line that is no TOML is nothing to complain about.
        let broken: Vec<_> = self
            .errors
            .iter()
            .map(|error| error.span().map_or(0, |span| span.start))
            .collect();
        let broken_lines: Vec<_> = broken.iter().map(|at| position(self.text, *at).0).collect();
        faults.retain(|(at, _)| !broken_lines.contains(&position(self.text, *at).0));
        let errors = broken
            .into_iter()
            .zip(&self.errors)
            .map(|(at, error)| (at, error.message().replace('\n', ", ")));
        faults.extend(errors);
        if faults.is_empty() {
            return Ok(());
        }
        faults.sort_by_key(|(at, _)| *at);
        Err(faults
            .into_iter()
            .map(|(at, message)| self.problem(at, message))
            .collect())
    }

    /// What is wrong at a place in the text.
    fn problem(&self, at: usize, message: String) -> Problem {
        let (line, column) = position(self.text, at);
        Problem::new(format!("{}:{line}:{column}", self.name), message)
    }
}

/// Line and column, both from 1, of a place in a text; columns count characters.
pub(crate) fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let begin = before.rfind('\n').map_or(0, |end| end + 1);
    (line, before[begin..].chars().count() + 1)
}

/// What a value is, in words.
pub(crate) fn name_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The known name that was probably meant by what is written, where one is near.
pub(crate) fn nearest(written: &str, known: impl Iterator<Item = String>) -> Option<String> {
    // `tls-cert` and `tls_cert` are `tls.cert`.
    let plain = |name: &str| name.to_lowercase().replace(['-', '.'], "_");
    let written = plain(written);
    let nearest = known
        .map(|known| (strsim::damerau_levenshtein(&written, &plain(&known)), known))
        .min();
    nearest
        .filter(|(distance, known)| distance * 2 <= known.len())
        .map(|(_, known)| known)
}
