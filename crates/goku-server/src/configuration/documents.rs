//! The documents that tell all options: written from the arguments, and kept.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use goku_server::{Config, ConfigSource, Revision, Server};

use super::ServeOptions;
use super::file::File;
use super::serve_option::{Kind, ServeOption};

/// The variable that has the test write the documents anew.
const WRITE: &str = "GOKU_WRITE_GENERATED";

/// The columns of a comment.
const COLUMNS_MAX: usize = 100;

const HEAD: &str = "\
The options of `goku serve --config FILE`, or with FILE in the variable GOKU_CONFIG: all of them, with their defaults, or \
the form of a value where there is none.

Flags and variables count before this file. `goku config check --config FILE` tells all that is wrong with a file, `goku config \
print --config FILE --origin` what applies and where it comes from. What is marked (reload) applies at SIGHUP and `goku config \
reload`; the rest at the next start.

Where others can read this file, it may hold no password.";

/// A path in the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// What a server that this test starts takes without a restart.
async fn reloadable() -> BTreeSet<&'static str> {
    struct Never;
    impl ConfigSource for Never {
        fn read(&self) -> goku::Result<Revision> {
            Err(goku::Error::new(goku::ErrorKind::Config, "it is not read again"))
        }
    }
    let config = Config {
        listen: "127.0.0.1:0".to_owned(),
        store: "sqlite::memory:".to_owned(),
        ..Config::default()
    };
    let values = Default::default();
    let server = Server::start_reloadable(Revision { config, values }, Arc::new(Never))
        .await
        .unwrap();
    server.reloader().unwrap().keys()
}

/// Lines of a comment.
fn comment(text: &str) -> String {
    let mut comment = String::new();
    for paragraph in text.split("\n\n") {
        if !comment.is_empty() {
            comment += "#\n";
        }
        let mut line = "#".to_owned();
        for word in paragraph.split_whitespace() {
            if line.chars().count() + 1 + word.chars().count() > COLUMNS_MAX {
                comment += &format!("{line}\n");
                line = "#".to_owned();
            }
            line += &format!(" {word}");
        }
        comment += &format!("{line}\n");
    }
    comment
}

/// A value in TOML.
fn toml(option: ServeOption<'_>, value: &str) -> String {
    match option.kind() {
        Kind::Text => toml::Value::String(value.to_owned()).to_string(),
        Kind::Integer | Kind::Boolean => value.to_owned(),
    }
}

/// The options in the order of a file.
fn in_order(command: &clap::Command) -> Vec<ServeOption<'_>> {
    let mut options: Vec<_> = ServeOption::all(command).collect();
    options.sort_by_key(|option| option.key().rsplit_once('.').map(|(table, _)| table.to_owned()));
    options
}

fn example(reloadable: &BTreeSet<&str>) -> String {
    let command = ServeOptions::raw_command();
    let mut text = comment(HEAD);
    let mut table = None;
    for option in in_order(&command) {
        let key = option.key();
        let (of_option, name) = match key.rsplit_once('.') {
            Some((table, name)) => (Some(table.to_owned()), name.to_owned()),
            None => (None, key.clone()),
        };
        if of_option != table {
            write!(text, "\n[{}]\n", of_option.as_deref().unwrap()).unwrap();
            table = of_option;
        }
        let mark = if reloadable.contains(key.as_str()) {
            " (reload)"
        } else {
            ""
        };
        let values: Vec<_> = option.defaults().iter().map(|value| toml(option, value)).collect();
        let value = match (option.is_list(), values.is_empty()) {
            (true, true) => format!("[{}]", toml(option, &option.form())),
            (true, false) => format!("[{}]", values.join(", ")),
            (false, true) => toml(option, &option.form()),
            (false, false) => values.concat(),
        };
        write!(
            text,
            "\n{}#{name} = {value}\n",
            comment(&format!("{}.{mark}", option.help()))
        )
        .unwrap();
    }
    text
}

