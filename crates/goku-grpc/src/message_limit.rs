//! The limit of a request's size, with the original's answer to what is over it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use tonic::Status;

use crate::counts::{Limit, ServerCounts};
use crate::limits::MESSAGE_BYTES_MAX;

/// A flag and the length of the message that follows.
const HEADER_BYTES: usize = 5;

/// A request's body that ends with the error that clients of the original expect as soon as the header of a message
/// says that it is longer than [`MESSAGE_BYTES_MAX`]: nothing of the message is kept, and the client may still be
/// sending it.
#[derive(Debug)]
pub(crate) struct MessageLimit<B> {
    body: B,
    scan: Scan,
    counts: ServerCounts,
}

/// The place of the body in a sequence of messages.
#[derive(Debug, Default)]
struct Scan {
    header: [u8; HEADER_BYTES],
    header_bytes: usize,
    message_bytes_left: usize,
}

impl<B> MessageLimit<B> {
    pub(crate) fn new(body: B, counts: ServerCounts) -> MessageLimit<B> {
        MessageLimit {
            body,
            scan: Scan::default(),
            counts,
        }
    }
}

impl Scan {
    /// Goes over the next bytes of the body; an error where a message in them is too long.
    fn advance(&mut self, mut data: &[u8]) -> Result<(), Status> {
        while !data.is_empty() {
            let skipped = self.message_bytes_left.min(data.len());
            self.message_bytes_left -= skipped;
            data.advance(skipped);

            let taken = (HEADER_BYTES - self.header_bytes).min(data.len());
            self.header[self.header_bytes..][..taken].copy_from_slice(&data[..taken]);
            self.header_bytes += taken;
            data.advance(taken);
            if self.header_bytes == HEADER_BYTES {
                self.begin_message()?;
            }
        }
        Ok(())
    }

    fn begin_message(&mut self) -> Result<(), Status> {
        let [_, length @ ..] = self.header;
        let length = u32::from_be_bytes(length) as usize;
        if length > MESSAGE_BYTES_MAX {
            return Err(Status::resource_exhausted(format!(
                "grpc: received message larger than max ({length} vs. {MESSAGE_BYTES_MAX})"
            )));
        }
        self.header_bytes = 0;
        self.message_bytes_left = length;
        Ok(())
    }
}

impl<B> Body for MessageLimit<B>
where
    B: Body<Data = Bytes, Error = Status> + Unpin,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(frame) = ready!(Pin::new(&mut this.body).poll_frame(cx)?) else {
            return Poll::Ready(None);
        };
        if let Some(data) = frame.data_ref() {
            let advanced = this.scan.advance(data);
            advanced.inspect_err(|_| this.counts.refuse(Limit::MessageBytes))?;
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend((length as u32).to_be_bytes());
        bytes.resize(HEADER_BYTES + length, 7);
        bytes
    }

    #[test]
    fn messages_of_the_limit_pass_however_they_are_cut() {
        let mut bytes = message(0);
        bytes.extend(message(3));
        bytes.extend(message(MESSAGE_BYTES_MAX));
        bytes.extend(message(1));
        for piece in [1, 2, 5, 7, 16_384, bytes.len()] {
            let mut scan = Scan::default();
            bytes.chunks(piece).for_each(|piece| scan.advance(piece).unwrap());
            assert_eq!((scan.header_bytes, scan.message_bytes_left), (0, 0));
        }
    }

    #[test]
    fn one_byte_more_is_refused_at_the_header() {
        let mut bytes = message(2);
        bytes.extend([0]);
        bytes.extend((MESSAGE_BYTES_MAX as u32 + 1).to_be_bytes());
        for piece in [1, 4, bytes.len()] {
            let mut scan = Scan::default();
            let refused = bytes.chunks(piece).try_for_each(|piece| scan.advance(piece));
            let status = refused.unwrap_err();
            assert_eq!(status.code(), tonic::Code::ResourceExhausted);
            assert_eq!(
                status.message(),
                "grpc: received message larger than max (4194305 vs. 4194304)"
            );
        }
    }
}
