//! `serve`.

use std::net::TcpListener;

use serde_json::Value;

use crate::goku::{Following, Goku, Run, binary};
use crate::log_lines::LogLines;

fn serve(arguments: &[&str]) -> Run {
    let mut command = binary();
    command.args(["serve", "--listen", "127.0.0.1:0"]).args(arguments);
    Run::of(command.spawn().unwrap())
}

#[test]
fn a_server_says_where_it_listens_and_what_it_stores_in() {
    let goku = Goku::start();
    assert_eq!(
        goku.banner,
        format!("listening on {}\nstore sqlite::memory:\n", goku.endpoint)
    );
    assert!(goku.endpoint.starts_with("http://127.0.0.1:"));
}

#[test]
fn a_file_keeps_what_was_written_and_is_drained_on_both_signals() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("a b.db").display());
    for (signal, version) in [("TERM", "version 1"), ("INT", "version 2")] {
        let goku = Goku::serve(&["--store", &store]);
        assert!(goku.banner.ends_with(&format!("store {store}\n")));
        let set = goku.run(&["set", "k", signal]).done();
        assert!(set.starts_with(version), "{set}");
        goku.signal(signal);
        assert_eq!(goku.wait(), (0, String::new()));
    }
    let goku = Goku::serve(&["--store", &store]);
    assert_eq!(goku.run(&["get", "k"]).done(), "INT");
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("goku.db").display());
    let goku = Goku::serve(&["--store", &store]);
    goku.run(&["set", "k", "v"]).done();
    goku.signal("KILL");
    goku.wait();
    let goku = Goku::serve(&["--store", &store]);
    assert_eq!(goku.run(&["get", "k"]).done(), "v");
}

#[test]
fn a_second_server_on_one_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("goku.db").display());
    let goku = Goku::serve(&["--store", &store]);
    let complaint = serve(&["--store", &store]);
    assert_eq!((complaint.code, complaint.text().as_str()), (1, ""));
    let complaint = complaint.failed(1);
    assert!(
        complaint.starts_with("goku: ") && complaint.contains("goku.db"),
        "{complaint}"
    );
    goku.run(&["set", "k", "v"]).done();
}

#[test]
fn a_port_in_use_is_said_so() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("goku.db");
    let store = format!("sqlite:{}", file.display());
    let mut command = binary();
    command.args(["serve", "--listen", &address, "--store", &store]);
    let complaint = Run::of(command.spawn().unwrap()).failed(1);
    assert_eq!(
        complaint,
        format!("goku: cannot listen on {address}: something listens there already; stop it or choose another port")
    );
    assert!(!file.exists());

    let complaint = serve(&["--store", &store, "--metrics-listen", &address]).failed(1);
    assert!(
        complaint.starts_with(&format!("goku: cannot listen on {address}: ")),
        "{complaint}"
    );
}

#[test]
fn a_stores_password_is_nowhere_to_be_seen() {
    for store in [
        "mysql://root:sekrit@127.0.0.1:1/goku",
        "mysql://root:sekrit@127.0.0.1:notaport/goku",
        "mysql://root:sek/rit@127.0.0.1:1/goku",
        "nonsense://root:sekrit@host/goku",
    ] {
        let mut command = binary();
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--output", "json"])
            .env("GOKU_STORE", store)
            .env("GOKU_LOG", "trace");
        let run = Run::of(command.spawn().unwrap());
        assert_ne!(run.code, 0);
        for written in [run.text(), run.stderr] {
            assert!(!written.contains("sek") && !written.contains("rit@"), "{written}");
        }
        let help = Run::of(
            binary()
                .args(["serve", "--help"])
                .env("GOKU_STORE", store)
                .spawn()
                .unwrap(),
        );
        assert!(!help.done().contains("sek"));
    }
}

