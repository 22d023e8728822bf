//! What commands do on a terminal that they do not do in a pipe.

use crate::goku::{Goku, Run, binary};
use crate::terminal::Terminal;

/// What a client command shows on a terminal, and its exit code.
#[track_caller]
fn shown(goku: &Goku, arguments: &[&str]) -> (i32, String) {
    Terminal::run(goku.command(arguments)).end()
}

#[test]
fn a_value_ends_with_its_line_and_cannot_play_tricks() {
    let goku = Goku::start();
    for (value, text) in [
        (&b"hello"[..], "hello\n"),
        (b"two\nlines\n", "two\nlines\n"),
        (b"\x1b[2J\xff\0", "\\x1b[2J\\xff\\x00\n"),
    ] {
        goku.run_with_input(&["set", "k", "-"], value).done();
        assert_eq!(shown(&goku, &["get", "k"]), (0, text.to_owned()));
        assert_eq!(goku.run(&["get", "k"]).stdout, value, "in a pipe it is as it is");
    }
}

#[test]
fn tables_have_the_names_of_their_columns() {
    let goku = Goku::start();
    goku.run(&["set", "config/motd", "hello"]).done();
    goku.run(&["set", "b", "2"]).done();
    goku.run(&["consumers", "reset", "mailer", "--to", "1", "--create"])
        .done();
    assert_eq!(
        shown(&goku, &["list"]).1,
        "KEY          VERSION  VALUE\nb            1        2\nconfig/motd  1        hello\n"
    );
    assert_eq!(shown(&goku, &["list", "--keys-only"]).1, "KEY\nb\nconfig/motd\n");
    assert_eq!(shown(&goku, &["list", "nothing"]).1, "");
    assert_eq!(shown(&goku, &["list", "b", "--output", "json"]).1.lines().count(), 1);

    let names = |arguments: &[&str]| -> Vec<String> {
        let (code, text) = shown(&goku, arguments);
        assert_eq!((code, text.lines().count() > 1), (0, true), "{text}");
        let names = text.lines().next().unwrap().split_whitespace();
        names.map(str::to_owned).collect()
    };
    assert_eq!(
        names(&["watch", "--to-head"]),
        ["ID", "TIME", "TYPE", "KEY", "VERSION", "VALUE"]
    );
    assert_eq!(names(&["consumers"])[..4], ["CONSUMER", "PARTITION", "POSITION", "LAG"]);
    assert!(!goku.run(&["consumers"]).done().contains("CONSUMER"));
}

#[test]
fn a_watch_of_everything_says_how_to_begin_at_the_head() {
    let goku = Goku::start();
    goku.run(&["set", "k", "v"]).done();
    let mut watch = Terminal::run(goku.command(&["watch"]));
    let text = watch.until("VALUE");
    assert!(text.contains("--from-head"), "{text}");
    drop(watch);
    let mut watch = Terminal::run(goku.command(&["watch", "--after", "0"]));
    let text = watch.until("VALUE");
    assert!(!text.contains("--from-head"), "{text}");
    // In a pipe nobody has to be told.
    let mut watch = goku.follow(&["watch"]);
    watch.line();
    watch.signal("INT");
    watch.wait().done();
}

#[test]
fn the_keys_of_a_prefix_are_deleted_where_the_answer_is_yes() {
    let goku = Goku::start();
    let keys = || goku.run(&["list", "--keys-only", "--all"]).done();
    for key in ["a/1", "a/2", "b", "goku:consumers/dead/c/1"] {
        goku.run(&["set", key, "v"]).done();
    }
    let all = keys();
    for answer in ["n", "", "no", "yea"] {
        let mut delete = Terminal::run(goku.command(&["delete", "--prefix", "a/"]));
        delete.until("delete 2 keys that begin with \"a/\"? [y/N] ");
        delete.type_line(answer);
        let (code, text) = delete.end();
        assert_eq!(code, 1, "{text}");
        assert!(text.contains("goku: nothing was deleted"), "{text}");
    }
    assert_eq!(keys(), all);

    let mut delete = Terminal::run(goku.command(&["rm", "--prefix", "a/"]));
    delete.until("[y/N] ");
    // It deletes what it has counted, not what comes after.
    goku.run(&["set", "a/3", "v"]).done();
    delete.type_line("y");
    let (code, text) = delete.end();
    assert_eq!(code, 0, "{text}");
    assert!(text.ends_with("deleted 2 keys\n"), "{text}");
    assert_eq!(keys(), "a/3\nb\ngoku:consumers/dead/c/1\n");

    // There is nothing to ask about.
    assert_eq!(
        shown(&goku, &["delete", "--prefix", "none"]),
        (0, "deleted 0 keys\n".to_owned())
    );
}

/// A line of the help was as wide as it was written, whatever the terminal.
#[test]
fn help_is_as_wide_as_the_terminal() {
    for arguments in [
        &["--help"][..],
        &["set", "--help"],
        &["txn", "--help"],
        &["serve", "--help"],
        &["bench", "--help"],
        &["consume", "--help"],
    ] {
        for columns in [50, 80] {
            let mut command = binary();
            command.args(arguments).env("TERM", "dumb").env("NO_COLOR", "1");
            let (code, text) = Terminal::run_on(columns, command).end();
            assert_eq!(code, 0);
            // A word that is longer stays whole, as does the line of the usage.
            let lines = text.lines().filter(|line| !line.starts_with("Usage: "));
            for line in lines.filter(|line| line.trim().contains(' ')) {
                let width = line.trim_end().chars().count();
                assert!(width <= usize::from(columns), "{arguments:?}: {width} columns: {line}");
            }
        }
    }
}

#[test]
fn what_needs_a_question_is_refused_without_a_terminal() {
    let goku = Goku::start();
    for key in ["a/1", "a/2", "a/3"] {
        goku.run(&["set", key, "v"]).done();
    }
    let refused = goku.run(&["delete", "--prefix", "a/"]).failed(2);
    assert!(refused.contains("3 keys") && refused.contains("--yes"), "{refused}");
    let deleted = goku
        .run(&["delete", "--prefix", "a/", "--yes", "--output", "json"])
        .json();
    assert_eq!(deleted[0]["deleted"], 3);
    for arguments in [
        &["delete"][..],
        &["delete", "k", "--prefix", "a/"],
        &["delete", "k", "--yes"],
        &["delete", "--prefix", "a/", "--if-version", "1"],
    ] {
        let run = Run::of(goku.command(arguments).spawn().unwrap());
        assert_eq!(run.code, 2, "{arguments:?}: {}", run.stderr);
    }
}
