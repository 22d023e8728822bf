//! `goku check`: each of its lines provoked, on databases, files and limits that are set up wrong.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use goku::check::Severity;
use goku::{Clock, ManualClock, SystemClock};
use goku_test_pki::{Ca, Issued, Subject, write_secret};
use goku_testkit::mariadb::Options;
use goku_testkit::{GaleraDatabase, PrivateDatabase};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::block_in_place;

use crate::goku::{Goku, Run, binary};
use crate::terminal::Terminal;

/// What a check found, by names, and its exit code.
struct Found {
    code: i32,
    findings: BTreeMap<String, Value>,
}

impl Found {
    #[track_caller]
    fn of(run: Run) -> Found {
        assert_eq!(run.stderr, "", "{}", run.text());
        let text = run.text();
        let findings = text.lines().map(|line| {
            let finding: Value = serde_json::from_str(line).unwrap();
            (finding["name"].as_str().unwrap().to_owned(), finding)
        });
        Found {
            code: run.code,
            findings: findings.collect(),
        }
    }

    #[track_caller]
    fn text(&self, name: &str, field: &str) -> &str {
        let finding = self.findings.get(name);
        let finding = finding.unwrap_or_else(|| panic!("nothing about {name}: {:#?}", self.findings));
        finding[field].as_str().unwrap_or_default()
    }

    /// Fails unless this was found of the name, with the exit code that errors have, and those alone.
    #[track_caller]
    fn expect(&self, name: &str, severity: &str) {
        assert_eq!(self.text(name, "severity"), severity, "{:#?}", self.findings[name]);
        let has_errors = self.findings.values().any(|finding| finding["severity"] == "error");
        assert_eq!(self.code, i32::from(has_errors), "{:#?}", self.findings);
        let lacks_advice = severity == "warn" && self.text(name, "advice").is_empty();
        assert!(!lacks_advice, "a warning without advice: {name}");
    }

    /// The statement that the advice for a name is to type.
    #[track_caller]
    fn statement(&self, name: &str) -> String {
        let advice = self.text(name, "advice");
        advice.split('`').nth(1).unwrap_or_default().to_owned()
    }

    /// The names of what is not ok.
    fn not_ok(&self) -> Vec<&str> {
        let bad = self.findings.iter().filter(|(_, finding)| finding["severity"] != "ok");
        bad.map(|(name, _)| name.as_str()).collect()
    }
}

fn command(options: &[&str]) -> Command {
    let mut command = binary();
    command.arg("check").args(options).env("GOKU_LISTEN", "127.0.0.1:0");
    command
}

#[track_caller]
fn check(options: &[&str]) -> Found {
    let options = [&["--output", "json"], options].concat();
    Found::of(Run::of(command(&options).spawn().unwrap()))
}

/// A check from within an asynchronous test.
#[track_caller]
fn check_store(url: &str) -> Found {
    block_in_place(|| check(&["--store", url]))
}

fn sqlite(folder: &TempDir) -> String {
    format!("sqlite:{}", folder.path().join("goku.db").display())
}

/// The URL of the same database for another user, who has no password.
fn for_user(database: &PrivateDatabase, user: &str) -> String {
    database.url().replacen("goku@", &format!("{user}@"), 1)
}

fn options(arguments: &[&str]) -> Options {
    Options {
        arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
        ..Options::default()
    }
}