#[test]
fn a_second_signal_ends_a_server_that_still_drains() {
    let mut goku = Goku::start();
    // More than the windows of a stream hold, for a reader that stands still: the stream cannot end.
    for key in 0..8 {
        goku.run_with_input(&["set", &key.to_string(), "-"], vec![b'v'; 1_000_000])
            .done();
    }
    let mut watch = goku.follow(&["watch", "--output", "json"]);
    watch.line();
    watch.signal("STOP");
    goku.signal("TERM");
    // Refused from when the drain began. Signals count from a second after the first.
    while goku.run(&["get", "0"]).code == 0 {}
    while !goku.has_ended() {
        goku.signal("TERM");
        goku.run(&["get", "0"]);
    }
    assert_eq!(goku.wait().0, 1);
}

#[test]
fn a_server_that_is_open_to_all_says_so() {
    let ipv6 = TcpListener::bind("[::1]:0").map(|_| ("[::]:0", "http://[::]:", "http://[::1]:"));
    let ipv4 = ("0.0.0.0:0", "http://0.0.0.0:", "http://127.0.0.1:");
    for (listen, listening_on, endpoint) in [ipv4].into_iter().chain(ipv6) {
        let (log, mut lines) = LogLines::pipe();
        let mut command = binary();
        command.args(["serve", "--listen", listen, "--store", "sqlite::memory:"]);
        command.args(["--allow-plaintext", "--allow-anonymous"]);
        command.stderr(log);
        let goku = Goku::run_with_log(command);
        assert!(goku.endpoint.starts_with(listening_on), "{}", goku.banner);
        let warning = lines.until(|line| line.contains(" WARN "));
        assert!(
            warning.contains("anyone who reaches this address can read and write"),
            "{warning}"
        );
        assert!(
            warning.contains(goku.endpoint.trim_start_matches("http://")),
            "{warning}"
        );

        let mut command = binary();
        command.args([
            "serve",
            "--listen",
            listen,
            "--store",
            "sqlite::memory:",
            "--allow-plaintext",
            "--allow-anonymous",
            "--output",
            "json",
        ]);
        let mut server = Following::of(command);
        let line: Value = serde_json::from_str(&server.line()).unwrap();
        assert!(
            line["listening_on"].as_str().unwrap().starts_with(listening_on),
            "{line}"
        );
        assert!(line["endpoint"].as_str().unwrap().starts_with(endpoint), "{line}");
    }
}

#[test]
fn a_server_for_this_machine_alone_warns_of_nothing() {
    let (log, lines) = LogLines::pipe();
    let mut command = binary();
    command.args(["serve", "--store", "sqlite::memory:"]).stderr(log);
    let goku = Goku::run_with_log(command);
    goku.signal("TERM");
    goku.wait();
    let warnings: Vec<_> = lines
        .rest()
        .into_iter()
        .filter(|line| line.contains(" WARN "))
        .collect();
    assert_eq!(warnings, Vec::<String>::new());
}

#[test]
fn a_server_tells_in_json_too() {
    let mut goku = binary()
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--store",
            "sqlite::memory:",
            "--output",
            "json",
        ])
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(goku.stdout.take().unwrap()), &mut line).unwrap();
    goku.kill().unwrap();
    goku.wait().unwrap();
    let line: Value = serde_json::from_str(&line).unwrap();
    assert!(line["endpoint"].as_str().unwrap().starts_with("http://127.0.0.1:"));
    assert_eq!(line["store"], "sqlite::memory:");
    assert_eq!(line["metrics"], Value::Null);
}

/// Scripts and units leave variables behind that are set and empty, as in `GOKU_STORE=`.
#[test]
fn variables_that_are_empty_are_not_set() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = binary();
    command.arg("serve").current_dir(folder.path());
    for variable in [
        "GOKU_ADVERTISE",
        "GOKU_DELIVER",
        "GOKU_ENDPOINT",
        "GOKU_HOP_DETAILS_ONLY",
        "GOKU_METRICS_LISTEN",
        "GOKU_STORE",
    ] {
        command.env(variable, "");
    }
    let goku = Goku::run_by(command);
    assert!(goku.banner.ends_with("store sqlite:goku.db\n"), "{}", goku.banner);
    goku.run(&["status"]).done();
}
