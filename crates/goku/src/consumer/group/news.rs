//! The news of a group, as a member hears them.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::super::pauses::AWAY;
use super::super::spec::Spec;
use super::keys::Keys;
use super::view::View;
use crate::client::Client;
use crate::cursor::ConsumerName;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, StreamItem};
use crate::id::Snapshot;
use crate::request::{StreamFrom, StreamRequest};

/// News that wait for a member.
const WAITING_MAX: usize = 256;

/// The interval at which a quiet stream tells its position, so that it does not fall behind what is retained.
const PROGRESS: Duration = Duration::from_secs(5);

/// A piece of news.
pub(super) enum News {
    /// All that there is at this point: at the beginning, and where events may have been missed.
    Whole(View, Snapshot),
    /// An event since.
    Event(Event),
}

/// The news of a group, in order, without a gap, until something that does not pass is in the way.
pub(super) struct NewsFeed {
    news: mpsc::Receiver<Result<News>>,
    _reading: AbortOnDropHandle<()>,
}

impl NewsFeed {
    pub(super) fn open(client: Arc<dyn Client>, spec: &Spec) -> NewsFeed {
        let (name, outages) = (spec.name().clone(), spec.outages.clone());
        let (teller, news) = mpsc::channel(WAITING_MAX);
        let reading = async move {
            let mut failures = 0;
            loop {
                let error = match tell(&*client, &name, &teller, &mut failures).await {
                    Ok(()) => return,
                    Err(error) => error,
                };
                if !error.kind().is_transient() && !is_of_place(&error) {
                    drop(teller.send(Err(error)).await);
                    return;
                }
                failures += 1;
                // What happens in the group is read anew.
                outages.goku.failed(&error);
                tokio::time::sleep(AWAY.after(failures)).await;
            }
        };
        NewsFeed {
            news,
            _reading: AbortOnDropHandle::new(tokio::spawn(reading)),
        }
    }

    /// The next piece. May be dropped and asked for again.
    pub(super) async fn next(&mut self) -> Result<News> {
        let closed = || {
            Err(Error::new(
                ErrorKind::Internal,
                "the task that reads a group's news failed",
            ))
        };
        self.news.recv().await.unwrap_or_else(closed)
    }

    /// The next piece, where it is there already.
    pub(super) fn next_now(&mut self) -> Option<Result<News>> {
        self.news.try_recv().ok()
    }
}

/// Tells what there is and then what happens, until nobody listens any more.
async fn tell(
    client: &dyn Client,
    name: &ConsumerName,
    teller: &mpsc::Sender<Result<News>>,
    failures: &mut u32,
) -> Result<()> {
    let (view, at) = View::read(client, name).await?;
    let request = StreamRequest {
        from: StreamFrom::Resume(at.position),
        progress: Some(PROGRESS),
        ..StreamRequest::new(Keys::of(name).prefix()?)
    };
    let mut stream = client.stream(request).await?;
    if teller.send(Ok(News::Whole(view, at))).await.is_err() {
        return Ok(());
    }
    *failures = 0;
    while let Some(item) = stream.next().await {
        if let StreamItem::Event(event) = item?
            && teller.send(Ok(News::Event(event))).await.is_err()
        {
            return Ok(());
        }
    }
    Err(Error::new(
        ErrorKind::Unavailable,
        "the stream ended without saying why",
    ))
}

/// Whether it is the place of a stream that is gone: what was done is done, and what there is has to be read anew.
fn is_of_place(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Compacted { .. } | ErrorKind::PositionLost)
}