/// Every setting is made wrong, and right again by what the check says is to be typed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_setting_of_a_database_that_is_wrong_is_found_and_mended_by_the_advice() {
    let database = PrivateDatabase::durable(options(&["--innodb-log-file-size=96M"])).await;
    database.run("set global innodb_flush_log_at_trx_commit = 1").await;
    let good = check_store(&database.url());
    assert_eq!(good.not_ok(), [""; 0], "{:#?}", good.findings);
    for name in [
        "version",
        "isolation",
        "clock",
        "encryption",
        "innodb_doublewrite",
        "rights",
        "format",
    ] {
        good.expect(name, "ok");
    }
    for (statement, name, severity) in [
        (
            "set global innodb_flush_log_at_trx_commit = 2",
            "innodb_flush_log_at_trx_commit",
            "warn",
        ),
        ("set global sync_binlog = 0", "sync_binlog", "warn"),
        ("set global binlog_format = 'STATEMENT'", "binlog_format", "error"),
        ("set global max_allowed_packet = 1048576", "max_allowed_packet", "error"),
        ("set global max_allowed_packet = 5242880", "max_allowed_packet", "warn"),
        ("set global max_connections = 11", "max_connections", "error"),
        ("set global max_connections = 30", "max_connections", "warn"),
        ("set global read_only = 1", "read_only", "error"),
    ] {
        database.run(statement).await;
        let found = check_store(&database.url());
        found.expect(name, severity);
        database.run(&found.statement(name)).await;
        let mended = check_store(&database.url());
        assert_eq!(mended.not_ok(), [""; 0], "{name}: {:#?}", mended.findings);
    }
    database.run("alter user goku@'%' with max_user_connections 11").await;
    check_store(&database.url()).expect("max_user_connections", "error");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_database_is_started_with_is_judged() {
    let database = PrivateDatabase::start(options(&[
        "--innodb-log-file-size=4M",
        "--innodb-doublewrite=0",
        "--innodb-buffer-pool-size=6M",
    ]))
    .await;
    let goku = block_in_place(|| Goku::serve(&["--store", &database.url()]));
    database
        .run(
            "insert into goku.data (`key`, value, value_bytes, version, created_ref, updated_ref, lease_id, created_version, \
             created_rev, updated_rev) select concat('big', seq), repeat('x', 1000000), 1000000, 1, 1, 1, 1, 1, 1, 1 \
             from goku.seq_1_to_40; analyze table goku.data",
        )
        .await;
    let found = check_store(&database.url());
    found.expect("redo_log", "error");
    found.expect("innodb_doublewrite", "warn");
    found.expect("innodb_buffer_pool_size", "warn");
    // Without a binlog MariaDB shows commits before they are on disk.
    found.expect("log_bin", "warn");
    drop(goku);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_right_that_lacks_is_found_and_granted_by_the_advice() {
    let database = PrivateDatabase::start(Options::default()).await;
    database.run("create user least@'%'").await;
    let url = for_user(&database, "least");
    database.run("grant select on goku.* to least@'%'").await;
    let found = check_store(&url);
    found.expect("rights", "error");
    assert!(found.text("rights", "message").contains("insert, update, delete"));
    // Tables are still to be made.
    found.expect("create", "error");
    found.expect("alter", "ok");
    found.expect("create_view", "warn");
    for name in ["rights", "create", "create_view"] {
        database.run(&check_store(&url).statement(name)).await;
        check_store(&url).expect(name, "ok");
    }

    drop(block_in_place(|| Goku::serve(&["--store", &url])));
    database
        .run("revoke all on goku.* from least@'%'; grant select, insert, update, delete on goku.* to least@'%'")
        .await;
    let found = check_store(&url);
    for name in ["rights", "create", "alter", "create_view", "format"] {
        found.expect(name, "ok");
    }
    // As a version with another column finds the tables.
    database.run("alter table goku.head drop column etcd_compacted").await;
    let found = check_store(&url);
    found.expect("alter", "error");
    database.run(&found.statement("alter")).await;
    check_store(&url).expect("alter", "ok");
    database.run("drop view goku.original_leases").await;
    check_store(&url).expect("create_view", "warn");
    // Nothing was made or taken away while rights were tried.
    let tables = "select count(*) from information_schema.tables where table_name like 'goku_check%'";
    assert_eq!(database.query(tables).await, [0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_cannot_be_used_says_why() {
    let database = PrivateDatabase::start(Options::default()).await;
    check_store(&for_user(&database, "nobody")).expect("connection", "error");
    let other = database.url().replacen("/goku?", "/other?", 1);
    database.run("grant all on other.* to goku@'%'").await;
    check_store(&other).expect("database", "warn");
    database.run("create table goku.users (id int)").await;
    let found = check_store(&database.url());
    found.expect("tables", "error");
    assert!(found.text("tables", "message").contains("users"));
    block_in_place(|| check(&["--store", &database.url(), "--share-database"])).expect("format", "ok");

    let second = PrivateDatabase::start(Options::default()).await;
    let host = |database: &PrivateDatabase| {
        let url = database.url();
        let (host, _) = url.rsplit_once("/goku").unwrap();
        host.rsplit_once('@').unwrap().1.to_owned()
    };
    let both = format!(
        "mysql://goku@{},{}/goku?prefer_socket=false",
        host(&database),
        host(&second)
    );
    check_store(&both).expect("read_only", "error");
    second.run("set global read_only = 1").await;
    check_store(&both).expect("read_only", "ok");
    second.kill();
    check_store(&both).expect("connection", "warn");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_not_the_databases_is_found() {
    let database = PrivateDatabase::start(Options::default()).await;
    for (ahead_s, severity) in [(0, Severity::Ok), (5, Severity::Warning), (60, Severity::Error)] {
        let now = SystemClock.now().saturating_add(Duration::from_secs(ahead_s));
        let findings = goku::check::store(&database.url(), false, ManualClock::new(now))
            .await
            .unwrap();
        let clock = findings.iter().find(|finding| finding.subject.name == "clock").unwrap();
        assert_eq!(clock.severity, severity, "{}", clock.message);
    }
}

/// All of it beside a server that serves on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_in_a_store_is_found_beside_its_server() {
    let database = PrivateDatabase::start(Options::default()).await;
    let url = database.url();
    let goku = block_in_place(|| Goku::serve(&["--store", &url]));
    let run = |arguments: &[&str]| block_in_place(|| goku.run(arguments).done());
    run(&["set", "k", "1"]);
    run(&["set", "k", "2"]);
    run(&["consumers", "reset", "mailer", "--to", "1", "--create"]);
    let found = check_store(&url);
    for name in [
        "format",
        "epoch",
        "cursors",
        "replicas",
        "settings",
        "log",
        "max_connections",
    ] {
        found.expect(name, "ok");
    }
    for (statement, name, severity, told) in [
        (
            "update goku.cursors set moved_at = moved_at - 2 * 86400000",
            "cursors",
            "warn",
            "\"mailer\"",
        ),
        ("update goku.cursors set epoch = 7", "epoch", "warn", "\"mailer\""),
        (
            "insert into goku.goku_settings values ('role/reader', 'no JSON', 1, 0, null)",
            "settings",
            "error",
            "role/reader",
        ),
        (
            "insert into goku.writers (id, batch, seen_at, address, version) \
             values (7, 0, (unix_timestamp(now(3)) + 3600) * 1000, 'old:1', '0.0.1')",
            "replicas",
            "warn",
            "old:1 0.0.1",
        ),
        ("update goku.head set format = 1", "format", "warn", "format 1"),
    ] {
        database.run(statement).await;
        let found = check_store(&url);
        found.expect(name, severity);
        assert!(
            found.text(name, "message").contains(told),
            "{:#?}",
            found.findings[name]
        );
        database.run("update goku.head set format = 2").await;
    }
    assert_eq!(run(&["get", "k"]), "2", "the server goes on");
    // That one it does not survive.
    database.run("update goku.head set format = 99").await;
    check_store(&url).expect("format", "error");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_that_a_dead_node_would_end_are_found() {
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/engines/galera");
    let Some(options) = GaleraDatabase::options(&unpacked) else {
        println!("Galera is not there: `cargo xtask engines` installs or unpacks it");
        return;
    };
    let database = GaleraDatabase::start(options).await;
    let goku = block_in_place(|| Goku::serve(&["--store", &database.url()]));
    check_store(&database.url()).expect("evs.suspect_timeout", "ok");
    block_in_place(|| goku.run(&["set", "k", "v", "--ttl", "1h"]).done());
    drop(goku);
    for (ttl_ms, severity) in [(20_000, "ok"), (14_000, "warn"), (5_000, "error")] {
        database
            .run(0, &format!("update goku.leases set ttl_ms = {ttl_ms}"))
            .await;
        let found = check_store(&database.url());
        found.expect("evs.suspect_timeout", severity);
        found.expect("binlog_format", "ok");
        found.expect("connection", "ok");
    }
}

#[test]
fn a_file_is_looked_at_and_nothing_is_made() {
    let folder = TempDir::new().unwrap();
    let store = sqlite(&folder);
    let none = check(&["--store", &store]);
    none.expect("file", "ok");
    none.expect("disk", "ok");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

    let goku = Goku::serve(&["--store", &store]);
    for number in 0..200 {
        goku.run(&["set", &format!("k{number}"), &"v".repeat(500)]).done();
    }
    goku.run(&["consumers", "reset", "mailer", "--to", "1", "--create"])
        .done();
    let beside = check(&["--store", &store]);
    beside.expect("in_use", "ok");
    assert!(!beside.findings.contains_key("epoch"), "{:#?}", beside.findings);
    let asked = check(&["--store", &store, "--server", &goku.endpoint]);
    for name in ["server", "clock", "epoch", "cursors", "replicas"] {
        asked.expect(name, "ok");
    }
    goku.signal("TERM");
    goku.wait();
    check(&["--store", &store, "--server", "127.0.0.1:1", "--timeout", "1s"]).expect("server", "error");

    let whole = check(&["--store", &store]);
    for name in [
        "integrity",
        "format",
        "journal_mode",
        "log",
        "epoch",
        "cursors",
        "settings",
    ] {
        whole.expect(name, "ok");
    }
    let path = folder.path().join("goku.db");
    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    check(&["--store", &store]).expect("file", "warn");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8_192].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    check(&["--store", &store]).expect("integrity", "error");
}

/// A command that runs `command` where `folder` is a disk of its own with these options of mount; none where this machine does
/// not let it.
fn on_a_disk(disk: &str, folder: &Path, command: &Command) -> Option<Command> {
    let with_disk = |script: &str| {
        let mut shell = Command::new("unshare");
        shell.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
        shell.arg(format!("mount -t tmpfs -o {disk} goku \"$0\" && {script}"));
        shell.arg(folder);
        shell
    };
    let tried = with_disk("true").stderr(Stdio::null()).status();
    if !tried.is_ok_and(|status| status.success()) {
        println!("not run: this machine lets nobody mount a disk of their own");
        return None;
    }
    let mut shell = with_disk("exec \"$@\"");
    shell.arg(command.get_program()).args(command.get_args());
    shell.env("GOKU_LISTEN", "127.0.0.1:0");
    shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Some(shell)
}

#[test]
fn folders_that_cannot_be_written_and_disks_that_are_full_are_found() {
    let folder = TempDir::new().unwrap();
    let checking = command(&["--output", "json", "--store", &sqlite(&folder)]);
    for (disk, name, severity) in [
        ("ro", "file", "error"),
        ("size=16m", "disk", "error"),
        ("size=512m", "disk", "warn"),
    ] {
        let Some(mut command) = on_a_disk(disk, folder.path(), &checking) else {
            return;
        };
        Found::of(Run::of(command.spawn().unwrap())).expect(name, severity);
    }
}

#[test]
fn certificates_and_lists_are_judged_by_their_files() {
    let folder = TempDir::new().unwrap();
    let (servers, clients) = (Ca::new("Servers"), Ca::new("Clients"));
    let store = sqlite(&folder);
    let judged = |issued: &Issued, more: &[&str]| {
        let (cert, key) = issued.write(folder.path(), "server");
        let (cert, key) = (cert.display().to_string(), key.display().to_string());
        check(&[&["--store", &store, "--tls-cert", &cert, "--tls-key", &key], more].concat())
    };
    let now = Duration::from_millis(SystemClock.now().as_millis().unsigned_abs());
    let day = Duration::from_secs(24 * 3600);
    let good = servers.issue(Subject::server());
    judged(&good, &[]).expect("certificate", "ok");
    judged(&servers.issue(Subject::server().until(now + 7 * day)), &[]).expect("certificate", "warn");
    let expired = judged(&servers.issue(Subject::server().expired()), &[]);
    expired.expect("certificate", "error");
    assert!(expired.text("certificate", "message").contains("renewed"));
    let mut other_key = good.clone();
    other_key.key = servers.issue(Subject::server()).key;
    judged(&other_key, &[]).expect("certificate", "error");

    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        write_secret(&path, content);
        path.display().to_string()
    };
    let ca = file("ca.pem", &clients.certificate());
    let crl = file("crl.pem", &clients.revocation_list(&[]));
    let both = judged(&good, &["--tls-client-ca", &ca, "--tls-client-crl", &crl]);
    both.expect("client_ca", "ok");
    both.expect("client_crl", "ok");
    let old_list = file("old.pem", &clients.revocation_list_until(&[], 1_600_000_000));
    judged(&good, &["--tls-client-ca", &ca, "--tls-client-crl", &old_list]).expect("client_crl", "warn");
    let old_ca = file("old-ca.pem", &Ca::expired("Clients").certificate());
    judged(&good, &["--tls-client-ca", &old_ca]).expect("client_ca", "warn");

    let (cert, key) = good.write(folder.path(), "server");
    let (cert, key) = (cert.display().to_string(), key.display().to_string());
    let goku = Goku::serve(&["--store", "sqlite::memory:", "--tls-cert", &cert, "--tls-key", &key]);
    let listen = goku.endpoint.strip_prefix("https://").unwrap();
    judged(&good, &["--listen", listen]).expect("listen", "warn");
    let trusted = file("servers.pem", &servers.certificate());
    judged(&good, &["--listen", listen, "--ca", &trusted]).expect("listen", "ok");
}

#[test]
fn limits_of_the_process_and_addresses_are_judged() {
    let folder = TempDir::new().unwrap();
    let store = sqlite(&folder);
    let limited = |files: u32| {
        let checking = command(&["--output", "json", "--store", &store, "--connections-max", "1000"]);
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\"")]);
        shell.arg(checking.get_program()).args(checking.get_args());
        shell.env("GOKU_LISTEN", "127.0.0.1:0");
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Found::of(Run::of(shell.spawn().unwrap()))
    };
    for (files, severity) in [(1_064, "ok"), (1_063, "warn"), (100, "error")] {
        limited(files).expect("open_files", severity);
    }

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let with = |arguments: &[&str]| check(&[&["--store", &store], arguments].concat());
    let goku = Goku::start();
    let serves = goku.endpoint.strip_prefix("http://").unwrap().to_owned();
    for (listen, severity) in [
        ("127.0.0.1:0", "ok"),
        (&serves, "ok"),
        (&address, "error"),
        ("192.0.2.1:1", "error"),
    ] {
        with(&["--listen", listen]).expect("listen", severity);
    }
    with(&["--listen", "0.0.0.0:0"]).expect("plaintext", "error");
    with(&["--metrics-listen", &address]).expect("metrics_listen", "error");
    with(&["--metrics-listen", "127.0.0.1:0"]).expect("metrics_listen", "ok");
    with(&["--listen", &serves, "--metrics-listen", &address]).expect("metrics_listen", "ok");
}

