//! What a server promises from its start to its end.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, process};

use goku_mariadbd::{Dialect, ErrorKind, Installation, Options, Server};

/// Set in the copy of this test program that is to die with a running server.
const DIE: &str = "GOKU_MARIADBD_DIE";

const END_TIMEOUT: Duration = Duration::from_secs(30);

#[test]
fn a_dropped_server_leaves_nothing() {
    let server = Server::start(Options::default()).unwrap();
    let (folder, process) = (server.folder().to_owned(), process_id(&server));
    assert!(is_greeted(server.port()));
    assert!(is_running(process));

    drop(server);
    assert!(!is_running(process));
    assert!(!folder.exists());
}

#[test]
fn a_killed_server_comes_back_on_its_port_and_data() {
    let server = Server::start(Options::default()).unwrap();
    let (port, process) = (server.port(), process_id(&server));
    let kept = server.folder().join("data/kept");
    std::fs::write(&kept, "").unwrap();

    server.kill().unwrap();
    assert!(!is_running(process));
    server.kill().unwrap();
    assert_eq!(server.pause().unwrap_err().kind(), ErrorKind::NotRunning);

    server.restart().unwrap();
    assert_eq!(server.port(), port);
    assert!(is_greeted(port));
    assert!(kept.exists());
}

#[test]
fn a_server_is_run_by_a_command_in_its_folder() {
    let runner = ["sh", "-c", r#"echo run >>runs && exec "$@""#, "sh"];
    let server = Server::start(Options {
        runner: runner.map(str::to_owned).to_vec(),
        ..Options::default()
    })
    .unwrap();
    assert!(server.is_running().unwrap());
    server.kill().unwrap();
    assert!(!server.is_running().unwrap());
    assert!(!is_greeted(server.port()));
    server.restart().unwrap();
    let runs = std::fs::read_to_string(server.folder().join("runs")).unwrap();
    assert_eq!(runs, "run\nrun\n");
}

#[test]
fn data_of_an_earlier_time_can_be_put_back() {
    let server = Server::start(Options::default()).unwrap();
    assert_eq!(server.save_data().unwrap_err().kind(), ErrorKind::Running);
    server.shut_down().unwrap();
    server.shut_down().unwrap();
    let saved = server.save_data().unwrap();
    let later = server.folder().join("data/later");
    std::fs::write(&later, "").unwrap();
    server.restart().unwrap();
    assert_eq!(server.put_back(&saved).unwrap_err().kind(), ErrorKind::Running);
    assert!(later.exists());

    server.kill().unwrap();
    server.put_back(&saved).unwrap();
    server.restart().unwrap();
    assert!(!later.exists());
    assert!(is_greeted(server.port()));
}

#[test]
fn a_restart_waits_until_its_port_is_free() {
    let server = Server::start(Options::default()).unwrap();
    server.kill().unwrap();
    let squatter = std::net::TcpListener::bind(("127.0.0.1", server.port())).unwrap();
    let log_start = std::fs::read(server.log()).unwrap().len();

    std::thread::scope(|scope| {
        let restart = scope.spawn(|| server.restart());
        wait_until("the server met the taken port", || {
            let log = std::fs::read(server.log()).unwrap();
            String::from_utf8_lossy(&log[log_start..]).contains("Address already in use")
        });
        drop(squatter);
        restart.join().unwrap().unwrap();
    });
    assert!(is_greeted(server.port()));
}

#[test]
fn a_paused_server_is_silent_until_it_is_resumed() {
    let server = Server::start(Options::default()).unwrap();
    server.pause().unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(stream.read_exact(&mut [0; 5]).is_err());

    server.resume().unwrap();
    stream.set_read_timeout(Some(END_TIMEOUT)).unwrap();
    stream.read_exact(&mut [0; 5]).unwrap();
}

#[test]
fn a_paused_server_can_be_killed() {
    let server = Server::start(Options::default()).unwrap();
    server.pause().unwrap();
    server.pause().unwrap();
    server.kill().unwrap();
    server.restart().unwrap();
    assert!(is_greeted(server.port()));
}

#[test]
fn a_server_that_cannot_start_shows_the_end_of_its_log() {
    let options = Options {
        arguments: vec!["--no-such-option".to_owned()],
        ..Options::default()
    };
    let error = Server::start(options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotReady);
    assert!(
        error.to_string().contains("unknown option '--no-such-option'"),
        "{error}"
    );
}

#[test]
fn a_server_that_is_late_is_an_error() {
    let options = Options {
        start_timeout: Duration::ZERO,
        ..Options::default()
    };
    let error = Server::start(options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotReady);
    assert!(error.to_string().contains("did not answer within 0ns"), "{error}");
}

/// Those that `cargo xtask engines` has unpacked; where it has not, there is nothing to look at.
#[test]
fn unpacked_servers_start_and_survive_a_kill() {
    let engines = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/engines");
    for (name, dialect) in [("mariadb11", Dialect::MariaDb), ("mysql", Dialect::MySql)] {
        let Ok(installation) = Installation::unpacked(&engines.join(name), dialect) else {
            println!("{name} is not unpacked");
            continue;
        };
        let server = Server::start(Options {
            installation: Some(installation),
            ..Options::default()
        });
        let server = server.unwrap();
        server.kill().unwrap();
        server.restart().unwrap();
        assert!(is_greeted(server.port()));
        server.shut_down().unwrap();
        server.restart().unwrap();
        assert!(is_greeted(server.port()));
    }
}

/// A program that is aborted runs no destructor, and a server in a static has none either.
#[test]
fn a_server_goes_with_the_process_that_started_it() {
    if env::var_os(DIE).is_some() {
        let server = Server::start(Options::default()).unwrap();
        println!("\nDYING {} {}", process_id(&server), server.folder().display());
        process::abort();
    }

    let mut child = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "server::a_server_goes_with_the_process_that_started_it",
            "--nocapture",
        ])
        .env(DIE, "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let last_words = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap)
        .find_map(|line| line.strip_prefix("DYING ").map(str::to_owned))
        .unwrap();
    let (process, folder) = last_words.split_once(' ').unwrap();
    let (process, folder) = (process.parse().unwrap(), PathBuf::from(folder));
    assert!(!child.wait().unwrap().success());

    wait_until("the server and its folder are gone", || {
        !is_running(process) && !folder.exists()
    });
}

fn process_id(server: &Server) -> u32 {
    let file = server.folder().join("pid");
    std::fs::read_to_string(file).unwrap().trim().parse().unwrap()
}

fn is_running(process: u32) -> bool {
    let status = std::fs::read_to_string(Path::new("/proc").join(process.to_string()).join("status"));
    status.is_ok_and(|status| !status.contains("State:\tZ"))
}

fn is_greeted(port: u16) -> bool {
    let mut packet = [0; 5];
    TcpStream::connect(("127.0.0.1", port))
        .and_then(|mut stream| stream.read_exact(&mut packet))
        .is_ok_and(|()| packet[4] == 10)
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + END_TIMEOUT;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {END_TIMEOUT:?}");
        std::thread::yield_now();
    }
}
