//! The configuration file.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use clap::Command;
use clap::error::{ContextKind, ContextValue};
use goku::secret_file;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Problem;
use super::serve_option::{Kind, ServeOption, TABLES};
use super::toml_source::{self, Fault, TomlSource, name_of, position};

/// Bytes of a file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What a file says, all of which the arguments' own parsers have taken.
#[derive(Debug)]
pub(super) struct File {
    name: String,
    /// By the ids of arguments.
    values: BTreeMap<String, Values>,
}

#[derive(Debug)]
struct Values {
    texts: Vec<String>,
    line: usize,
    column: usize,
}

impl File {
    /// Reads a file against the options that there are. All that is wrong with it is told, in the order of the file.
    pub(super) fn read(path: &Path, options: &Command) -> Result<File, Vec<Problem>> {
        let name = path.display().to_string();
        let (text, others_can_read) = text(path).map_err(|message| vec![Problem::new(&name, message)])?;
        let (table, source) = TomlSource::parse(&name, &text);
        let mut reading = Reading {
            options,
            text: &text,
            others_can_read,
            values: BTreeMap::new(),
            faults: Vec::new(),
        };
        reading.table(None, &table);
        let Reading { values, faults, .. } = reading;
        source.check(faults)?;
        Ok(File { name, values })
    }

    /// The name that it was given.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// A command in which the defaults of arguments are what the file says.
    pub(super) fn with_defaults(&self, command: Command) -> Command {
        self.values.iter().fold(command, |command, (id, values)| {
            command.mut_arg(id, |arg| arg.default_values(values.texts.clone()))
        })
    }

    /// Line and column of the value of an argument, where the file has one.
    pub(super) fn place(&self, id: &str) -> Option<(usize, usize)> {
        let values = self.values.get(id)?;
        Some((values.line, values.column))
    }
}

/// The text of a file, and whether users can read it who neither own it nor are in its group.
fn text(path: &Path) -> Result<(String, bool), String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    let file = fs::File::open(path).map_err(cannot)?;
    let others_can_read = secret_file::others_can_read(&file.metadata().map_err(cannot)?);
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(cannot)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("has more than {FILE_BYTES_MAX} bytes"));
    }
    Ok((text, others_can_read))
}

struct Reading<'a> {
    options: &'a Command,
    text: &'a str,
    others_can_read: bool,
    values: BTreeMap<String, Values>,
    faults: Vec<Fault>,
}

