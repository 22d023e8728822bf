//! A server on a SQLite file, killed and out of space.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use goku::{Client, ErrorKind, Event, SetRequest};
use goku_grpc::GrpcClient;
use goku_testkit::probe::{PATIENCE, key, set, soon};
use goku_testkit::workload::{Load, Workload};
use goku_testkit::{Probe, Random};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::goku::{Goku, Run, binary};

/// How often the server is killed.
const KILLS: usize = 12;

const KIB: usize = 1024;

/// The disk that runs full.
const DISK_KIB: usize = 24 * KIB;

/// What is taken of it, and given back.
const BALLAST_KIB: usize = 12 * KIB;

/// Values that fill the rest of it soon.
const VALUE_BYTES: usize = 200 * KIB;

fn store(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("goku.db").display())
}

fn client(goku: &Goku) -> GrpcClient {
    GrpcClient::connect(&goku.endpoint).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_at_any_write_loses_nothing() {
    let mut random = Random::from_environment();
    let mut chance = random.fork();
    let folder = TempDir::new().unwrap();
    let store = store(folder.path());
    let mut goku = Goku::serve(&["--store", &store]);
    let address = goku.endpoint.strip_prefix("http://").unwrap().to_owned();
    let client: Arc<dyn Client> = Arc::new(client(&goku).request_timeout(Some(PATIENCE)));
    let workload = Workload::start(&[client], Load::default(), &mut random);
    for _ in 0..KILLS {
        sleep(chance.between(Duration::from_millis(30), Duration::from_millis(400))).await;
        // Its death.
        drop(goku);
        goku = Goku::serve(&["--store", &store, "--listen", &address]);
    }
    workload.finish_and_check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_on_the_file_is_refused_until_the_first_is_dead() {
    let folder = TempDir::new().unwrap();
    let store = store(folder.path());
    let first = Goku::serve(&["--store", &store]);
    let probe = Probe::new(Arc::new(client(&first)));
    probe.put("k", "v").await;
    let mut second = binary();
    second.args(["serve", "--store", &store, "--listen", "127.0.0.1:0"]);
    let refused = tokio::task::spawn_blocking(move || Run::of(second.spawn().unwrap()));
    let refused = refused.await.unwrap();
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("in use by another goku"), "{}", refused.stderr);
    assert_eq!(probe.put("k", "w").await.version.get(), 2);
    drop(first);
    let second = Goku::serve(&["--store", &store]);
    let probe = Probe::new(Arc::new(client(&second)));
    assert_eq!(probe.read("k").await.unwrap().value, "w");
}

/// How a server ends that must not start.
async fn refused(store: String, folder: &Path) -> String {
    let mut serve = binary();
    serve
        .current_dir(folder)
        .args(["serve", "--store", &store, "--listen", "127.0.0.1:0"]);
    let run = tokio::task::spawn_blocking(move || Run::of(serve.spawn().unwrap()))
        .await
        .unwrap();
    assert_ne!(run.code, 0, "{}", run.stderr);
    run.stderr
}

/// Two servers on one file lose what they acknowledge.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_is_refused_by_whatever_name_it_opens_the_file() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("goku.db");
    // The first server makes what it points to.
    symlink("goku.db", folder.path().join("link.db")).unwrap();
    let first = Goku::serve(&[
        "--store",
        &format!("sqlite:{}", folder.path().join("link.db").display()),
    ]);
    let probe = Probe::new(Arc::new(client(&first)));
    probe.put("k", "v").await;
    std::fs::create_dir(folder.path().join("other")).unwrap();
    std::fs::hard_link(&path, folder.path().join("other/hard.db")).unwrap();
    for name in ["goku.db", "./goku.db", "link.db", "other/../goku.db", "other/hard.db"] {
        let stderr = refused(format!("sqlite:{name}"), folder.path()).await;
        assert!(stderr.contains("in use by another goku"), "{name}: {stderr}");
    }
    let stderr = refused("sqlite:file:goku.db".to_owned(), folder.path()).await;
    assert!(stderr.contains("not by a URI"), "{stderr}");
    assert_eq!(probe.put("k", "w").await.version.get(), 2);
    // Killed: what it wrote last is in the log beside the name that it had.
    drop(first);
    let stderr = refused("sqlite:other/hard.db".to_owned(), folder.path()).await;
    assert!(stderr.contains("2 names"), "{stderr}");
    std::fs::remove_file(folder.path().join("other/hard.db")).unwrap();
    let second = Goku::serve(&["--store", &store(folder.path())]);
    let probe = Probe::new(Arc::new(client(&second)));
    assert_eq!(probe.read("k").await.unwrap().value, "w");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_ends_when_its_file_is_replaced_and_acknowledges_nothing_more() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("goku.db");
    let aside = folder.path().join("aside.db");
    let first = Goku::serve(&["--store", &store(folder.path())]);
    let client = client(&first);
    let probe = Probe::new(Arc::new(client.clone()));
    probe.put("k", "v").await;
    std::fs::rename(&path, &aside).unwrap();
    std::fs::write(&path, "").unwrap();
    let error = client
        .request_timeout(Some(Duration::from_secs(2)))
        .set(set("k", "w"))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error.kind(),
            ErrorKind::Config | ErrorKind::Stopped | ErrorKind::Unavailable
        ),
        "{error:?}"
    );
    let (code, _) = tokio::task::spawn_blocking(move || first.wait()).await.unwrap();
    assert_ne!(code, 0);
    std::fs::rename(&aside, &path).unwrap();
    let second = Goku::serve(&["--store", &store(folder.path())]);
    let probe = Probe::new(Arc::new(self::client(&second)));
    assert_eq!(probe.read("k").await.unwrap().value, "v");
    assert_eq!(probe.log("").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_gokus_is_refused_and_nothing_is_left_beside_it() {
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    std::fs::write(folder.path().join("text"), "no database ".repeat(100)).unwrap();
    let foreign = goku::consumer::sqlite::rusqlite::Connection::open(folder.path().join("foreign.db")).unwrap();
    foreign.execute_batch("create table accounts (id)").unwrap();
    drop(foreign);
    for (name, says) in [
        ("folder", "is a folder: name a file in it"),
        ("text", "not a database"),
        ("foreign.db", "--share-database"),
    ] {
        let stderr = refused(format!("sqlite:{name}"), folder.path()).await;
        assert!(stderr.contains(says), "{name}: {stderr}");
    }
    let names = std::fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<_> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["folder", "foreign.db", "text"]);
    let share = [
        "--store",
        &format!("sqlite:{}", folder.path().join("foreign.db").display()),
        "--share-database",
    ];
    let goku = Goku::serve(&share);
    Probe::new(Arc::new(client(&goku))).put("k", "v").await;
}

