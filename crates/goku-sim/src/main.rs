//! Runs many seeds of the simulation, or one.
#![allow(clippy::print_stdout, reason = "a program for a terminal")]

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use goku::sim::Plant;
use goku_sim::{Run, Search, compared, run};
use goku_testkit::Random;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Run whole engines on a simulated database: faults, delays and load follow from a seed
#[derive(Debug, Parser)]
#[command(name = "cargo xtask sim", bin_name = "cargo xtask sim")]
struct Options {
    /// How many seeds
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,

    /// Run this seed alone, and tell how much happened in it
    #[arg(long, conflicts_with_all = ["seeds", "plants"])]
    seed: Option<u64>,

    /// The first seed; the others follow from it [default: a new one, which is printed]
    #[arg(long)]
    from: Option<u64>,

    /// The log of what happens, as far as this filter lets it through: goku=debug, or goku=trace for each step of the database
    #[arg(long, requires = "seed", value_name = "FILTER")]
    log: Option<Targets>,

    /// Run each seed twice, and compare
    #[arg(long)]
    twice: bool,

    /// A fault in the code, which must be found
    #[arg(long, value_parser = plant)]
    plant: Option<Plant>,

    /// Tell for each fault that can be planted after how many seeds it is found
    #[arg(long, conflicts_with = "plant")]
    plants: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    // The first panic of a run is told with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    if let Some(filter) = options.log {
        let lines = tracing_subscriber::fmt::layer().without_time();
        let lines = lines.with_writer(std::io::stderr);
        tracing_subscriber::registry().with(lines).with(filter).init();
    }
    if let Some(seed) = options.seed {
        return tell(
            &run(seed, options.plant),
            options.twice.then(|| run(seed, options.plant)),
        );
    }
    let from = options.from.unwrap_or_else(|| Random::from_environment().seed());
    println!("seeds from {from}");
    if options.plants {
        return find_all(from, options.seeds);
    }
    let begun = Instant::now();
    let search = Search {
        from,
        seeds: options.seeds,
        plant: options.plant,
        twice: options.twice,
    };
    let (tried, found) = search.run();
    println!("{tried} seeds in {:.1} s", begun.elapsed().as_secs_f64());
    match found {
        None => ExitCode::SUCCESS,
        Some(found) => {
            tell(&found, None);
            println!("cargo xtask sim --seed {}{}", found.seed, planted(options.plant));
            ExitCode::FAILURE
        }
    }
}

fn plant(name: &str) -> Result<Plant, String> {
    let found = Plant::ALL.into_iter().find(|plant| plant.name() == name);
    found.ok_or_else(|| {
        let names: Vec<_> = Plant::ALL.iter().map(|plant| plant.name()).collect();
        format!("the faults are {}", names.join(", "))
    })
}

fn planted(plant: Option<Plant>) -> String {
    plant.map_or(String::new(), |plant| format!(" --plant {}", plant.name()))
}

fn find_all(from: u64, seeds: u64) -> ExitCode {
    let mut all = true;
    for plant in Plant::ALL {
        let begun = Instant::now();
        let search = Search {
            plant: Some(plant),
            ..Search::of(from, seeds)
        };
        let (tried, found) = search.run();
        let seconds = begun.elapsed().as_secs_f64();
        match found {
            Some(run) => {
                let first = run.violations.first().map_or("", String::as_str);
                let first: String = first.chars().take(100).collect();
                println!("{:20} found after {tried} seeds, {seconds:.1} s: {first}", plant.name());
            }
            None => {
                all = false;
                println!("{:20} not found in {tried} seeds, {seconds:.1} s", plant.name());
            }
        }
    }
    if all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tell(run: &Run, again: Option<Run>) -> ExitCode {
    let run = match again {
        Some(again) => compared(run.clone(), &again),
        None => run.clone(),
    };
    println!("seed {}, trace {:x}\n{}", run.seed, run.trace, run.summary);
    for violation in &run.violations {
        println!("{}", violation.chars().take(1_200).collect::<String>());
    }
    println!("{} violations", run.violations.len());
    if run.is_sound() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
