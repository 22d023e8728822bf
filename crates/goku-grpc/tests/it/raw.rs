//! A client that sends any bytes with any headers and shows exactly what comes back.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use goku_grpc::proto::rpc;
use http::Request;
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::io::DuplexStream;
use tonic::{Code, Status};

pub(crate) struct Raw(SendRequest<RawBody>);

/// Bytes, after which the request either ends or stays open.
pub(crate) struct RawBody {
    data: Option<Bytes>,
    stays_open: bool,
}

pub(crate) struct Answer {
    pub(crate) messages: Vec<Bytes>,
    pub(crate) status: Status,
}

impl Raw {
    pub(crate) async fn new(io: DuplexStream) -> Raw {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await.unwrap();
        tokio::spawn(connection);
        Raw(sender)
    }

    /// Sends one message.
    pub(crate) async fn call(&mut self, path: &str, message: &[u8]) -> Answer {
        self.call_with(path, &[], message).await
    }

    /// Sends one message with these headers besides the necessary ones.
    pub(crate) async fn call_with(&mut self, path: &str, headers: &[(&'static str, &str)], message: &[u8]) -> Answer {
        let mut framed = frame_header(message.len());
        framed.extend(message);
        self.send(path, headers, framed.into(), false).await
    }

    /// Sends the beginning of a message of `length` bytes, and never the rest.
    pub(crate) async fn begin(&mut self, path: &str, length: usize, beginning: &[u8]) -> Answer {
        let mut framed = frame_header(length);
        framed.extend(beginning);
        self.send(path, &[], framed.into(), true).await
    }

    async fn send(&mut self, path: &str, headers: &[(&'static str, &str)], data: Bytes, stays_open: bool) -> Answer {
        let mut request = Request::post(format!("http://goku.test{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = RawBody {
            data: Some(data),
            stays_open,
        };
        let response = self.0.send_request(request.body(body).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let collected = body.collect().await.unwrap();
        let trailers = collected.trailers().cloned().unwrap_or_default();
        let status = Status::from_header_map(&trailers)
            .or_else(|| Status::from_header_map(&parts.headers))
            .expect("a status in trailers or headers");
        Answer {
            messages: unframe(collected.to_bytes()),
            status,
        }
    }
}

fn frame_header(length: usize) -> Vec<u8> {
    let mut header = vec![0];
    header.extend(u32::try_from(length).unwrap().to_be_bytes());
    header
}

fn unframe(mut bytes: Bytes) -> Vec<Bytes> {
    let mut messages = Vec::new();
    while bytes.has_remaining() {
        assert_eq!(bytes.get_u8(), 0, "compressed");
        let length = bytes.get_u32() as usize;
        messages.push(bytes.split_to(length));
    }
    messages
}

impl Answer {
    /// The type and the bytes of each detail of the status.
    pub(crate) fn details(&self) -> Vec<(String, Vec<u8>)> {
        let status = rpc::Status::decode(self.status.details()).unwrap();
        if !self.status.details().is_empty() {
            assert_eq!(Code::from(status.code), self.status.code());
            assert_eq!(status.message, self.status.message());
        }
        status
            .details
            .into_iter()
            .map(|any| (any.type_url, any.value))
            .collect()
    }
}

impl http_body::Body for RawBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.data.take() {
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            None if self.stays_open => Poll::Pending,
            None => Poll::Ready(None),
        }
    }
}
