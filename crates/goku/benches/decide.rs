//! What the rules take of a batch: the part of a commit that no database can speed up.

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use goku::bench::LoadedBatch;
use goku::{Key, Result};

/// Bytes of a value, as in other measurements.
const VALUE_BYTES: usize = 255;

fn sets(c: &mut Criterion) {
    let value = Bytes::from(vec![b'v'; VALUE_BYTES]);
    let mut group = c.benchmark_group("decide");
    for count in [1, 16, 64, 256, 1_000] {
        group.throughput(Throughput::Elements(count));
        let keys: Result<Vec<_>> = (0..count).map(|n| Key::new(format!("/bench/{n}/{n}"))).collect();
        let keys = keys.expect("these are keys");
        let new = LoadedBatch::of_new_keys(&keys, &value);
        group.bench_function(BenchmarkId::new("sets of new keys", count), |b| {
            b.iter(|| new.decide().expect("all is loaded"));
        });
        let existing = new.again().expect("all is loaded");
        group.bench_function(BenchmarkId::new("sets of existing keys", count), |b| {
            b.iter(|| existing.decide().expect("all is loaded"));
        });
    }
    group.finish();
}

criterion_group!(benches, sets);
criterion_main!(benches);
