//! One target under libFuzzer: that named by `GOKU_FUZZ_TARGET`. Its seeds are put into the folder `GOKU_FUZZ_SEEDS`.

#![no_main]

use std::path::PathBuf;
use std::sync::OnceLock;

use goku_fuzz::Target;
use libfuzzer_sys::fuzz_target;

fn target() -> &'static Target {
    static TARGET: OnceLock<&Target> = OnceLock::new();
    TARGET.get_or_init(|| {
        let name = std::env::var("GOKU_FUZZ_TARGET").unwrap_or_default();
        goku_fuzz::target(&name).expect("GOKU_FUZZ_TARGET names a target")
    })
}

fn write_seeds() {
    let Some(folder) = std::env::var_os("GOKU_FUZZ_SEEDS").map(PathBuf::from) else {
        return;
    };
    for (number, seed) in (target().seeds)().into_iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{number}")), seed).expect("the folder of seeds can be written");
    }
}

fuzz_target!(
    init: write_seeds(),
    |input: &[u8]| (target().run)(input)
);
