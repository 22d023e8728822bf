//! Command lines that cannot be right end with 2, whatever is wrong with them; what only cannot be done now ends with
//! another code.

use std::net::TcpListener;

use crate::goku::{Run, binary};

const STORE: [&str; 2] = ["--store", "sqlite::memory:"];

fn run(arguments: &[&str]) -> Run {
    Run::of(binary().args(arguments).spawn().unwrap())
}

#[test]
fn what_cannot_be_right_is_a_usage_error_that_says_which_forms_are() {
    for (arguments, form) in [
        (&["get", "k", "--endpoint", "ftp://x"][..], "http://host:port"),
        (&["get", "k", "--endpoint", ""], "http://host:port"),
        (&["get", "k", "--endpoint", "a:1,"], "http://host:port"),
        (&["set", "k", "v", "--endpoint", "http://"], "http://host:port"),
        (&["watch", "--endpoint", "ftp://x"], "http://host:port"),
        (&["status", "--endpoint", "ftp://x"], "http://host:port"),
        (&["lease", "grant", "--endpoint", "ftp://x"], "http://host:port"),
        (&["consumers", "--endpoint", "ftp://x"], "http://host:port"),
        (
            &["consume", "c", "", "--endpoint", "ftp://x", "--", "true"],
            "http://host:port",
        ),
        (&["bench", "set", "--endpoint", "ftp://x"], "http://host:port"),
        (&["serve", "--store", ""], "sqlite:PATH"),
        (&["serve", "--store", "goku.db"], "sqlite:PATH"),
        (&["serve", "--store", "sqlite:"], "sqlite:PATH"),
        (&["serve", "--store", "postgres://u:p@h/d"], "mysql://"),
        (
            &["serve", "--store", "mysql://u:p@h"],
            "mysql://user:password@host:port/database",
        ),
        (
            &["serve", "--store", "mysql://u:p@h:x/d"],
            "mysql://user:password@host:port/database",
        ),
        (&["bench", "set", "--store", ""], "sqlite:PATH"),
        (&["bench", "set", "--store", "postgres://h/d"], "mysql://"),
        (&["serve", "--listen", "4700"], "127.0.0.1:4658"),
        (&["serve", "--listen", ""], "127.0.0.1:4658"),
        (&["serve", "--listen", "localhost"], "127.0.0.1:4658"),
        (&["serve", "--listen", "127.0.0.1:70000"], "127.0.0.1:4658"),
        (&["serve", "--listen", "::1:4658"], "[::1]:4658"),
        (&["serve", "--advertise", "somewhere"], "127.0.0.1:4658"),
        (&["serve", "--metrics-listen", "9100"], "127.0.0.1:4658"),
        (
            &["consume", "c", "", "--metrics-listen", "9100", "--", "true"],
            "127.0.0.1:4658",
        ),
    ] {
        let run = run(arguments);
        assert_eq!(
            (run.code, run.text().as_str()),
            (2, ""),
            "{arguments:?}: {}",
            run.stderr
        );
        assert!(run.stderr.contains(form), "{arguments:?}: {}", run.stderr);
        assert!(!run.stderr.contains("u:p"), "{arguments:?}: {}", run.stderr);
    }
}

#[test]
fn what_cannot_be_done_now_is_none() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let listen = ["--listen", "127.0.0.1:0"];
    for (arguments, code) in [
        (&["serve", "--listen", &taken, STORE[0], STORE[1]][..], 1),
        (
            &[
                "serve",
                "--metrics-listen",
                &taken,
                listen[0],
                listen[1],
                STORE[0],
                STORE[1],
            ],
            1,
        ),
        (
            &[
                "serve",
                "--store",
                "sqlite:/nowhere/at/all/goku.db",
                listen[0],
                listen[1],
            ],
            1,
        ),
        (
            &["serve", "--store", "mysql://u:p@127.0.0.1:1/d", listen[0], listen[1]],
            5,
        ),
        (&["get", "k", "--endpoint", "127.0.0.1:1"], 5),
    ] {
        let complaint = run(arguments).failed(code);
        assert!(complaint.starts_with("goku: "), "{arguments:?}: {complaint}");
    }
}
