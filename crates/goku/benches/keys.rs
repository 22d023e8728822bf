//! Keys and ranges of keys: made for every request, compared for every event and stream.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use goku::{Key, Prefix, Result};

/// Keys that are looked through at once.
const KEYS: usize = 1_000;

fn keys(c: &mut Criterion) {
    let keys: Result<Vec<_>> = (0..KEYS).map(|n| Key::new(format!("/bench/{}/{n}", n % 16))).collect();
    let keys = keys.expect("these are keys");
    let prefix = Prefix::new("/bench/7/").expect("this is a prefix");
    let range = prefix.range();
    let start = Key::new("/bench/7/5").expect("this is a key");

    let mut group = c.benchmark_group("keys");
    group.bench_function("a key from text", |b| b.iter(|| Key::new(black_box("/bench/7/123"))));
    group.bench_function("a key from bytes", |b| {
        b.iter(|| Key::from_bytes(black_box(b"/bench/7/123")));
    });
    group.bench_function("the range of a prefix", |b| b.iter(|| black_box(&prefix).range()));
    group.bench_function("a range from a key on", |b| {
        b.iter(|| black_box(&prefix).range().starting_at(&start));
    });
    group.bench_function("1,000 keys that match a prefix or not", |b| {
        b.iter(|| keys.iter().filter(|key| black_box(&prefix).matches(key)).count());
    });
    group.bench_function("1,000 keys that lie in a range or not", |b| {
        b.iter(|| keys.iter().filter(|key| black_box(&range).contains(key)).count());
    });
    group.finish();
}

criterion_group!(benches, keys);
criterion_main!(benches);