fn table(reloadable: &BTreeSet<&str>) -> String {
    let command = ServeOptions::raw_command();
    let mut text = "| key | flag, variable | default | reload | what it is |\n|---|---|---|---|---|\n".to_owned();
    for option in in_order(&command) {
        let (key, flag, variable) = (option.key(), option.flag(), option.variable());
        let form = option.form().replace('|', "\\|");
        let form = if option.is_switch() {
            String::new()
        } else {
            format!(" {form}")
        };
        let defaults: Vec<_> = option.defaults().iter().map(|value| format!("`{value}`")).collect();
        let reload = if reloadable.contains(key.as_str()) { "yes" } else { "" };
        let help = option.help().replace('|', "\\|").replace('\n', " ");
        writeln!(
            text,
            "| `{key}` | `{flag}{form}`, `{variable}` | {} | {reload} | {help} |",
            defaults.join(", ")
        )
        .unwrap();
    }
    text
}

/// Compares a document with the file that is kept, or writes it.
fn is_kept(path: &str, text: &str) {
    if std::env::var_os(WRITE).is_some() {
        return std::fs::write(repository(path), text).unwrap();
    }
    let kept = std::fs::read_to_string(repository(path)).unwrap();
    assert!(
        kept == text,
        "{path} is not what the arguments say: set {WRITE}=1 to write it anew"
    );
}

#[tokio::test]
async fn the_example_and_the_page_tell_every_option() {
    let reloadable = reloadable().await;
    is_kept("deploy/goku.toml", &example(&reloadable));

    const PAGE: &str = "docs/configuration.md";
    const BEGIN: &str = "<!-- The table is written by a test from the help of the flags. -->\n";
    let page = std::fs::read_to_string(repository(PAGE)).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once("\n\n").unwrap();
    is_kept(PAGE, &format!("{before}{BEGIN}{}\n{after}", table(&reloadable)));
}

#[test]
fn the_example_is_a_file_of_options_and_so_are_its_defaults() {
    let command = ServeOptions::raw_command();
    let with_default: BTreeSet<_> = ServeOption::all(&command)
        .filter(|option| !option.defaults().is_empty())
        .map(ServeOption::key)
        .collect();
    let example = example(&BTreeSet::new());
    let (mut uncommented, mut table) = (String::new(), String::new());
    for line in example.lines() {
        if let Some(name) = line.strip_prefix('[') {
            table = name.replace(']', ".");
        }
        let entry = line.strip_prefix('#').unwrap_or_default();
        let key = format!("{table}{}", entry.split(" = ").next().unwrap());
        let line = if with_default.contains(&key) { entry } else { line };
        uncommented += &format!("{line}\n");
    }
    assert!(uncommented.contains("\nlisten = "), "{uncommented}");
    for text in [example, uncommented] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &text).unwrap();
        File::read(file.path(), &command).unwrap_or_else(|problems| panic!("{problems:?} in\n{text}"));
    }
}

/// Every name follows from the flag's, so that whoever knows one knows the others.
#[test]
fn flag_variable_and_key_of_an_option_have_one_name() {
    let command = ServeOptions::raw_command();
    for option in ServeOption::all(&command) {
        assert_eq!(option.flag(), format!("--{}", option.id().replace('_', "-")));
        assert_eq!(option.variable(), option.variable_read());
        assert!(
            !super::serve_option::TABLES.contains(&option.key().as_str()),
            "{}",
            option.key()
        );
        assert!(!option.help().is_empty(), "{}", option.key());
    }
}

#[test]
fn every_secret_may_be_in_a_file_of_its_own() {
    let command = ServeOptions::raw_command();
    let keys: Vec<_> = ServeOption::all(&command).map(ServeOption::key).collect();
    let secrets: Vec<_> = ServeOption::all(&command).filter(|option| option.is_secret()).collect();
    assert!(!secrets.is_empty());
    for secret in secrets {
        assert!(keys.contains(&format!("{}_file", secret.key())), "{}", secret.key());
    }
}
