//! A random load on an engine whose store fails at random.

use std::sync::Arc;
use std::time::Duration;

use goku::faults::{Fault, Faults, Step};
use goku::{Client, Engine, ErrorKind, SessionId, Write, WriteId};
use goku_testkit::probe::{PATIENCE, kind, set, soon};
use goku_testkit::workload::{Load, run_and_check};
use goku_testkit::{Random, Recorder, check};
use tokio::time::{Instant, sleep};

/// How long the store fails, at least.
const LOAD_TIME: Duration = Duration::from_secs(30);

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

/// An attempt that came to nothing says nothing about those before it: the load was once blamed for taking it so.
#[tokio::test]
async fn a_write_that_is_repeated_in_vain_may_have_been_done_before() {
    let faults = Faults::default();
    let engine = Engine::builder().request_timeout(PATIENCE).faults(faults.clone());
    let engine = engine.open("sqlite::memory:").await.unwrap();
    let recorder = Recorder::default();
    let client = recorder.client(Arc::new(engine.clone()));
    let id = WriteId::new(SessionId::new(7), 1);
    for (fault, expected) in [
        (Fault::PanicAfter, ErrorKind::OutcomeUnknown),
        (Fault::Misconfigured, ErrorKind::Config),
        (Fault::Refused, ErrorKind::Internal),
        (Fault::Panic, ErrorKind::Internal),
    ] {
        faults.always(Step::Write, fault);
        assert_eq!(kind(client.write(Some(id), Write::Set(set("k", "v"))).await), expected);
        faults.heal();
    }
    check::assert_sound(&recorder.finish(&engine).await.unwrap());
    engine.close().await;
}
