//! Streams that nobody reads: what they cost the server.

use std::sync::Arc;

use futures::StreamExt;
use goku::{Client, StreamItem};
use goku_grpc::GrpcClient;
use goku_testkit::Probe;
use goku_testkit::probe::{soon, watch};

use crate::goku::Goku;

const MIB: usize = 1024 * 1024;

/// Streams that are not read.
const STREAMS: usize = 40;

/// What is written meanwhile.
const WRITTEN_MIB: usize = 96;

/// What the server may take for all of it: the newest events, and a page and what is under way for each stream. Were all
/// events kept for each it would be 40 times what is written.
const MEMORY_MIB_MAX: usize = 400;

/// The memory of a process in MiB: its second number is what it has in pages of 4 KiB.
fn memory_mib(id: u32) -> usize {
    let text = std::fs::read_to_string(format!("/proc/{id}/statm")).unwrap();
    let pages: usize = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096 / MIB
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_nobody_reads_take_bounded_memory_and_miss_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let goku = Goku::serve(&[
        "--store",
        &format!("sqlite:{}", folder.path().join("goku.db").display()),
    ]);
    let client = GrpcClient::connect(&goku.endpoint).unwrap();
    let probe = Probe::new(Arc::new(client.clone()));
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        streams.push(client.stream(watch("")).await.unwrap());
    }
    let mut memory = 0;
    for number in 0..2 * WRITTEN_MIB {
        probe.put("key", vec![number as u8; MIB / 2]).await;
        memory = memory.max(memory_mib(goku.id()));
    }
    println!("{memory} MiB at most");
    assert!(memory < MEMORY_MIB_MAX, "{memory} MiB");
    // Read after all, each has everything.
    for stream in streams.iter_mut().take(2) {
        for number in 1..=2 * WRITTEN_MIB as i64 {
            let Some(Ok(StreamItem::Event(event))) = soon("an event", stream.next()).await else {
                panic!("an event");
            };
            assert_eq!(event.id.get(), number);
        }
    }
}