impl Reading<'_> {
    /// Reads the keys of a table, or those before the first one.
    fn table(&mut self, table: Option<&str>, entries: &DeTable<'_>) {
        for (name, value) in entries {
            let (written, at) = (name.get_ref().as_ref(), name.span());
            let key = match table {
                Some(table) => Cow::from(format!("{table}.{written}")),
                None => Cow::from(written),
            };
            match value.get_ref() {
                DeValue::Table(inner) if TABLES.contains(&key.as_ref()) => {
                    self.table(Some(&key), inner);
                }
                _ => self.entry(&key, at, value),
            }
        }
    }

    fn entry(&mut self, key: &str, at: Range<usize>, value: &Spanned<DeValue<'_>>) {
        let Some(option) = ServeOption::all(self.options).find(|option| option.key() == key) else {
            let nearest = nearest(key, self.options);
            return self.fault(at.start, format!("unknown key `{key}`{nearest}"));
        };
        let items = match (value.get_ref(), option.is_list()) {
            (DeValue::Array(items), true) => items.iter().collect(),
            (_, true) => return self.fault(value.span().start, format!("`{key}` is a list, such as [\"…\", \"…\"]")),
            (_, false) => vec![value],
        };
        let mut texts = Vec::new();
        for item in items {
            match self.value(option, key, item) {
                Ok(text) => texts.push(text),
                Err(message) => self.fault(item.span().start, message),
            }
        }
        let (line, column) = position(self.text, value.span().start);
        self.values
            .insert(option.id().to_owned(), Values { texts, line, column });
    }

    /// The text of a value that the argument takes; the error is why it does not.
    fn value(&self, option: ServeOption<'_>, key: &str, value: &Spanned<DeValue<'_>>) -> Result<String, String> {
        let text = match (value.get_ref(), option.kind()) {
            (DeValue::String(text), Kind::Text) => text.to_string(),
            (DeValue::Boolean(truth), Kind::Boolean) => truth.to_string(),
            (DeValue::Integer(number), Kind::Integer) => {
                let value = i64::from_str_radix(number.as_str(), number.radix());
                value.map_err(|error| format!("`{key}`: {error}"))?.to_string()
            }
            (other, kind) => {
                let wanted = match kind {
                    Kind::Text => "a text in quotes",
                    Kind::Integer => "a whole number",
                    Kind::Boolean => "true or false",
                };
                return Err(format!("`{key}` is {wanted}, not {}", name_of(other)));
            }
        };
        if self.others_can_read && option.shown(&text) != text {
            return Err(format!(
                "`{key}` is a secret and others can read this file: take their rights with `chmod o=`, or use `{key}_file`"
            ));
        }
        self.parse(option, &text).map_err(|error| format!("`{key}`: {error}"))?;
        Ok(text)
    }

    /// Has the argument's own parser read a value.
    fn parse(&self, option: ServeOption<'_>, text: &str) -> Result<(), String> {
        let alone = self
            .options
            .clone()
            .no_binary_name(true)
            .mut_args(|arg| arg.env(None::<&str>));
        let alone = alone.mut_arg(option.id(), |arg| arg.default_value(text.to_owned()));
        let Err(error) = alone.try_get_matches_from([""; 0]) else {
            return Ok(());
        };
        if let Some(source) = std::error::Error::source(&error) {
            return Err(source.to_string());
        }
        match error.get(ContextKind::ValidValue) {
            Some(ContextValue::Strings(valid)) => Err(format!("it is one of {}", valid.join(", "))),
            _ => Err(error.kind().to_string()),
        }
    }

    fn fault(&mut self, at: usize, message: String) {
        self.faults.push((at, message));
    }
}

