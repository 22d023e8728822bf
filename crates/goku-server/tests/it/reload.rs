//! A configuration that is read again by a running server.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::goku::{Goku, binary};
use crate::log_lines::LogLines;

/// A server with a configuration file, and its log.
struct Reloading {
    goku: Goku,
    log: LogLines,
    path: PathBuf,
    _folder: TempDir,
}

impl Reloading {
    fn start(text: &str) -> Reloading {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("goku.toml");
        fs::write(&path, text).unwrap();
        let (writer, log) = LogLines::pipe();
        let mut command = binary();
        command
            .args(["serve", "--store", "sqlite::memory:", "--config"])
            .arg(&path)
            .stderr(writer);
        Reloading {
            goku: Goku::run_with_log(command),
            log,
            path,
            _folder: folder,
        }
    }

    fn put(&self, text: &str) {
        fs::write(&self.path, text).unwrap();
    }

    /// What `goku config reload` tells.
    #[track_caller]
    fn reload(&self) -> (Value, Value) {
        let told = self
            .goku
            .run(&["config", "reload", "--output", "json"])
            .json()
            .remove(0);
        assert_eq!(told["endpoint"], self.goku.endpoint);
        (told["changed"].clone(), told["needs_restart"].clone())
    }
}

#[test]
fn a_server_takes_what_it_can_and_tells_what_needs_a_restart() {
    let mut server = Reloading::start("log.filter = 'info'\n");
    assert_eq!(server.reload(), (json!([]), json!([])));
    server.put(
        "deliver = 'durable'\nconnections_max = 100\nidle_seconds_max = 60\nin_flight_mib_max = 16\nlog.filter = 'goku_server=debug,info'\nlog.format = 'json'\n",
    );
    assert_eq!(
        server.reload(),
        (
            json!([
                "connections_max",
                "idle_seconds_max",
                "in_flight_mib_max",
                "log.filter",
                "log.format"
            ]),
            json!(["deliver"])
        )
    );
    // The line that tells of it is of the new format.
    let told = server
        .log
        .until(|line| line.starts_with('{') && line.contains("once the server is started again"));
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["level"], "WARN");
    assert_eq!(told["needs_restart"], "[\"deliver\"]");
    // What needs a restart still does, though nothing has changed since.
    assert_eq!(server.reload(), (json!([]), json!(["deliver"])));
    server.put("log.filter = 'info'\n");
    let text = server.goku.run(&["config", "reload"]).done();
    let endpoint = &server.goku.endpoint;
    assert_eq!(
        text,
        format!(
            "reloaded\t{endpoint}\nchanged\tconnections_max\nchanged\tidle_seconds_max\nchanged\tin_flight_mib_max\n\
             changed\tlog.filter\nchanged\tlog.format\n"
        )
    );
}

#[test]
fn a_signal_has_the_file_read_again_and_the_log_tells_what_came_of_it() {
    let mut server = Reloading::start("");
    server.put("log.filter = 'goku=debug,info'\n");
    server.goku.signal("HUP");
    server
        .log
        .until(|line| line.contains(" INFO ") && line.contains("changed=[\"log.filter\"]"));
    server.put("listen = 'nowhere'\nlog.filter = 'error'\nfoo = 1\n");
    server.goku.signal("HUP");
    let told = server.log.until(|line| line.contains(" ERROR "));
    let path = server.path.display();
    assert!(told.contains("nothing has changed"), "{told}");
    assert!(
        told.contains(&format!("{path}:1:10: `listen`: ")) && told.contains(&format!("{path}:3:1: unknown key `foo`")),
        "{told}"
    );
    // The filter is the one before: a level of error would not tell of the end.
    server.goku.signal("TERM");
    server
        .log
        .until(|line| line.contains(" INFO ") && line.contains("stopped"));
    assert_eq!(server.goku.wait().0, 0);
}

#[test]
fn a_file_that_is_wrong_changes_nothing_and_its_caller_is_told() {
    let server = Reloading::start("");
    server.put("connections_max = 100\nlog.keys = 'yes'\n");
    let complaint = server.goku.run(&["config", "reload"]).failed(1);
    let place = format!(
        "{}:2:12: `log.keys` is true or false, not a text",
        server.path.display()
    );
    assert!(complaint.contains(&place), "{complaint}");
    server.put("");
    assert_eq!(server.reload(), (json!([]), json!([])));
    fs::remove_file(&server.path).unwrap();
    assert!(
        server
            .goku
            .run(&["config", "reload"])
            .failed(1)
            .contains("cannot be read")
    );
    server.goku.run(&["status"]).done();
}

/// The store is a secret, which is compared all the same.
#[test]
fn another_store_in_the_file_of_the_secret_needs_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    let put = |text: &str| {
        fs::write(&secret, text).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&secret, mode).unwrap();
    };
    put("sqlite::memory:");
    let goku = Goku::serve(&["--store-file", secret.to_str().unwrap()]);
    put("sqlite:other.db");
    let told = goku.run(&["config", "reload", "--output", "json"]).json();
    assert_eq!(told[0]["needs_restart"], json!(["store"]));
}
