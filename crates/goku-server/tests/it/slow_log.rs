//! The slow log of a server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use goku::{Client, Origin};
use goku_grpc::GrpcClient;
use goku_testkit::PrivateDatabase;
use goku_testkit::mariadb::Options;
use goku_testkit::probe::set;

use crate::goku::{Goku, binary};
use crate::log_lines::{LogLines, all_lines};

/// The time for which the store is held up.
const HELD: Duration = Duration::from_millis(400);

async fn lines_of_a_write_that_waits(database: &PrivateDatabase, options: &[&str]) -> Vec<String> {
    let (log, lines) = LogLines::pipe();
    let mut command = binary();
    command.args(["serve", "--store", &database.url()]).args(options);
    command.env("GOKU_LOG", "error,goku::slow=warn").stderr(log);
    let goku = Goku::run_with_log(command);
    let client = GrpcClient::connect(&goku.endpoint).unwrap();
    client.set(set("first", "v")).await.unwrap();

    let origin = Origin::default().with_request_id("order-4711").unwrap();
    let key = "k".repeat(70);
    let is_held = AtomicBool::new(true);
    let hold = async {
        database.hold_sequencer(HELD).await;
        is_held.store(false, Ordering::SeqCst);
    };
    // One of the writes meets the lock.
    let write = async {
        while is_held.load(Ordering::SeqCst) {
            let write = client.set(set(&key, "a secret"));
            origin.clone().scope(write).await.unwrap();
        }
    };
    tokio::join!(hold, write);
    all_lines(goku, lines).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_write_is_told_of_with_the_phases_of_its_batch() {
    let database = PrivateDatabase::start(Options::default()).await;
    let options = ["--slow-call-ms", "100", "--slow-statement-ms", "100"];
    let lines = lines_of_a_write_that_waits(&database, &options).await;
    let line = |what: &str| lines.iter().find(|line| line.contains(what)).unwrap();
    let call = line("a call took long");
    // At most 64 bytes of what shows of a key, its quotes included.
    let shown = "k".repeat(60);
    for part in [
        "goku::slow",
        "door=\"grpc\"",
        "method=\"set\"",
        "outcome=\"ok\"",
        &format!("key=\"{shown}"),
        "request_id=\"order-4711\"",
        "operations=1",
        "queue=",
        "lock=",
        "load=",
        "decide=",
        "write=",
        "commit=",
    ] {
        assert!(call.contains(part), "{part}: {call}");
    }
    assert!(!call.contains(&"k".repeat(65)), "{call}");
    let batch = line("a batch took long");
    assert!(
        batch.contains("outcome=\"applied\"") && batch.contains("lock="),
        "{batch}"
    );
    assert!(!lines.iter().any(|line| line.contains("secret")), "{lines:?}");

    let lines = lines_of_a_write_that_waits(&database, &["--slow-call-ms", "0", "--slow-statement-ms", "0"]).await;
    assert_eq!(lines, [""; 0]);
}
