//! Random comparisons, from a seed that is printed and taken back.

use std::cell::Cell;
use std::env;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use goku::ManualClock;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

use super::{Comparison, Time, Ttl, start, steps};
use crate::fixture::Fixture;

/// The environment variable that gives the seed of random tests.
pub const SEED_VARIABLE: &str = "GOKU_TEST_SEED";

/// The environment variable that says how many random runs each store gets.
pub const RUNS_VARIABLE: &str = "GOKU_TEST_RUNS";

/// How long a failure is made shorter, and how long each try waits for what does not happen.
const SHRINK_TIME_MS_MAX: u32 = 30_000;
const SHRINK_PATIENCE: Duration = Duration::from_millis(300);

/// A fixture whose time a test may move.
#[async_trait::async_trait]
pub trait OnClock: Fixture {
    /// Makes the store, which takes its time from `clock`.
    async fn start_on(clock: Arc<ManualClock>) -> Self;
}

/// Compares stores whose time is moved with the model.
///
/// # Panics
///
/// Where they differ: with the shortest steps that show it and the seed that leads to them.
pub fn compare_on_clock<F: OnClock>(runs: u32) {
    compare(runs, Ttl::Seconds, async || {
        let clock = Arc::new(ManualClock::new(start()));
        let fixture = F::start_on(clock.clone()).await;
        (fixture, Time::Manual(clock))
    });
}

/// Compares stores that have a time of their own with the model.
///
/// # Panics
///
/// As [`compare_on_clock`].
pub fn compare_on_own_time<F: Fixture>(runs: u32) {
    compare(runs, Ttl::Hours, async || (F::start().await, Time::Own));
}

fn compare<F: Fixture>(runs: u32, ttl: Ttl, begin: impl AsyncFn() -> (F, Time)) {
    let seed = number_of(SEED_VARIABLE).unwrap_or_else(|| RandomState::new().hash_one(0));
    let config = Config {
        cases: number_of(RUNS_VARIABLE).unwrap_or(runs),
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_iters: 400,
        max_shrink_time: SHRINK_TIME_MS_MAX,
        ..Config::default()
    };
    println!("{SEED_VARIABLE}={seed}");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let failed = Cell::new(false);
    let outcome = TestRunner::new(config).run(&steps(ttl, 1..40), |steps| {
        runtime.block_on(async {
            let (fixture, time) = begin().await;
            let mut comparison = Comparison::start(fixture.client(), time).await;
            if failed.get() {
                comparison = comparison.patience(SHRINK_PATIENCE);
            }
            let compared = comparison.run(&steps).await;
            fixture.stop().await;
            failed.set(failed.get() || compared.is_err());
            compared.map_err(|divergence| TestCaseError::fail(divergence.to_string()))
        })
    });
    if let Err(failure) = outcome {
        panic!("{failure}\n{SEED_VARIABLE}={seed} leads here again");
    }
}

fn number_of<N: std::str::FromStr>(variable: &str) -> Option<N> {
    let text = env::var(variable).ok()?;
    match text.parse() {
        Ok(number) => Some(number),
        Err(_) => panic!("{variable} is a number, not {text:?}"),
    }
}
