//! A server under a supervisor that listens to systemd's notifications.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::goku::{Goku, binary};

/// How long a notification may take to come before it counts as missing.
const NOTIFICATION_MAX: Duration = Duration::from_secs(60);

/// What a supervisor hears from what it started.
struct Supervisor {
    folder: TempDir,
    socket: UnixDatagram,
}

impl Supervisor {
    fn new() -> Supervisor {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(NOTIFICATION_MAX)).unwrap();
        Supervisor { folder, socket }
    }

    fn socket(&self) -> std::path::PathBuf {
        self.folder.path().join("notify")
    }

    /// The next notification, as lines.
    #[track_caller]
    fn hears(&self) -> String {
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    /// Passes over what is not asked for, up to a notification with this line.
    #[track_caller]
    fn hears_at_last(&self, line: &str) -> String {
        loop {
            let heard = self.hears();
            if heard.lines().any(|heard| heard == line) {
                return heard;
            }
        }
    }
}

fn serve(socket: &Path) -> Command {
    let mut command = binary();
    command
        .args(["serve", "--store", "sqlite::memory:"])
        .env("NOTIFY_SOCKET", socket);
    command
}

#[test]
fn a_supervisor_hears_when_a_server_is_ready_and_when_it_stops() {
    let supervisor = Supervisor::new();
    let goku = Goku::run_by(serve(&supervisor.socket()));
    let ready = supervisor.hears();
    let status = format!("STATUS=listening on {}, store sqlite::memory:", goku.endpoint);
    assert_eq!(ready.lines().collect::<Vec<_>>(), ["READY=1", &status]);
    goku.signal("TERM");
    assert_eq!(supervisor.hears().lines().next(), Some("STOPPING=1"));
    assert_eq!(goku.wait().0, 0);
}

#[test]
fn the_watchdog_of_a_server_that_works_is_fed() {
    let supervisor = Supervisor::new();
    let mut command = serve(&supervisor.socket());
    command.env("WATCHDOG_USEC", "300000");
    let goku = Goku::run_by(command);
    for _ in 0..3 {
        supervisor.hears_at_last("WATCHDOG=1");
    }
    goku.signal("TERM");
    supervisor.hears_at_last("STOPPING=1");
    assert_eq!(goku.wait().0, 0);
}

#[test]
fn a_server_serves_though_its_supervisor_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let goku = Goku::run_by(serve(&folder.path().join("nobody")));
    goku.run(&["set", "k", "v"]).done();
    goku.signal("TERM");
    assert_eq!(goku.wait().0, 0);
}
