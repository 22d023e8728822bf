//! `config check`, `config print`, and the file of `serve`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::goku::{Goku, Run, binary};

/// A folder, and a configuration file in it.
struct File {
    folder: TempDir,
    path: PathBuf,
}

impl File {
    fn new(text: &str) -> File {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("goku.toml");
        put(&path, text, 0o600);
        File { folder, path }
    }

    /// Another file beside it.
    fn beside(&self, name: &str, text: &str, mode: u32) -> String {
        let path = self.folder.path().join(name);
        put(&path, text, mode);
        path.display().to_string()
    }

    /// A command with these arguments, which finds the file.
    fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Run {
        let mut command = binary();
        command
            .args(arguments)
            .env("GOKU_CONFIG", &self.path)
            .envs(variables.iter().copied());
        Run::of(command.spawn().unwrap())
    }

    fn run(&self, arguments: &[&str]) -> Run {
        self.run_with(arguments, &[])
    }

    /// What is wrong, a line each, of a command that fails for it; the file is called `f`.
    #[track_caller]
    fn problems(&self, arguments: &[&str]) -> Vec<String> {
        let run = self.run(arguments);
        assert_eq!((run.code, run.text().as_str()), (2, ""), "{}", run.stderr);
        let name = self.path.display().to_string();
        let lines = run
            .stderr
            .lines()
            .map(|line| line.strip_prefix("goku: ").unwrap().replace(&name, "f"));
        lines.collect()
    }

