//! Servers on one MariaDB that are replaced one by one while clients use them.

use std::sync::Arc;
use std::time::Duration;

use goku::{Client, ErrorKind, Event};
use goku_grpc::GrpcClient;
use goku_testkit::history::{Call, Request};
use goku_testkit::mariadb::Options;
use goku_testkit::probe::soon;
use goku_testkit::workload::{Load, Workload};
use goku_testkit::{PrivateDatabase, Probe, Random, Replica, check};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::earlier::{self, Writer, Written};
use crate::{set_bytes, this};

/// The format of the tables that the earlier program makes.
const EARLIER: u64 = 1;

/// The format of the tables that this program makes.
const CURRENT: u64 = 2;

/// How long a call may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(8);

/// What both versions know; the calls of a minute are kept in memory and judged.
const LOAD: Load = Load {
    callers: 8,
    watchers: 4,
    keys: 24,
    pause_max: Duration::from_millis(20),
    ttl_max: Duration::from_millis(1_500),
    format_2: false,
};

/// How often what is waited for is looked at.
const POLL: Duration = Duration::from_millis(20);

/// Announcements of the new server for which the format is watched: it is by them that it would be raised.
const ANNOUNCEMENTS: usize = 2;

/// Calls that have to succeed in each part of the upgrade.
const CALLS: usize = 500;

/// The format of the tables, and the oldest one of a program that may write.
async fn formats(database: &PrivateDatabase) -> [u64; 2] {
    let query = "select format from goku.head union all select format_min from goku.head";
    database.query(query).await.try_into().unwrap()
}

/// When a server of this version announced itself last.
async fn announced_at(database: &PrivateDatabase) -> Vec<u64> {
    let query = format!(
        "select seen_at from goku.writers where version <> '' and format = {CURRENT} order by seen_at desc limit 1"
    );
    database.query(&query).await
}

/// Waits for announcements of servers of this version, by none of which the format may be raised.
async fn assert_not_raised(database: &PrivateDatabase) {
    soon("announcements of a new server", async {
        let mut last = announced_at(database).await;
        let mut count = 0;
        while count < ANNOUNCEMENTS {
            sleep(POLL).await;
            assert_eq!(formats(database).await, [EARLIER; 2], "an earlier server still runs");
            let announced = announced_at(database).await;
            count += usize::from(announced != last);
            last = announced;
        }
    })
    .await;
}

/// Waits until the format is raised.
async fn until_raised(database: &PrivateDatabase) {
    soon("the new format", async {
        while formats(database).await != [CURRENT; 2] {
            sleep(POLL).await;
        }
    })
    .await;
}

fn client(endpoint: &str) -> Arc<dyn Client> {
    let client = GrpcClient::connect(endpoint).unwrap().retries(false);
    Arc::new(client.request_timeout(Some(REQUEST_TIMEOUT)))
}

/// Starts a server, and waits until it answers.
async fn run(server: &Replica) {
    server.run().await;
    let client = client(&server.endpoint());
    soon("a server that answers", async {
        while client.status().await.is_err() {
            sleep(POLL).await;
        }
    })
    .await;
}

/// Waits until so many more calls have succeeded.
async fn go_on(workload: &Workload) {
    let succeeded = || {
        let (all, failed) = workload.answered();
        all - failed
    };
    let before = succeeded();
    soon("answers", async {
        while succeeded() < before + CALLS {
            sleep(POLL).await;
        }
    })
    .await;
}

/// The log that both read, as far as both have come.
async fn assert_same_log(one: &Probe, other: &Probe) {
    let (one, other) = (one.log("").await, other.log("").await);
    let length = one.len().min(other.len());
    assert!(length >= CALLS / 10, "{length} events");
    let differing = one.iter().zip(&other).find(|(one, other)| one != other);
    assert_eq!(differing, None, "two servers read one event in two ways");
}

