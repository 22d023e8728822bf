//! Resident memory of a server that nobody uses, and of one with streams that nothing comes on.

use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use goku::{EventStream, Prefix, StreamFrom, StreamRequest};
use tokio::time::sleep;

use crate::Outcome;
use crate::lab::Lab;
use crate::results::{Measure, Name, Row};
use crate::subject::Subject;

/// Streams, as the goal says.
const STREAMS: usize = 10_000;

/// Streams that are opened at the same time.
const OPENING: usize = 100;

/// What a server has to settle before its memory is looked at.
const SETTLING: Duration = Duration::from_secs(1);

pub(super) async fn measure(lab: &mut Lab) -> Outcome<()> {
    lab.begin(Row::Memory);
    for _ in 0..lab.options.runs() {
        let goku = lab.serve(&lab.database(Subject::Sqlite, "memory").await?).await?;
        sleep(SETTLING).await;
        let idle = goku.process.resident_bytes()?;
        let opened = stream::iter(0..STREAMS).map(|number| {
            let client = goku.clients[number % goku.clients.len()].clone();
            async move {
                let prefix = Prefix::new(format!("/idle/{number}/"))?;
                client.stream(StreamRequest::new(prefix).from(StreamFrom::Head)).await
            }
        });
        let opened: Vec<goku::Result<EventStream>> = opened.buffer_unordered(OPENING).collect().await;
        let opened: Vec<EventStream> = opened.into_iter().collect::<goku::Result<_>>()?;
        sleep(SETTLING).await;
        let with_streams = goku.process.resident_bytes()?;
        drop(opened);
        goku.stop().await?;
        for (measure, bytes) in [(Measure::MemoryIdle, idle), (Measure::MemoryStreams, with_streams)] {
            lab.add(Row::Memory, Name::new(measure, Subject::Sqlite), bytes as f64);
        }
    }
    Ok(())
}
