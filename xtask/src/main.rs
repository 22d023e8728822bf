//! The development tasks of this repository: `cargo xtask help` lists them.

mod bench;
mod cargo;
mod cargo_tool;
mod chaos;
mod ci;
mod deny;
mod engines;
mod etcd_peer;
mod examples;
mod failed_tests;
mod failure;
mod fuzz;
mod mariadb_package;
mod package;
mod package_check;
mod program;
mod prometheus_package;
mod secrets;
mod sim;
mod task;
mod test;
mod upgrade;

use std::env;
use std::process::ExitCode;

use task::Task;

fn main() -> ExitCode {
    if let Some(code) = fuzz::wrap() {
        return code;
    }
    let outcome = Task::parse(env::args().skip(1)).and_then(|task| match task {
        Task::Help => {
            print!("{}", task::HELP);
            Ok(())
        }
        Task::Test(options) => test::run(&options),
        Task::Ci(options) => ci::run(&options),
        Task::Upgrade(options) => upgrade::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Chaos(options) => chaos::run(&options),
        Task::Sim(arguments) => sim::run(&arguments),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Engines(options) => engines::run(&options),
        Task::Package(options) => package::run(&options),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            failure.exit_code()
        }
    }
}
