//! A reader of streams that goes when it pleases and resumes where it was.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use goku::{Client, EventId, EventStream, Position, StreamFrom, StreamItem, StreamRequest};
use tokio::sync::watch;
use tokio::time::sleep;

use super::{PREFIXES, Phase};
use crate::probe::watch as watch_request;
use crate::seed::Random;

/// Pause before a stream that ended is opened again.
const PAUSE: Duration = Duration::from_millis(20);

pub(super) struct Watcher {
    prefix: usize,
    replicas: Vec<Arc<dyn Client>>,
    random: Random,
    /// What was delivered last.
    position: Position,
}

impl Watcher {
    pub(super) fn new(prefix: usize, replicas: Vec<Arc<dyn Client>>, random: Random) -> Watcher {
        Watcher {
            prefix,
            replicas,
            random,
            position: Position::default(),
        }
    }

    pub(super) async fn run(mut self, mut phase: watch::Receiver<Phase>) {
        while *phase.borrow() != Phase::Over {
            let replica = self.random.choose(&self.replicas).clone();
            match replica.stream(self.request()).await {
                Ok(stream) => self.read(stream, &mut phase).await,
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    fn request(&mut self) -> StreamRequest {
        let from = match self.position.id {
            EventId::ZERO => StreamFrom::Beginning,
            id if self.random.one_in(3) => StreamFrom::After(id),
            _ => StreamFrom::Resume(self.position),
        };
        let request = watch_request(PREFIXES[self.prefix]).from(from);
        let progress = self.random.one_in(3).then_some(Duration::from_millis(30));
        StreamRequest { progress, ..request }
    }

    /// Reads until the stream ends, or it is time to go: never before the end once the load is over.
    async fn read(&mut self, mut stream: EventStream, phase: &mut watch::Receiver<Phase>) {
        let mut left = self.random.below(400);
        loop {
            let item = tokio::select! {
                // Not at random: a simulated run is a function of its seed.
                biased;
                _ = phase.wait_for(|phase| *phase == Phase::Over) => return,
                item = stream.next() => item,
            };
            match item {
                Some(Ok(StreamItem::Event(event))) => self.position = event.position(),
                Some(Ok(StreamItem::Progress(at))) => self.position = at.position,
                Some(Err(_)) | None => return sleep(PAUSE).await,
            }
            left = left.saturating_sub(1);
            if left == 0 && *phase.borrow() == Phase::Load {
                return;
            }
            if self.random.one_in(50) {
                sleep(self.random.between(Duration::ZERO, PAUSE)).await;
            }
        }
    }
}
