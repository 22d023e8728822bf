//! The README's tour: every command is run as written, and prints what is written there.

use std::process::Command;

use goku_server::{Config, Server};

const README: &str = include_str!("../../../../README.md");

/// A command of the tour, and what the README says that it prints.
#[derive(Debug, Default)]
struct Step {
    command: String,
    output: String,
}

/// The steps of all console blocks: a command begins with `$ ` and goes on to the END of its document, if it has one.
fn steps() -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut in_block, mut in_document) = (false, false);
    for line in README.lines() {
        match line {
            "```console" => in_block = true,
            "```" => in_block = false,
            _ if !in_block => {}
            _ => {
                if let Some(command) = line.strip_prefix("$ ") {
                    in_document = command.ends_with("<<'END'");
                    steps.push(Step {
                        command: format!("{command}\n"),
                        ..Step::default()
                    });
                } else if let Some(step) = steps.last_mut() {
                    let part = if in_document {
                        &mut step.command
                    } else {
                        &mut step.output
                    };
                    *part += &format!("{line}\n");
                    in_document &= line != "END";
                }
            }
        }
    }
    steps
}

/// The words of an output, those that differ from run to run by their form alone.
fn words(output: &str) -> Vec<String> {
    let before = std::iter::once("").chain(output.split_whitespace());
    let words = before.zip(output.split_whitespace());
    words
        .map(|(before, word)| match before.trim_start_matches('(') {
            "in" => "DURATION".to_owned(),
            _ => form(word),
        })
        .collect()
}

fn form(word: &str) -> String {
    let is_time = word.len() == 24 && word.ends_with('Z') && word.as_bytes()[10] == b'T';
    if is_time {
        return "TIME".to_owned();
    }
    if word.starts_with("127.0.0.1:") {
        return "ADDRESS".to_owned();
    }
    match word.split_once('-') {
        Some((number, hex)) if hex.len() == 16 && hex.chars().all(|c| c.is_ascii_hexdigit()) => format!("{number}-HEX"),
        _ => word.to_owned(),
    }
}

/// Where `goku` is found.
fn path() -> String {
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_goku"));
    let folder = binary.parent().unwrap().display();
    format!("{folder}:{}", std::env::var("PATH").unwrap())
}

#[tokio::test]
async fn the_tour_prints_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(Config {
        listen: "127.0.0.1:0".to_owned(),
        store: format!("sqlite:{}", folder.path().join("goku.db").display()),
        ..Config::default()
    })
    .await
    .unwrap();
    let path = path();
    let steps: Vec<_> = steps()
        .into_iter()
        .filter(|step| !step.command.starts_with("alias "))
        .collect();
    assert!(steps.len() > 10, "{steps:?}");
    for step in steps {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec 2>&1; {}", step.command)]);
        command.env("PATH", &path).env("GOKU_ENDPOINT", server.endpoint());
        command.env("XDG_CONFIG_HOME", folder.path());
        let ran = tokio::task::spawn_blocking(move || command.output())
            .await
            .unwrap()
            .unwrap();
        let printed = String::from_utf8(ran.stdout).unwrap();
        assert_eq!(
            words(&printed),
            words(&step.output),
            "{}\nprinted\n{printed}",
            step.command
        );
    }
    server.stop().await.unwrap();
}

/// The blocks of commands of a section, in the order in which they stand there.
fn commands(section: &str) -> Vec<&'static str> {
    let (_, rest) = README.split_once(&format!("\n## {section}\n")).unwrap();
    let (section, _) = rest.split_once("\n## ").unwrap();
    let blocks = section.split("```sh\n").skip(1);
    blocks.map(|block| block.split_once("```").unwrap().0).collect()
}

/// From the first administrator to rights that are asked for, as it is written there.
#[test]
fn the_section_on_rights_asks_for_them() {
    let folder = tempfile::tempdir().unwrap();
    // An address of its own, as the commands name no port.
    let process = std::process::id();
    let address = format!("127.{}.{}.1:4658", 1 + (process >> 8) % 254, process % 256);
    let [start, rights] = commands("Who may do what")[..] else {
        panic!("the section has other blocks of commands");
    };
    let script = format!(
        "set -e
         trap 'kill $!; wait' EXIT
         {start}
         for attempt in $(seq 600); do ! goku auth status || break; sleep 0.1; done
         {rights}
         goku set app/config/a 1
         code=0; GOKU_TOKEN= goku get app/config/a || code=$?
         test $code = 10"
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]).current_dir(folder.path());
    command
        .env("PATH", path())
        .env("GOKU_LISTEN", &address)
        .env("GOKU_ENDPOINT", format!("http://{address}"));
    let ran = command.output().unwrap();
    let printed = [ran.stdout, ran.stderr]
        .map(|bytes| String::from_utf8(bytes).unwrap())
        .concat();
    assert!(ran.status.success(), "{printed}");
}
