//! A random load on an engine whose store fails at random.

use std::sync::Arc;
use std::time::Duration;

use goku::faults::{Fault, Faults, Step};
use goku::{Client, Engine};
use goku_testkit::Random;
use goku_testkit::probe::{PATIENCE, soon};
use goku_testkit::workload::{Load, run_and_check};
use tokio::time::{Instant, sleep};

/// How long the store fails, at least.
const LOAD_TIME: Duration = Duration::from_secs(4);

/// How often it fails, at least: on a busy machine that takes longer.
const FAULTS_MIN: u64 = 20;

/// The faults of reads that may be tried again, as the load does.
const PASSING: [Fault; 4] = [Fault::NotApplied, Fault::AnswerLost, Fault::Hold, Fault::HoldAfter];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_on_a_store_that_fails_at_random() {
    let mut random = Random::from_environment();
    let mut chance = random.fork();
    let faults = Faults::default();
    let engine = Engine::builder()
        .request_timeout(PATIENCE)
        .faults(faults.clone())
        .open("sqlite::memory:")
        .await
        .unwrap();
    let disturb = async {
        let end = Instant::now() + LOAD_TIME;
        while Instant::now() < end || faults.count() < FAULTS_MIN {
            let step = *chance.choose(&Step::ALL);
            let fault = *chance.choose(if step == Step::Write { &Fault::ALL[..] } else { &PASSING });
            if chance.one_in(10) {
                // As long as a full disk may be full.
                faults.always(step, fault);
            } else {
                faults.at(step, 1 + chance.below(4), fault);
            }
            sleep(chance.between(Duration::ZERO, Duration::from_millis(60))).await;
            if chance.one_in(4) {
                faults.heal();
            }
        }
        faults.heal();
    };
    let disturb = soon("enough faults", disturb);
    let client: Arc<dyn Client> = Arc::new(engine.clone());
    run_and_check(&[client], Load::default(), &mut random, disturb).await;
    engine.close().await;
}
