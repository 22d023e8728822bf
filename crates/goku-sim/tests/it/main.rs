//! Seeds nobody has tried, seeds that once failed, and faults that must be found.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use goku::sim::Plant;
use goku_sim::{Run, Search, compared, run};
use goku_testkit::Random;

/// Fresh seeds in one run of the tests.
const SEEDS: u64 = 300;

/// Of these, so many are run twice.
const TWICE: u64 = 15;

/// Seeds in which a planted fault must be found.
const SEEDS_OF_PLANT: u64 = 1_000;

/// Seeds that found a fault once, or did not lead to the same twice.
const FOUND: [u64; 4] = [
    3903323733522932262,
    9095749084434369258,
    8152473320474011557,
    8899203708690753671,
];

#[track_caller]
fn assert_sound(run: &Run) {
    assert!(
        run.is_sound(),
        "cargo xtask sim --seed {}\n{}\n{}",
        run.seed,
        run.summary,
        run.violations.join("\n")
    );
}

#[track_caller]
fn assert_all_sound(search: Search) {
    if let (_, Some(run)) = search.run() {
        assert_sound(&run);
    }
}

#[test]
fn fresh_seeds_are_sound() {
    let mut random = Random::from_environment();
    assert_all_sound(Search::of(random.number(), SEEDS));
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    let mut random = Random::from_environment();
    assert_all_sound(Search {
        twice: true,
        ..Search::of(random.number(), TWICE)
    });
    assert_ne!(run(1, None).trace, run(2, None).trace);
}

#[test]
fn seeds_that_found_a_fault_are_sound() {
    for seed in FOUND {
        assert_sound(&compared(run(seed, None), &run(seed, None)));
    }
}

#[test]
fn planted_faults_are_found() {
    for plant in Plant::ALL {
        let search = Search {
            plant: Some(plant),
            ..Search::of(1, SEEDS_OF_PLANT)
        };
        let (tried, found) = search.run();
        let found = found.unwrap_or_else(|| panic!("{} was not found in {tried} seeds", plant.name()));
        println!(
            "{} was found after {tried} seeds: {}",
            plant.name(),
            found.violations[0]
        );
    }
}
