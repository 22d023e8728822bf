//! The commands that the documents show, as far as the program itself can tell that it has them.

use std::fs;
use std::path::Path;

use clap::error::ErrorKind;

use super::Cli;

/// The repository's own pages.
fn pages() -> Vec<(String, String)> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let docs = fs::read_dir(root.join("docs")).unwrap();
    let paths = docs.map(|entry| entry.unwrap().path());
    let paths = paths.chain(["README.md", "CONTRIBUTING.md"].map(|name| root.join(name)));
    paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| (path.display().to_string(), fs::read_to_string(&path).unwrap()))
        .collect()
}

/// The lines of the shell in a page: of blocks of commands all, of blocks with their output those that begin with `$ `. A line
/// that goes on in the next one is one.
fn lines(page: &str) -> Vec<String> {
    let mut kind = None;
    let mut found: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in page.lines() {
        let line = line.trim_start();
        if let Some(fence) = line.strip_prefix("```") {
            kind = kind.is_none().then(|| fence.split(' ').next().unwrap_or_default());
            continue;
        }
        let command = match kind {
            Some("sh") => line,
            Some("console") if goes_on => line,
            Some("console") => match line.strip_prefix("$ ") {
                Some(command) => command,
                None => continue,
            },
            _ => continue,
        };
        let (text, more) = match command.strip_suffix('\\') {
            Some(text) => (text, true),
            None => (command, false),
        };
        match found.last_mut().filter(|_| goes_on) {
            Some(last) => last.push_str(text),
            None => found.push(text.to_owned()),
        }
        goes_on = more;
    }
    found
}

/// The words of each simple command in a line of the shell, without comments and without where its output goes.
fn commands(line: &str) -> Vec<Vec<String>> {
    let mut parts = vec![String::new()];
    let mut quote = None;
    let mut is_redirected = false;
    let mut before = ' ';
    for character in line.chars() {
        match (quote, character) {
            (Some(open), _) => quote = (open != character).then_some(open),
            (None, '\'' | '"') => quote = Some(character),
            (None, '#') if before.is_whitespace() => break,
            (None, '<' | '>') => is_redirected = true,
            (None, '&' | '|' | ';' | '(' | ')') => {
                parts.push(String::new());
                is_redirected = false;
                before = ' ';
                continue;
            }
            (None, _) => {}
        }
        if !is_redirected && let Some(part) = parts.last_mut() {
            part.push(character);
        }
        before = character;
    }
    parts.iter().map(|part| shell_words::split(part).unwrap()).collect()
}

#[test]
fn each_command_in_the_documents_is_one_that_the_program_has() {
    let mut checked = 0;
    for (page, text) in pages() {
        for line in lines(&text) {
            for words in commands(&line) {
                if words.first().is_none_or(|word| word != "goku") {
                    continue;
                }
                checked += 1;
                if let Err(error) = Cli::command_line().try_get_matches_from(&words) {
                    let asks = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
                    assert!(asks, "{page}: {line}\n{error}");
                }
            }
        }
    }
    assert!(checked > 30, "{checked} commands were found");
}

#[test]
fn commands_are_found_wherever_they_stand_in_a_line() {
    let words = |line| {
        commands(line)
            .into_iter()
            .filter(|words| !words.is_empty())
            .collect::<Vec<_>>()
    };
    assert_eq!(words("goku get a > b # c"), [["goku", "get", "a"]]);
    assert_eq!(
        words("(umask 077 && goku set 'a b' \"c|d\" --x=y >e) | goku -"),
        [
            vec!["umask", "077"],
            vec!["goku", "set", "a b", "c|d", "--x=y"],
            vec!["goku", "-"]
        ]
    );
    let page = "```sh\ngoku a \\\n  b\n```\ntext\n```console\n$ goku c\nd\n```\n```json\n{}\n```\n";
    assert_eq!(lines(page), ["goku a b", "goku c"]);
}