    /// The option of a key, as `config print` tells it.
    #[track_caller]
    fn option(&self, key: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Value {
        let print = [&["config", "print", "--output", "json"], arguments].concat();
        let options = self.run_with(&print, variables).json();
        options.into_iter().find(|option| option["key"] == key).unwrap()
    }
}

fn put(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn keys() -> Vec<String> {
    let options = File::new("").run(&["config", "print", "--output", "json"]).json();
    let keys = options.iter().map(|option| option["key"].as_str().unwrap().to_owned());
    keys.collect()
}

/// No option is a date, so each that is one is refused where it stands.
#[test]
fn every_option_that_has_a_wrong_type_is_told_with_its_place() {
    let keys = keys();
    assert!(keys.len() > 10, "{keys:?}");
    let file = File::new("");
    for key in &keys {
        fs::write(&file.path, format!("# a comment\n {key} = 2030-01-31\n")).unwrap();
        let problems = file.problems(&["config", "check"]);
        let place = format!("f:2:{}: `{key}` is ", key.len() + 5);
        assert!(
            problems.len() == 1 && problems[0].starts_with(&place),
            "{key}: {problems:?}"
        );
    }
    // All of them at once are all told, and a server tells the same.
    let all: String = keys.iter().map(|key| format!("{key} = 2030-01-31\n")).collect();
    fs::write(&file.path, all).unwrap();
    let told = file.problems(&["config", "check"]);
    assert_eq!(told.len(), keys.len(), "{told:#?}");
    assert_eq!(file.problems(&["serve"]), told);
    assert_eq!(file.problems(&["config", "print"]), told);
}

#[test]
fn values_that_an_option_does_not_take_are_told_with_their_place() {
    let file = File::new("");
    for (line, why) in [
        ("listen = '4700'", "f:1:10: `listen`: give it as ADDR:PORT"),
        ("advertise = 'somewhere'", "f:1:13: `advertise`: give it as ADDR:PORT"),
        ("store = 'postgres://u:hush@h/d'", "f:1:9: "),
        (
            "store_file = '/nowhere/at/all'",
            "f:1:14: cannot read /nowhere/at/all: ",
        ),
        ("deliver = 'later'", "f:1:11: `deliver`: it is one of visible, durable"),
        (
            "metrics.listen = '9100'",
            "f:1:18: `metrics.listen`: give it as ADDR:PORT",
        ),
        (
            "connections_max = 0",
            "f:1:19: `connections_max`: 0 is not in 1..=4294967295",
        ),
        (
            "metadata_bytes_max = 1",
            "f:1:22: `metadata_bytes_max`: 1 is not in 1024..=",
        ),
        (
            "in_flight_mib_max = -1",
            "f:1:21: `in_flight_mib_max`: -1 is not in 16..=",
        ),
        (
            "[auth]\ncertificate_name = 'ip'",
            "f:2:20: `auth.certificate_name`: it is one of any, uri, dns, common-name",
        ),
        (
            "[auth]\naddresses = [\n  '10.0.0.0/8=reader',\n  '10.0.0.7/8=reader',\n]",
            "f:4:3: `auth.addresses`: 10.0.0.7/8 has bits behind its prefix: write 10.0.0.0/8",
        ),
        (
            "auth.addresses = ['reader']",
            "f:1:19: `auth.addresses`: \"reader\" is no CIDR=ROLE",
        ),
        (
            "auth.addresses = ['10.0.0.0/8=a', '10.0.0.0/8=b']",
            "f:1:18: 10.0.0.0/8 has a role twice",
        ),
        (
            "auth.jwt.jwks_file = 'jwks.json'",
            "f:1:22: JWTs are taken of one issuer alone: give auth-jwt-issuer, too",
        ),
        (
            "[auth.jwt]\njwks_file = 'jwks.json'\nissuer = 'i'",
            "f:2:13: JWTs are taken for one audience alone",
        ),
        (
            "[auth]\njwt.audience = 'a'",
            "f:2:16: it has no effect without the keys of JWTs",
        ),
        ("[auth.jwt]\nissuer = ''", "f:2:10: `auth.jwt.issuer`: it is empty"),
        (
            "[auth.jwt]\njwks = 'jwks.json'",
            "f:2:1: unknown key `auth.jwt.jwks`: did you mean `auth.jwt.jwks_file`?",
        ),
        (
            "[auth]\njwt_issuer = 'i'",
            "f:2:1: unknown key `auth.jwt_issuer`: did you mean `auth.jwt.issuer`?",
        ),
        ("[log.auth]\na = 1", "f:1:6: unknown key `log.auth`"),
        (
            "calls_per_connection_max = 0",
            "f:1:28: `calls_per_connection_max`: 0 is not in 1..=1000000",
        ),
        (
            "first_bytes_seconds_max = 0",
            "f:1:27: `first_bytes_seconds_max`: 0 is not in 1..=3600",
        ),
        (
            "idle_seconds_max = 2592001",
            "f:1:20: `idle_seconds_max`: 2592001 is not in 0..=2592000",
        ),
        (
            "resets_per_second_max = 99",
            "f:1:25: `resets_per_second_max`: 99 is not in 100..=1000000",
        ),
        (
            "stream_window_kib = 63",
            "f:1:21: `stream_window_kib`: 63 is not in 64..=16384",
        ),
        (
            "connection_window_mib = 1025",
            "f:1:25: `connection_window_mib`: 1025 is not in 1..=1024",
        ),
        (
            "stream_window_kib = 1000\nconnection_window_mib = 1",
            "f:2:25: it is less than twice the window of a stream, which has 1000 KiB: give 2 or more",
        ),
        ("log.filter = 'goku=loud'", "f:1:14: `log.filter`: `goku=loud`: "),
        ("log.format = 'xml'", "f:1:14: `log.format`: it is one of text, json"),
        ("tls.cert = 'c.pem'", "f:1:12: the certificate needs its private key"),
        ("tls.key = 'k.pem'", "f:1:11: the private key needs its certificate"),
        ("tls.client_ca = 'ca.pem'", "f:1:17: it has no effect without TLS"),
        (
            "tls.client_auth = 'maybe'",
            "f:1:19: `tls.client_auth`: it is one of none, optional, required",
        ),
        (
            "tls.cert = 'c.pem'\ntls.key = 'k.pem'\ntls.client_crl = 'crl.pem'",
            "f:3:18: it has no effect without the CAs of clients",
        ),
        (
            "tls.cert = 'c.pem'\ntls.key = 'k.pem'\ntls.client_auth = 'required'",
            "f:3:19: it takes the CAs that issue certificates to clients",
        ),
        (
            "tls.cert = 'c.pem'\ntls.key = 'k.pem'\nmetrics.tls_client_auth = 'optional'",
            "f:3:27: it takes the CAs that issue certificates to clients",
        ),
        (
            "tls.cert = 'c.pem'\ntls.key = 'k.pem'\ntls.client_ca = 'ca.pem'\ntls.client_auth = 'none'",
            "f:3:17: clients are not asked for certificates",
        ),
        (
            "metrics.tls_client_auth = 'none'",
            "f:1:27: it has no effect without TLS",
        ),
        ("listen = ", "f:1:"),
        ("listen = 'a:1'\nlisten = 'b:1'", "f:2:1: duplicate key"),
        ("config = 'other.toml'", "f:1:1: unknown key `config`"),
        ("listne = 'a:1'", "f:1:1: unknown key `listne`: did you mean `listen`?"),
        (
            "[log]\nfliter = 'warn'",
            "f:2:1: unknown key `log.fliter`: did you mean `log.filter`?",
        ),
        (
            "log-filter = 'warn'",
            "f:1:1: unknown key `log-filter`: did you mean `log.filter`?",
        ),
    ] {
        fs::write(&file.path, line).unwrap();
        let problems = file.problems(&["config", "check"]);
        assert!(
            problems.len() == 1 && problems[0].starts_with(why),
            "{line}: {problems:?}"
        );
        assert!(!problems[0].contains("hush"), "{problems:?}");
    }
}

#[test]
fn what_is_wrong_is_told_in_json_too() {
    let file = File::new("listne = 1\nlog.keys = 1");
    let run = file.run(&["config", "check", "--output", "json"]);
    assert_eq!(run.code, 2);
    let told: Vec<Value> = run
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(told.len(), 2);
    let message = format!(
        "{}:2:12: `log.keys` is true or false, not a whole number",
        file.path.display()
    );
    assert_eq!(
        told[1],
        json!({ "error": "config", "exit_code": 2, "message": message })
    );
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    let file = File::new("");
    let nowhere = file.folder.path().join("nowhere").display().to_string();
    let folder = file.folder.path().display().to_string();
    for path in [nowhere, folder] {
        let problems = file.problems(&["config", "check", "--config", &path]);
        assert!(
            problems[0].starts_with(&format!("{path}: cannot be read: ")),
            "{problems:?}"
        );
    }
    fs::write(&file.path, b"listen = '\xff'").unwrap();
    assert!(file.problems(&["serve"])[0].starts_with("f: cannot be read: "));
    fs::write(&file.path, "#".repeat(1024 * 1024 + 1)).unwrap();
    assert_eq!(file.problems(&["serve"]), ["f: has more than 1048576 bytes"]);
}

#[test]
fn a_file_that_is_right_is_told_so() {
    let file = File::new("listen = '127.0.0.1:0'\n[log]\nfilter = 'warn'\n");
    let path = file.path.display().to_string();
    assert_eq!(file.run(&["config", "check"]).done(), format!("ok\t{path}\n"));
    let told = file.run(&["config", "check", "--output", "json"]).json();
    assert_eq!(told, [json!({ "ok": true, "file": path })]);
    let run = Run::of(binary().args(["config", "check"]).spawn().unwrap());
    assert_eq!(run.done(), "ok\tno file was named\n");
}

#[test]
fn a_flag_counts_before_a_variable_and_that_before_the_file() {
    let file = File::new("\nlisten = '127.0.0.1:1'\nshare_database = true\nlog.keys = false\n");
    let path = file.path.display().to_string();
    let option =
        |value: Value, origin: &str, at: Value| json!({ "key": "listen", "value": value, "origin": origin, "at": at });
    let variable = [("GOKU_LISTEN", "127.0.0.1:2")];
    let flag = ["--listen", "127.0.0.1:3"];
    assert_eq!(
        file.option("listen", &flag, &variable),
        option("127.0.0.1:3".into(), "flag", "--listen".into())
    );
    assert_eq!(
        file.option("listen", &[], &variable),
        option("127.0.0.1:2".into(), "variable", "GOKU_LISTEN".into())
    );
    let in_file = option("127.0.0.1:1".into(), "file", format!("{path}:2").into());
    assert_eq!(file.option("listen", &[], &[]), in_file);
    // A variable that is set and empty is not set.
    assert_eq!(file.option("listen", &[], &[("GOKU_LISTEN", "")]), in_file);
    assert_eq!(
        file.option("listen", &["--config", "/dev/null"], &[]),
        option("127.0.0.1:4658".into(), "default", Value::Null)
    );

    assert_eq!(file.option("share_database", &[], &[])["value"], true);
    let off = file.option("share_database", &[], &[("GOKU_SHARE_DATABASE", "false")]);
    assert_eq!((&off["value"], &off["origin"]), (&json!(false), &json!("variable")));
    assert_eq!(file.option("log.keys", &["--log-keys", "true"], &[])["value"], true);
    // What may be repeated is a list wherever it comes from.
    let addresses = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut option = file.option("auth.addresses", arguments, variables);
        (option["value"].take(), option["origin"].take())
    };
    let two = json!(["10.0.0.0/8=a", "::1/128=b"]);
    let variable = [("GOKU_AUTH_ADDRESSES", "10.0.0.0/8=a,::1/128=b")];
    assert_eq!(addresses(&[], &variable), (two.clone(), "variable".into()));
    let flags = ["--auth-addresses", "10.0.0.0/8=a", "--auth-addresses", "::1/128=b"];
    assert_eq!(addresses(&flags, &[]), (two, "flag".into()));
    assert_eq!(addresses(&[], &[]), (json!([]), "not set".into()));
    let unset = file.option("advertise", &[], &[]);
    assert_eq!((&unset["value"], &unset["origin"]), (&Value::Null, &json!("not set")));
}

#[test]
fn the_filter_of_the_log_has_variables_by_older_names() {
    let file = File::new("log.filter = 'error'");
    for (variables, value, at) in [
        (&[("RUST_LOG", "warn")][..], "warn", "RUST_LOG"),
        (&[("RUST_LOG", "warn"), ("GOKU_LOG", "debug")], "debug", "GOKU_LOG"),
        (
            &[("GOKU_LOG", "debug"), ("GOKU_LOG_FILTER", "trace")],
            "trace",
            "GOKU_LOG_FILTER",
        ),
        // Made for another program: it does not count.
        (&[("RUST_LOG", "[span]=info")], "error", ""),
    ] {
        let told = file.option("log.filter", &[], variables);
        assert_eq!(told["value"], value, "{variables:?}");
        assert!(told["at"].as_str().unwrap().contains(at), "{told}");
    }
}

#[test]
fn what_is_printed_is_a_file_of_the_same_options() {
    let text = "deliver = \"durable\"\nauth.addresses = ['10.0.0.0/8=a', '::1/128=b']\nconnections_max = 7\nstore = 'sqlite:a \"b\" \\ ü.db'\n[auth.jwt]\njwks_file = 'k'\nissuer = 'i'\naudience = 'a'\n[log]\nfilter = \"warn\"\n";
    let file = File::new(text);
    for origin in [&[][..], &["--origin"]] {
        let printed = file
            .run(&[&["config", "print", "--listen", "127.0.0.1:9"], origin].concat())
            .done();
        let again = File::new(&printed);
        assert_eq!(again.run(&[&["config", "print"], &[][..]].concat()).done(), {
            file.run(&["config", "print", "--listen", "127.0.0.1:9"]).done()
        });
    }
    let printed = file.run(&["config", "print", "--origin"]).done();
    let path = file.path.display();
    for line in [
        "listen = \"127.0.0.1:4658\"  # default".to_owned(),
        format!("deliver = \"durable\"  # file {path}:1"),
        format!("connections_max = 7  # file {path}:3"),
        format!("addresses = [\"10.0.0.0/8=a\", \"::1/128=b\"]  # file {path}:2"),
        "#advertise = \"ADDR:PORT\"  # not set".to_owned(),
        format!("\n[log]\nfilter = \"warn\"  # file {path}:10"),
        format!("\n[auth.jwt]\njwks_file = \"k\"  # file {path}:6"),
    ] {
        assert!(printed.contains(&line), "{line} in\n{printed}");
    }
}

#[test]
fn a_server_takes_its_options_from_the_file() {
    let file = File::new("");
    let store = format!("sqlite:{}", file.folder.path().join("of file.db").display());
    fs::write(
        &file.path,
        format!("store = \"{store}\"\nmetrics.listen = '127.0.0.1:0'\n"),
    )
    .unwrap();
    let goku = Goku::serve(&["--config", file.path.to_str().unwrap()]);
    assert!(goku.banner.contains("metrics at http://127.0.0.1:"), "{}", goku.banner);
    assert!(goku.banner.ends_with(&format!("store {store}\n")), "{}", goku.banner);
}

#[test]
fn a_secret_comes_from_a_file_that_others_cannot_read_and_is_not_shown() {
    let file = File::new("");
    let url = "mysql://root:hush@127.0.0.1:1/goku";
    let secret = file.beside("secret", &format!("{url}\n"), 0o640);
    fs::write(&file.path, format!("store_file = '{secret}'\n")).unwrap();
    let path = file.path.display().to_string();
    let credentials = file.folder.path().display().to_string();
    let credential = [
        ("CREDENTIALS_DIRECTORY", credentials.as_str()),
        ("GOKU_STORE_FILE", "credential:secret"),
    ];
    let mut shown = String::new();
    for run in [
        file.run(&["config", "check"]),
        file.run_with(&["config", "check"], &credential),
        file.run(&["config", "print", "--origin"]),
        file.run_with(&["config", "print", "--origin"], &[("GOKU_STORE", url)]),
        file.run_with(&["config", "print", "--output", "json"], &[("GOKU_STORE", url)]),
    ] {
        shown += &run.done();
    }
    assert!(!shown.contains("hush"), "{shown}");
    assert!(
        shown.contains(&format!("store_file = \"{secret}\"  # file {path}:1")),
        "{shown}"
    );
    // What is told on the nearer place counts.
    assert!(
        shown.contains("store = \"mysql://root:***@127.0.0.1:1/goku\"  # variable GOKU_STORE"),
        "{shown}"
    );

    // It is what the server opens.
    let run = file.run(&["serve", "--listen", "127.0.0.1:0"]);
    let complaint = run.stderr.lines().last().unwrap().to_owned();
    assert_eq!(run.code, 5, "{}", run.stderr);
    assert!(
        complaint.contains("mysql://root:***@127.0.0.1:1/goku") && !run.stderr.contains("hush"),
        "{complaint}"
    );

    fs::set_permissions(&secret, Permissions::from_mode(0o644)).unwrap();
    let refused = file.problems(&["config", "check"]);
    assert_eq!(
        refused,
        [format!(
            "f:1:14: others can read {secret}, which holds a secret: take their rights with `chmod o= {secret}`"
        )]
    );
    put(Path::new(&secret), "hush", 0o600);
    let refused = file.problems(&["config", "check"]);
    assert!(
        refused[0].starts_with("f:1:14: ") && !refused[0].contains("hush"),
        "{refused:?}"
    );
    let run = file.run_with(&["config", "check"], &[("GOKU_STORE_FILE", "credential:secret")]);
    assert!(run.failed(2).contains("LoadCredential=secret:PATH"));
}

#[test]
fn a_secret_is_given_once_and_not_in_a_file_that_others_can_read() {
    let file = File::new("store = 'mysql://root:hush@127.0.0.1:1/goku'\nstore_file = 'secret'\n");
    assert_eq!(
        file.problems(&["config", "check"]),
        ["f:2:14: `store_file` and `store` are both given: keep one of them"]
    );
    put(&file.path, "store = 'mysql://root:hush@127.0.0.1:1/goku'", 0o644);
    assert_eq!(
        file.problems(&["config", "check"]),
        [
            "f:1:9: `store` is a secret and others can read this file: take their rights with `chmod o=`, or use `store_file`"
        ]
    );
    // A path is no secret.
    put(&file.path, "store = 'sqlite:goku.db'", 0o644);
    file.run(&["config", "check"]).done();
}
