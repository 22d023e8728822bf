//! Fuzz targets: functions that read bytes as goku reads what others wrote, and panic where something is wrong.
//!
//! The tests of this crate run each target on its seeds and on some thousands of mutations of them, which prints a seed that leads
//! to the same again (`GOKU_FUZZ_SEED`; `GOKU_FUZZ_INPUTS` takes more of them). `cargo xtask fuzz` runs one under libFuzzer for
//! longer: that keeps inputs which reach code that none before them did, and mutates those, so that it comes through checks that
//! random bytes never pass. An input that finds a fault becomes a test beside the code at fault.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a target that panics has found a fault"
)]

mod headers;
mod key;
mod pem;
mod settings;
mod text;
mod url;
mod wire;

/// A function to feed with bytes.
pub struct Target {
    /// The name on the command line.
    pub name: &'static str,
    /// Reads the bytes; panics where there is a fault.
    pub run: fn(&[u8]),
    /// Inputs to begin with, which are right or almost so.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets.
pub const TARGETS: [Target; 7] = [
    Target {
        name: "wire",
        run: wire::run,
        seeds: wire::seeds,
    },
    Target {
        name: "key",
        run: key::run,
        seeds: key::seeds,
    },
    Target {
        name: "headers",
        run: headers::run,
        seeds: headers::seeds,
    },
    Target {
        name: "text",
        run: text::run,
        seeds: text::seeds,
    },
    Target {
        name: "settings",
        run: settings::run,
        seeds: settings::seeds,
    },
    Target {
        name: "url",
        run: url::run,
        seeds: url::seeds,
    },
    Target {
        name: "pem",
        run: pem::run,
        seeds: pem::seeds,
    },
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