#[test]
fn the_exit_code_tells_what_was_found_and_strict_takes_warnings() {
    let memory = ["--store", "sqlite::memory:"];
    check(&memory).expect("file", "warn");
    let code = |options: &[&str]| Run::of(command(&[&memory[..], options].concat()).spawn().unwrap()).code;
    assert_eq!(code(&[]), 0);
    assert_eq!(code(&["--strict"]), 2);
    assert_eq!(code(&["--strict", "--listen", "0.0.0.0:0"]), 1);

    // The same configuration as that of a server, with the same complaints.
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("goku.toml");
    fs::write(&config, "store = 'sqlite::memory:'\nlisten = '0.0.0.0:0'\n").unwrap();
    let config = config.display().to_string();
    let run = Run::of(binary().args(["check", "--config", &config]).spawn().unwrap());
    assert_eq!(run.code, 1, "{}", run.text());
    fs::write(&config, "listne = 'a:1'\n").unwrap();
    let wrong = Run::of(binary().args(["check", "--config", &config]).spawn().unwrap());
    assert!(wrong.failed(2).contains("did you mean `listen`?"));
}

#[test]
fn findings_are_lines_under_sections_and_have_colours_on_a_terminal() {
    let memory = ["--store", "sqlite::memory:"];
    let text = Run::of(command(&memory).spawn().unwrap()).done();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "Database");
    assert!(lines[1].starts_with("ok     version "), "{text}");
    assert!(
        lines[2].starts_with("warn   file ") && lines[2].contains("  → `--store sqlite:PATH`"),
        "{text}"
    );
    assert!(lines.contains(&"Server") && !text.contains('\x1b'), "{text}");
    let (code, shown) = Terminal::run(command(&memory)).end();
    assert!(code == 0 && shown.contains("\x1b[33mwarn \x1b[0m"), "{shown}");
    let mut plain = command(&memory);
    plain.env("NO_COLOR", "1");
    assert!(!Terminal::run(plain).end().1.contains("\x1b["));
}
