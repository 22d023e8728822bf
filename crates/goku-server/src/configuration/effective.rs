//! The options that apply, and where each comes from.

use std::collections::BTreeMap;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

use super::file::File;
use super::problem::Problem;
use super::secret;
use super::serve_option::{Kind, ServeOption};

/// What the key of a file is called that holds the value of another option.
const FILE_SUFFIX: &str = "_file";

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    Default,
    File { name: String, line: usize, column: usize },
    Variable(String),
    Flag(String),
}

/// The options that apply, in the order in which they are in a file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Effective {
    entries: Vec<Entry>,
    file: Option<String>,
}

/// An option that applies, or is not set.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    id: String,
    pub(crate) key: String,
    pub(crate) kind: Kind,
    pub(crate) is_list: bool,
    /// The form of a value.
    pub(crate) form: String,
    /// The values as they may be shown; none where it is not set.
    pub(crate) shown: Vec<String>,
    values: Vec<String>,
    origin: Origin,
}

impl Effective {
    /// What the command line comes to, where `file` has given its defaults.
    pub(super) fn new(options: &Command, matches: &ArgMatches, file: Option<&File>) -> Result<Effective, Vec<Problem>> {
        let mut entries: Vec<_> = ServeOption::all(options)
            .map(|option| Entry::new(option, matches, file))
            .collect();
        // A table goes on to the next one.
        entries.sort_by_key(|entry| entry.key.rsplit_once('.').map(|(table, _)| table.to_owned()));
        let mut effective = Effective {
            entries,
            file: file.map(|file| file.name().to_owned()),
        };
        effective.supersede()?;
        Ok(effective)
    }

    /// Of an option and the file that holds its value the one counts that comes from where more counts.
    fn supersede(&mut self) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        for place in 0..self.entries.len() {
            let Some(of) = self.entries[place].key.strip_suffix(FILE_SUFFIX) else {
                continue;
            };
            let Some(value) = self.entries.iter().position(|entry| entry.key == of) else {
                continue;
            };
            if self.entries[place].values.is_empty() {
                continue;
            }
            let rank = |entry: usize| self.entries[entry].origin.rank();
            if rank(place) == rank(value) {
                problems.push(Problem::new(
                    self.entries[place].place(),
                    format!(
                        "`{}` and `{of}` are both given: keep one of them",
                        self.entries[place].key
                    ),
                ));
            } else if rank(place) < rank(value) {
                self.entries[place].unset();
            } else {
                self.entries[value].unset();
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The name of the file, where there is one.
    pub(crate) fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// The values by their keys, secrets as they are.
    pub(crate) fn values(&self) -> BTreeMap<String, Vec<String>> {
        let entries = self.entries.iter();
        entries.map(|entry| (entry.key.clone(), entry.values.clone())).collect()
    }

    /// Where the value of an argument comes from, for what is wrong with it.
    pub(super) fn place(&self, id: &str) -> String {
        let entry = self.set(&format!("{id}{FILE_SUFFIX}"));
        let entry = entry.or_else(|| self.entries.iter().find(|entry| entry.id == id));
        entry.map_or_else(|| id.to_owned(), Entry::place)
    }

    /// The entry of an argument that is set.
    fn set(&self, id: &str) -> Option<&Entry> {
        let mut set = self.entries.iter().filter(|entry| !entry.values.is_empty());
        set.find(|entry| entry.id == id)
    }

    /// Whether a secret is in a file of its own.
    pub(super) fn is_in_file(&self, id: &str) -> bool {
        self.set(&format!("{id}{FILE_SUFFIX}")).is_some()
    }

    /// A secret: `value`, or what `file` holds if that is where it comes from.
    pub(super) fn secret(&mut self, id: &str, value: &str, file: Option<&str>) -> Result<String, Problem> {
        let Some(file) = file.filter(|_| self.is_in_file(id)) else {
            return Ok(value.to_owned());
        };
        let secret = secret::read(file).map_err(|message| Problem::new(self.place(id), message))?;
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id) {
            // A change of what the file holds is a change of the option.
            entry.values = vec![secret.clone()];
        }
        Ok(secret)
    }
}

impl Entry {
    fn new(option: ServeOption<'_>, matches: &ArgMatches, file: Option<&File>) -> Entry {
        let id = option.id();
        let values = matches.get_raw(id).into_iter().flatten();
        let values: Vec<_> = values.map(|value| value.to_string_lossy().into_owned()).collect();
        let in_file = file.and_then(|file| Some((file, file.place(id)?)));
        let origin = match (matches.value_source(id), in_file) {
            (Some(ValueSource::CommandLine), _) => Origin::Flag(option.flag()),
            (Some(ValueSource::EnvVariable), _) => Origin::Variable(option.variable_read()),
            (_, Some((file, (line, column)))) => Origin::File {
                name: file.name().to_owned(),
                line,
                column,
            },
            (_, None) => Origin::Default,
        };
        Entry {
            id: id.to_owned(),
            key: option.key(),
            kind: option.kind(),
            is_list: option.is_list(),
            form: option.form(),
            shown: values.iter().map(|value| option.shown(value)).collect(),
            values,
            origin,
        }
    }

    fn unset(&mut self) {
        self.values.clear();
        self.shown.clear();
        self.origin = Origin::Default;
    }

    fn place(&self) -> String {
        match &self.origin {
            Origin::Default => format!("`{}`", self.key),
            Origin::File { name, line, column } => format!("{name}:{line}:{column}"),
            Origin::Variable(name) | Origin::Flag(name) => name.clone(),
        }
    }

    /// Where its value comes from: the kind of place, and which one where there are several.
    pub(crate) fn origin(&self) -> (&'static str, Option<String>) {
        match &self.origin {
            _ if self.shown.is_empty() => ("not set", None),
            Origin::Default => ("default", None),
            Origin::File { name, line, .. } => ("file", Some(format!("{name}:{line}"))),
            Origin::Variable(name) => ("variable", Some(name.clone())),
            Origin::Flag(name) => ("flag", Some(name.clone())),
        }
    }
}

impl Origin {
    /// What is greater counts before what is less.
    fn rank(&self) -> u8 {
        match self {
            Origin::Default => 0,
            Origin::File { .. } => 1,
            Origin::Variable(_) => 2,
            Origin::Flag(_) => 3,
        }
    }
}
