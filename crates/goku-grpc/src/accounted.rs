//! The bodies of a call whose bytes are counted.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tonic::Status;

use crate::budget::{Account, COUNTED_BYTES_MIN, STEP_BYTES_MAX};
use crate::limits::MESSAGE_BYTES_MAX;

/// A flag and the length of the message that follows.
const HEADER_BYTES: usize = 5;

/// A request that is read once there is room for its message.
pub(crate) struct Request {
    body: Incoming,
    account: Arc<Account>,
    /// The header of the message, as far as it is there.
    header: [u8; HEADER_BYTES],
    header_bytes: usize,
    /// Bytes that came with the header, until there is room.
    first: Option<Bytes>,
    room: Option<BoxFuture<'static, Result<(), Status>>>,
}

/// An answer whose pieces are counted as long as they are kept.
pub(crate) struct Answer {
    body: tonic::body::Body,
    account: Arc<Account>,
    /// Whether it has many messages: then it waits for room, and every piece is counted.
    is_stream: bool,
    room: Option<BoxFuture<'static, ()>>,
    /// Bytes that were counted and not handed on yet.
    rest: Bytes,
}

impl Request {
    pub(crate) fn new(body: Incoming, account: Arc<Account>) -> Request {
        Request {
            body,
            account,
            header: [0; HEADER_BYTES],
            header_bytes: 0,
            first: None,
            room: None,
        }
    }

    /// The length of the message, once its header is there for the first time. A longer one than any may be is refused
    /// elsewhere, before more of it is read.
    fn length(&mut self, data: &[u8]) -> Option<usize> {
        let taken = (HEADER_BYTES - self.header_bytes).min(data.len());
        if taken == 0 {
            return None;
        }
        self.header[self.header_bytes..][..taken].copy_from_slice(&data[..taken]);
        self.header_bytes += taken;
        let [_, length @ ..] = self.header;
        let length = u32::from_be_bytes(length) as usize;
        (self.header_bytes == HEADER_BYTES && (COUNTED_BYTES_MIN..=MESSAGE_BYTES_MAX).contains(&length))
            .then_some(length)
    }
}

impl Body for Request {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if let Some(room) = &mut this.room {
            let taken = ready!(room.as_mut().poll(cx));
            this.room = None;
            taken?;
        }
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let frame = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(Status::from_error(Box::new(error))))),
            None => return Poll::Ready(None),
        };
        let Some(length) = frame.data_ref().and_then(|data| this.length(data)) else {
            return Poll::Ready(Some(Ok(frame)));
        };
        let mut room: BoxFuture<'static, _> = Box::pin(this.account.request_room(length));
        match room.as_mut().poll(cx) {
            Poll::Ready(taken) => {
                taken?;
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Pending => {
                this.room = Some(room);
                this.first = frame.into_data().ok();
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl Answer {
    pub(crate) fn new(body: tonic::body::Body, account: Arc<Account>, is_stream: bool) -> Answer {
        Answer {
            body,
            account,
            is_stream,
            room: None,
            rest: Bytes::new(),
        }
    }

    /// The next part of what was counted.
    fn step(&mut self) -> Bytes {
        let bytes = self.rest.len().min(STEP_BYTES_MAX);
        self.account.step(self.rest.split_to(bytes))
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.room.is_none() && self.account.answers_have_room() {
            return Poll::Ready(());
        }
        let account = &self.account;
        let room = self.room.get_or_insert_with(|| Box::pin(account.answer_room()));
        ready!(room.as_mut().poll(cx));
        self.room = None;
        Poll::Ready(())
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if !this.rest.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(this.step()))));
        }
        if this.is_stream {
            ready!(this.poll_room(cx));
        }
        let frame = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            other => return Poll::Ready(other),
        };
        let counts = |data: &Bytes| this.is_stream || data.len() >= COUNTED_BYTES_MIN;
        if !frame.data_ref().is_some_and(counts) {
            return Poll::Ready(Some(Ok(frame)));
        }
        let frame = frame.map_data(|data| {
            let counted = this.account.count(data);
            if counted.len() <= STEP_BYTES_MAX {
                return counted;
            }
            this.rest = counted;
            this.step()
        });
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
