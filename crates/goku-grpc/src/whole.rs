//! A body that knows its last frame.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame, SizeHint};

/// A body that looks for the frame after each, so that the last one says that it is: where it only turns out later that
/// there is no other, an empty frame says so.
pub(crate) struct Whole<B: Body> {
    body: B,
    next: Next<B>,
}

type Polled<B> = Option<Result<Frame<<B as Body>::Data>, <B as Body>::Error>>;

enum Next<B: Body> {
    /// Not known yet.
    Unknown,
    Known(Polled<B>),
    /// The body has ended.
    Nothing,
}

impl<B: Body> Whole<B> {
    pub(crate) fn new(body: B) -> Whole<B> {
        Whole {
            body,
            next: Next::Unknown,
        }
    }
}

impl<B: Body<Data: Unpin, Error: Unpin> + Unpin> Body for Whole<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Polled<B>> {
        let this = &mut *self;
        let frame = match std::mem::replace(&mut this.next, Next::Unknown) {
            Next::Unknown => ready!(Pin::new(&mut this.body).poll_frame(cx)),
            Next::Known(frame) => frame,
            Next::Nothing => None,
        };
        this.next = match &frame {
            None | Some(Err(_)) => Next::Nothing,
            Some(Ok(_)) => match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(None) => Next::Nothing,
                Poll::Ready(next) => Next::Known(next),
                Poll::Pending => Next::Unknown,
            },
        };
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match self.next {
            Next::Unknown => self.body.is_end_stream(),
            Next::Known(_) => false,
            Next::Nothing => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
