//! Each step fails in each way, at the first time, the second, and so on until it is not reached any more.

use std::time::Duration;

use goku::faults::{Fault, Faults, Step};
use goku::{Deliver, Engine, ErrorKind};
use goku_testkit::mariadb::MariaDb;
use goku_testkit::probe::PATIENCE;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::call::Called;

/// Runs at once: mostly they wait.
const RUNS_MAX: usize = 8;

/// The n-th time at most.
const TIMES_MAX: u64 = 12;

/// How long a call may take where its store is held up.
const SHORT: Duration = Duration::from_millis(250);

/// How long it may take where it is to succeed on a busy machine, too.
const LONG: Duration = PATIENCE;

/// A store in memory.
const MEMORY: &str = "sqlite::memory:";

/// The steps of a store that no other process can have.
const STEPS_ALONE: [Step; 7] = [
    Step::Write,
    Step::Resolve,
    Step::Load,
    Step::Page,
    Step::Events,
    Step::Leases,
    Step::Head,
];

/// Those that a store has beside them that is shared.
const STEPS_SHARED: [Step; 4] = [Step::Write, Step::MakeDurable, Step::Announce, Step::Replicas];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_step_may_fail_in_every_way() {
    let mut runs = JoinSet::new();
    let mut came = 0;
    for step in STEPS_ALONE {
        for fault in Fault::ALL {
            while runs.len() >= RUNS_MAX {
                came += runs.join_next().await.unwrap().unwrap();
            }
            runs.spawn(every_time(MEMORY.to_owned(), step, fault, TIMES_MAX));
        }
    }
    came += runs.join_all().await.into_iter().sum::<u64>();
    // A step that is never reached would fail in no way; where calls have little time, fewer are reached.
    println!("{came} faults came");
    assert!(came > 200, "only {came} faults came");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_step_of_a_shared_store_may_fail_in_every_way() {
    for step in STEPS_SHARED {
        for fault in Fault::ALL {
            let database = MariaDb::shared().create_database().await;
            let came = every_time(database.url(), step, fault, 1).await;
            assert_eq!(came, 1, "{fault:?} at {step:?}");
        }
    }
}

/// Lets a fault come at the first time, the second, and so on; answers with how often it came.
async fn every_time(url: String, step: Step, fault: Fault, times_max: u64) -> u64 {
    for nth in 1..=times_max {
        if !run(&url, step, fault, nth).await {
            return nth - 1;
        }
    }
    times_max
}

/// Whether the fault came.
async fn run(url: &str, step: Step, fault: Fault, nth: u64) -> bool {
    let faults = Faults::default();
    faults.at(step, nth, fault);
    if step == Step::Resolve {
        // It is taken only where a commit was not answered.
        for write in 1..=TIMES_MAX {
            let unanswered = if write % 2 == 0 {
                Fault::AnswerLost
            } else {
                Fault::CommitLost
            };
            faults.at(Step::Write, write, unanswered);
        }
    }
    let is_held = matches!(fault, Fault::Hold | Fault::HoldAfter);
    // One that is to be opened again with more time is in a file.
    let folder = TempDir::new().unwrap();
    let url = match url {
        MEMORY if is_held => format!("sqlite:{}", folder.path().join("goku.db").display()),
        url => url.to_owned(),
    };
    let builder = Engine::builder().deliver(Deliver::Durable);
    let engine = builder
        .clone()
        .request_timeout(if is_held { SHORT } else { LONG })
        .faults(faults.clone())
        .open(&url)
        .await
        .unwrap();
    let mut called = Called::new(engine, faults.clone());
    called.call().await;
    if STEPS_SHARED.contains(&step) && !url.starts_with("sqlite") {
        called.until_spent(step).await;
    }
    let came = faults.is_spent(step);
    for kind in &called.failures {
        assert!(is_true(step, fault, *kind), "{fault:?} at {step:?} {nth}: {kind:?}");
    }
    let successor = builder.request_timeout(LONG).open(&url);
    let violations = called.judge(is_held.then_some(successor)).await;
    assert!(violations.is_empty(), "{fault:?} at {step:?} {nth}: {violations:#?}");
    came
}

/// Whether a write may fail so: one that was not applied is tried again, as long as the database may take it.
fn is_true(step: Step, fault: Fault, kind: ErrorKind) -> bool {
    match (step, fault) {
        // Time is short.
        (_, Fault::Hold | Fault::HoldAfter) => {
            matches!(kind, ErrorKind::Unavailable | ErrorKind::OutcomeUnknown)
        }
        (Step::Write, Fault::Refused | Fault::Panic) => kind == ErrorKind::Internal,
        // A repeated number has nothing to apply.
        (Step::Write, Fault::PanicAfter) => matches!(kind, ErrorKind::OutcomeUnknown | ErrorKind::Internal),
        (Step::Write, Fault::Misconfigured) => kind == ErrorKind::Config,
        _ => false,
    }
}
