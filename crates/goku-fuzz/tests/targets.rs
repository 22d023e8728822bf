//! Each target on its seeds, and on mutations of them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use goku_fuzz::target;

/// The mutations of a run, unless GOKU_FUZZ_INPUTS says another number.
const INPUTS: u64 = 3_000;

/// Bytes that mean something to those who read lengths, numbers or text.
const TELLING: [u8; 12] = [0, 1, 0x0a, 0x7f, 0x80, 0xff, b'-', b'/', b':', b'@', b'"', b'%'];

/// The most bytes of an input: longer ones take long and find no more.
const BYTES_MAX: usize = 8 * 1024;

/// Random numbers that follow from a seed, as of SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, 0 where there is none.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap()
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// Changes some bytes of an input.
    fn mutate(&mut self, input: &mut Vec<u8>, others: &[Vec<u8>]) {
        for _ in 0..=self.below(4) {
            let at = self.below(input.len());
            match self.below(6) {
                0 if !input.is_empty() => input[at] = *self.pick(&TELLING),
                1 if !input.is_empty() => input[at] ^= 1 << self.below(8),
                2 => input.insert(at, *self.pick(&TELLING)),
                3 if !input.is_empty() => drop(input.drain(at..input.len().min(at + 1 + self.below(8)))),
                4 => {
                    let other = self.pick(others);
                    let from = self.below(other.len());
                    let piece = &other[from..other.len().min(from + 1 + self.below(32))];
                    drop(input.splice(at..at, piece.iter().copied()));
                }
                _ => input.truncate(at + 1),
            }
        }
        input.truncate(BYTES_MAX);
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|number| number.parse().unwrap())
}

fn run(name: &str) {
    run_some(name, INPUTS);
}

/// Runs a target on so many mutations, of which a slow one has fewer.
fn run_some(name: &str, inputs: u64) {
    let target = target(name).unwrap();
    let seed = number("GOKU_FUZZ_SEED").unwrap_or(4_658);
    println!("GOKU_FUZZ_SEED={seed}");
    let (mut random, seeds) = (Random(seed), (target.seeds)());
    for seed in &seeds {
        (target.run)(seed);
    }
    for _ in 0..number("GOKU_FUZZ_INPUTS").unwrap_or(inputs) {
        let mut input = random.pick(&seeds).clone();
        random.mutate(&mut input, &seeds);
        // A panic has the input before it.
        let shown = Shown(&input);
        (target.run)(&input);
        std::mem::forget(shown);
    }
}

/// Prints an input where it is dropped by a panic.
struct Shown<'a>(&'a [u8]);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        println!("the input is b\"{}\"", self.0.escape_ascii());
    }
}

#[test]
fn messages_go_around() {
    run("wire");
}

#[test]
fn ranges_of_keys_are_those_of_their_prefixes() {
    run("key");
}

#[test]
fn headers_are_read_or_refused() {
    run("headers");
}

#[test]
fn texts_go_around() {
    run("text");
}

#[test]
fn values_of_settings_go_around() {
    run("settings");
}

#[test]
fn urls_of_stores_show_no_password() {
    run("url");
}

#[test]
fn files_of_tls_are_taken_or_refused() {
    run_some("pem", INPUTS / 10);
}