/// The question whether another key was meant, where one is near.
fn nearest(key: &str, options: &Command) -> String {
    match toml_source::nearest(key, ServeOption::all(options).map(ServeOption::key)) {
        Some(known) => format!(": did you mean `{known}`?"),
        None => ": `goku serve --help` has all options".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use clap::{Arg, ArgAction, value_parser};

    use super::*;

    fn options() -> Command {
        let text = |name: &'static str| Arg::new(name).long(name);
        Command::new("goku").args([
            text("listen"),
            text("tls-cert"),
            text("auth-addresses").action(ArgAction::Append),
            text("count").value_parser(value_parser!(u16).range(1..)),
            text("share")
                .action(ArgAction::SetTrue)
                .value_parser(value_parser!(bool)),
            text("store").hide_env_values(true).value_name("URL"),
        ])
    }

    fn read(text: &str) -> Result<File, Vec<String>> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let name = file.path().display().to_string();
        File::read(file.path(), &options()).map_err(|problems| {
            let told = problems.iter().map(|problem| problem.to_string().replace(&name, "f"));
            told.collect()
        })
    }

    /// A file is edited by hand: whatever is put into it, or cut off, at any place.
    #[test]
    fn a_file_of_any_text_is_read_or_told_of_with_its_place() {
        let text =
            "listen = 'é:1'\ncount = 7\nshare = true\n[tls]\ncert = \"c\\u00e9\"\n[auth]\naddresses = ['a', 'ü']\n";
        let pieces = [
            "", "é", "\n", "'", "\"", "[", "]", "=", ".", "#", "\\", "{", ",", "0", "-", "\0", "\u{feff}",
        ];
        for (at, old) in text.char_indices() {
            let (before, after) = text.split_at(at);
            for piece in pieces {
                let replaced = format!("{before}{piece}{}", &after[old.len_utf8()..]);
                for text in [format!("{before}{piece}"), format!("{before}{piece}{after}"), replaced] {
                    let problems = read(&text).err().unwrap_or_else(|| vec!["f:1:1: none".to_owned()]);
                    assert!(!problems.is_empty(), "{text:?}");
                    for problem in problems {
                        let mut parts = problem.splitn(4, ':');
                        assert_eq!(parts.next(), Some("f"), "{text:?}: {problem}");
                        let mut number = || parts.next().and_then(|number| number.parse::<usize>().ok());
                        let lines = text.matches('\n').count() + 1;
                        assert!(
                            number().is_some_and(|line| (1..=lines).contains(&line)),
                            "{text:?}: {problem}"
                        );
                        assert!(number().is_some_and(|column| column > 0), "{text:?}: {problem}");
                    }
                }
            }
        }
    }

    #[test]
    fn keys_and_tables_are_read_with_their_places() {
        let file = read(
            "listen = 'a'\ncount = 0x10\nshare = true\n\n[tls]\ncert = \"c\"\n[auth]\naddresses = [\n  '1', '2']\n",
        )
        .unwrap();
        let values = |id: &str| file.values[id].texts.clone();
        assert_eq!(values("listen"), ["a"]);
        assert_eq!(values("count"), ["16"]);
        assert_eq!(values("share"), ["true"]);
        assert_eq!(values("tls-cert"), ["c"]);
        assert_eq!(values("auth-addresses"), ["1", "2"]);
        assert_eq!(file.place("tls-cert"), Some((6, 8)));
        assert_eq!(file.place("store"), None);
        assert!(read("tls.cert = 'c'").is_ok());
        assert!(read("").is_ok());
    }

    #[test]
    fn all_that_is_wrong_is_told_in_the_order_of_the_file() {
        let told =
            read("lsten = 'a'\n# ü\n count = 0\nshare = 1 2\n[tls]\ncrt = 'c'\n[auth]\naddresses = 'x'\n").unwrap_err();
        let place = |told: &String| told.rsplitn(2, ": ").last().unwrap().to_owned();
        assert_eq!(told.len(), 5, "{told:#?}");
        assert_eq!(told[0], "f:1:1: unknown key `lsten`: did you mean `listen`?");
        assert_eq!(told[1], "f:3:10: `count`: 0 is not in 1..=65535");
        assert!(told[2].starts_with("f:4:"), "{}", place(&told[2]));
        assert_eq!(told[3], "f:6:1: unknown key `tls.crt`: did you mean `tls.cert`?");
        assert_eq!(told[4], "f:8:13: `auth.addresses` is a list, such as [\"…\", \"…\"]");
    }

    #[test]
    fn what_has_another_type_or_place_is_refused() {
        for (text, why) in [
            ("listen = 1", "f:1:10: `listen` is a text in quotes, not a whole number"),
            ("listen = ['a']", "f:1:10: `listen` is a text in quotes, not a list"),
            ("count = '1'", "f:1:9: `count` is a whole number, not a text"),
            (
                "count = 1.5",
                "f:1:9: `count` is a whole number, not a number with a fraction",
            ),
            ("share = 'yes'", "f:1:9: `share` is true or false, not a text"),
            (
                "[auth]\naddresses = ['a', 1]",
                "f:2:19: `auth.addresses` is a text in quotes, not a whole number",
            ),
            (
                "tls = 'c'",
                "f:1:1: unknown key `tls`: `goku serve --help` has all options",
            ),
            (
                "tls-cert = 'c'",
                "f:1:1: unknown key `tls-cert`: did you mean `tls.cert`?",
            ),
            (
                "[tls.cert]\na = 1",
                "f:1:1: `tls.cert` is a text in quotes, not a table",
            ),
            ("[listen]\na = 1", "f:1:1: `listen` is a text in quotes, not a table"),
        ] {
            assert_eq!(read(text).unwrap_err(), [why]);
        }
    }
}