/// A command that runs `command` where `folder` is a small disk of its own; none where this machine does not let it.
fn on_a_small_disk(folder: &Path, command: &Command) -> Option<Command> {
    let with_disk = |script: &str| {
        let mut shell = Command::new("unshare");
        shell.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
        shell.arg(format!("mount -t tmpfs -o size={DISK_KIB}k goku \"$0\" && {script}"));
        shell.arg(folder);
        shell
    };
    let tried = with_disk("true").stderr(Stdio::null()).status();
    if !tried.is_ok_and(|status| status.success()) {
        return None;
    }
    let mut shell = with_disk("exec \"$@\"");
    shell.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.stdin(Stdio::null()).stdout(Stdio::piped());
    Some(shell)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_loses_nothing_and_is_written_again_when_it_has_space() {
    let folder = TempDir::new().unwrap();
    let store = store(folder.path());
    let mut serve = binary();
    serve.args(["serve", "--store", &store]);
    let Some(serve) = on_a_small_disk(folder.path(), &serve) else {
        println!("not run: this machine lets nobody mount a disk of their own");
        return;
    };
    let goku = Goku::run_by(serve);
    let probe = Probe::new(Arc::new(client(&goku)));
    // The disk is seen from outside by way of the process.
    let inside = format!("/proc/{}/root{}", goku.id(), folder.path().display());
    let ballast = Path::new(&inside).join("ballast");
    write_ballast(&ballast);

    let patient = client(&goku).request_timeout(Some(Duration::from_secs(1)));
    let mut acknowledged = Vec::new();
    let mut refused = Vec::new();
    // More than fits.
    for number in 0..2 * DISK_KIB * KIB / VALUE_BYTES {
        let request = large(number);
        match patient.set(request).await {
            Ok(entry) => acknowledged.push((number, entry.updated_ref)),
            Err(error) => {
                let kind = error.kind();
                assert!(
                    matches!(kind, ErrorKind::Unavailable | ErrorKind::OutcomeUnknown),
                    "{error:?}"
                );
                refused.push(number);
            }
        }
        if refused.len() == 3 {
            break;
        }
    }
    assert!(
        refused.len() == 3 && acknowledged.len() > 3,
        "{} fit",
        acknowledged.len()
    );
    // It still reads.
    let (first, _) = acknowledged[0];
    assert_eq!(probe.read(&name(first)).await.unwrap().value, large(first).value);

    std::fs::remove_file(&ballast).unwrap();
    let again = async { while probe.set(set("after", "space")).await.is_err() {} };
    soon("it writes again", again).await;
    let log = probe.log("").await;
    check_log(&log, &acknowledged, &refused);
    assert_eq!(probe.status().await.unwrap().head.position.id, log.last().unwrap().id);
    for (number, _) in &acknowledged {
        assert_eq!(probe.read(&name(*number)).await.unwrap().value, large(*number).value);
    }
}

fn write_ballast(path: &Path) {
    let mut file = File::create(path).unwrap();
    std::io::copy(
        &mut std::io::Read::take(std::io::repeat(7), (BALLAST_KIB * KIB) as u64),
        &mut file,
    )
    .unwrap();
}

fn name(number: usize) -> String {
    format!("k{number}")
}

fn large(number: usize) -> SetRequest {
    let mut value = number.to_string().into_bytes();
    value.resize(VALUE_BYTES, b'.');
    SetRequest::new(key(name(number)), value)
}

/// Each acknowledged write is where it was said to be, each refused one once at most.
fn check_log(log: &[Event], acknowledged: &[(usize, goku::EventId)], refused: &[usize]) {
    for (place, event) in (1..).zip(log) {
        assert_eq!(event.id.get(), place);
    }
    let places = |number: usize| {
        let name = name(number);
        let found = log.iter().filter(move |event| event.key.text().unwrap() == name);
        found.map(|event| event.id).collect::<Vec<_>>()
    };
    for (number, place) in acknowledged {
        assert_eq!(places(*number), [*place]);
    }
    for number in refused {
        assert!(places(*number).len() <= 1);
    }
}