/// Each acknowledged command is in the log.
fn assert_all_there(acknowledged: &Written, log: &[Event]) {
    assert!(!acknowledged.acknowledged.is_empty());
    for set in &acknowledged.acknowledged {
        let is_there = log.iter().any(|event| event.key == set.key && event.value == set.value);
        assert!(is_there, "{set:?} was acknowledged and is not in the log");
    }
}

/// The commands as calls whose answers are not known.
fn calls(written: &[Written]) -> impl Iterator<Item = Call> {
    let sets = written
        .iter()
        .flat_map(|written| written.acknowledged.iter().chain(&written.others));
    sets.map(|set| Call {
        client: usize::MAX,
        request: Request::Set(set.clone()),
        invoked: 0,
        returned: None,
        healed: false,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_are_replaced_one_by_one_under_load() {
    let mut random = Random::from_environment_or(60);
    let database = PrivateDatabase::durable(Options::default()).await;
    let (store, folder) = (database.url(), TempDir::new().unwrap());
    let log = |name: &str| folder.path().join(name);
    let earlier = earlier::program();
    let [first, second] = ["first", "second"].map(|name| Replica::stopped(&earlier, &store, &log(name), Vec::new()));
    let [third, fourth] = ["third", "fourth"].map(|name| Replica::stopped(this(), &store, &log(name), Vec::new()));

    // Earlier servers alone, by commands of their own and by clients of this version.
    for server in [&first, &second] {
        run(server).await;
    }
    assert_eq!(formats(&database).await, [EARLIER; 2], "of the earlier program");
    let writers = [
        Writer::start(first.endpoint(), "first"),
        Writer::start(second.endpoint(), "second"),
    ];
    let endpoints = [&first, &second, &third].map(Replica::endpoint);
    let all = GrpcClient::connect_all(&endpoints).unwrap();
    let all: Arc<dyn Client> = Arc::new(all.request_timeout(Some(REQUEST_TIMEOUT)));
    let [to_first, to_second, to_third] = endpoints.each_ref().map(|endpoint| client(endpoint));
    let passing = [to_first.clone(), to_second.clone()];
    let workload = Workload::start_with(&[to_third.clone(), all], &passing, LOAD, &mut random);
    go_on(&workload).await;

    // A new one beside them.
    run(&third).await;
    assert_not_raised(&database).await;
    let recorded = workload.recorded(to_third.clone());
    let refused = recorded.set(set_bytes("early")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    assert!(refused.message().contains("older version"), "{refused}");
    go_on(&workload).await;
    let [first_log, second_log, third_log] = [to_first, to_second, to_third].map(Probe::new);
    assert_same_log(&first_log, &third_log).await;
    assert_same_log(&third_log, &second_log).await;

    // The earlier ones go, one as it is asked to and one without a word.
    let ended = first.drain().await.unwrap();
    assert!(ended.success(), "{ended}");
    assert_not_raised(&database).await;
    go_on(&workload).await;
    second.kill().await;
    let [one, other] = writers;
    let written = [one.stop().await, other.stop().await];
    until_raised(&database).await;
    recorded.set(set_bytes("late")).await.unwrap();
    go_on(&workload).await;

    let mut history = workload.finish().await;
    println!("{}", history.summary());
    for written in &written {
        println!(
            "{} commands acknowledged, {} not",
            written.acknowledged.len(),
            written.others.len()
        );
        assert_all_there(written, &history.last.log);
    }
    history.calls.extend(calls(&written));
    check::assert_sound(&history);

    // There is no way back, and another new one starts on what is there.
    let refusal = earlier::refusal(&store).await;
    let has_both = refusal.contains(&format!("format {CURRENT}")) && refusal.contains(&format!("up to {EARLIER}"));
    assert!(has_both, "{refusal}");
    run(&fourth).await;
    let fourth_log = Probe::new(client(&fourth.endpoint()));
    assert_eq!(fourth_log.log("").await, third_log.log("").await);
}
