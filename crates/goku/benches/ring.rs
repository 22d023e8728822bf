//! The ring of the newest events: written once a commit, read by every stream.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use goku::bench::{LoadedBatch, Ring};
use goku::{Event, EventId, Key, Prefix, Result};

/// Bytes of a value, as in other measurements.
const VALUE_BYTES: usize = 255;

/// Events of one commit, from the first one on.
fn events(count: usize) -> Vec<Event> {
    let keys: Result<Vec<_>> = (0..count).map(|n| Key::new(format!("/bench/{}/{n}", n % 16))).collect();
    let keys = keys.expect("these are keys");
    let batch = LoadedBatch::of_new_keys(&keys, &Bytes::from(vec![b'v'; VALUE_BYTES]));
    batch.decide().expect("all is loaded")
}

fn extend(c: &mut Criterion) {
    let mut group = c.benchmark_group("ring");
    for count in [1, 64, 1_000] {
        let events = events(count);
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::new("events of a commit", count), |b| {
            b.iter_batched(
                || (Ring::default(), events.clone()),
                |(mut ring, events)| {
                    assert!(ring.extend(events));
                    ring
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn read(c: &mut Criterion) {
    let mut ring = Ring::default();
    assert!(ring.extend(events(10_000)));
    let all = Prefix::default();
    let some = Prefix::new("/bench/7/").expect("this is a prefix");
    let mut group = c.benchmark_group("ring");
    for (behind, after) in [(1, 9_999), (1_000, 9_000), (10_000, 0)] {
        let after = EventId::new(after).expect("this is an event");
        group.throughput(Throughput::Elements(behind));
        for (name, prefix) in [("all events", &all), ("every 16th event", &some)] {
            group.bench_function(BenchmarkId::new(name, behind), |b| {
                b.iter(|| ring.count_after(black_box(after), usize::MAX, |key| prefix.matches(key)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, extend, read);
criterion_main!(benches);
