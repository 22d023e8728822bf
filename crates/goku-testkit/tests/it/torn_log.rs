//! A SQLite file whose write-ahead log has lost or spoiled its end, as a crash of the machine leaves it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use goku::{Engine, Event, EventId, Expiry, LeaseRequest};
use goku_testkit::check::{Invariant, violations};
use goku_testkit::history::{History, Last};
use goku_testkit::{Probe, Random};
use tempfile::TempDir;

/// Crashes that are tried.
const CRASHES: usize = 60;

/// Commits before them.
const COMMITS: usize = 60;

/// A store at work, whose file is copied as a crash would leave it.
struct Written {
    folder: TempDir,
    log: Vec<Event>,
    /// How long the write-ahead log was once the event had been acknowledged, and so was on disk.
    synced: Vec<(u64, EventId)>,
    _engine: Engine,
}

/// How the end of the log is spoiled.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Cut,
    Zeros,
    Noise,
}

impl Written {
    async fn new(random: &mut Random) -> Written {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("goku.db");
        let engine = Engine::open(&format!("sqlite:{}", path.display())).await.unwrap();
        let probe = Probe::new(Arc::new(engine.clone()));
        let lease = probe.grant(Expiry::After(Duration::from_secs(3600))).await.id;
        let mut synced = Vec::new();
        for number in 0..COMMITS {
            let key = format!("k{}", random.below(8));
            let value = format!("{number} {}", ".".repeat(random.below(9_000) as usize));
            match random.below(5) {
                0 if probe.read(&key).await.is_some() => drop(probe.remove(&key).await),
                1 => drop(probe.lease(LeaseRequest::KeepAlive(lease)).await.unwrap()),
                _ => drop(probe.put(&key, value).await),
            }
            let head = probe.status().await.unwrap().head.position.id;
            synced.push((fs::metadata(wal(&path)).unwrap().len(), head));
        }
        let log = probe.log("").await;
        Written {
            folder,
            log,
            synced,
            _engine: engine,
        }
    }

    /// The file and its log as they are now, the log damaged from `place` on.
    fn crash(&self, place: u64, damage: Damage, random: &mut Random) -> TempDir {
        let crashed = TempDir::new().unwrap();
        let (from, to) = (self.folder.path().join("goku.db"), crashed.path().join("goku.db"));
        fs::copy(&from, &to).unwrap();
        let mut log = fs::read(wal(&from)).unwrap();
        let place = usize::try_from(place).unwrap();
        match damage {
            Damage::Cut => log.truncate(place),
            Damage::Zeros => log[place..].fill(0),
            Damage::Noise => log[place..].iter_mut().for_each(|byte| *byte = random.number() as u8),
        }
        fs::write(wal(&to), log).unwrap();
        crashed
    }
}

fn wal(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// What was acknowledged lies in what was synced, and is there; of the rest there is a beginning, and the tables agree.
#[tokio::test]
async fn a_log_without_its_end_opens_at_what_was_committed_before() {
    let mut random = Random::from_environment();
    let written = Written::new(&mut random).await;
    let (length, _) = *written.synced.last().unwrap();
    let mut losses = 0;
    for _ in 0..CRASHES {
        let place = random.below(length + 1);
        let damage = *random.choose(&[Damage::Cut, Damage::Zeros, Damage::Noise]);
        let crashed = written.crash(place, damage, &mut random);
        let url = format!("sqlite:{}", crashed.path().join("goku.db").display());
        let engine = Engine::open(&url).await.unwrap();
        let last = Last::read(&engine).await.unwrap();
        let found = last.log.len();
        assert!(last.log == written.log[..found], "{damage:?} at {place}: another log");
        let synced = written.synced.iter().rfind(|(length, _)| *length <= place);
        let synced = synced.map_or(0, |(_, event)| usize::try_from(event.get()).unwrap());
        assert!(found >= synced, "{damage:?} at {place}: {found} events of {synced}");
        losses += usize::from(found < written.log.len());
        check(last);
        let probe = Probe::new(Arc::new(engine.clone()));
        assert_eq!(probe.put("after", "crash").await.updated_ref.get(), found as i64 + 1);
        engine.close().await;
    }
    assert!(losses > CRASHES / 2, "only {losses} crashes lost anything");
}

/// The log, the tables and the head agree.
fn check(last: Last) {
    let history = History {
        calls: Vec::new(),
        streams: Vec::new(),
        last,
        contradictions: Vec::new(),
    };
    let about_the_store = [Invariant::Events, Invariant::Tables, Invariant::Head];
    let mut violations = violations(&history);
    // Nobody recorded who asked for what.
    violations.retain(|violation| about_the_store.contains(&violation.invariant));
    assert!(violations.is_empty(), "{violations:#?}");
}
