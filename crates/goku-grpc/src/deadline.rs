//! The deadline that a request brings.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, Response};
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic::body::Body;

const GRPC_TIMEOUT: &str = "grpc-timeout";

/// The time before the client's deadline at which the answer is given up, so that it comes before tonic's, which would be
/// `Cancelled`, and has a chance to arrive.
const MARGIN_MAX: Duration = Duration::from_millis(5);

/// The time before the client's deadline at which the store is to answer a write, so that its error, which says more, comes first.
const STORE_MARGIN_MAX: Duration = Duration::from_millis(50);

/// The future of a response that is `DeadlineExceeded` where it takes longer than its request's `grpc-timeout`. Only
/// this answer has that code: the client's own context has ended as well.
pub(crate) struct Deadline<F> {
    response: F,
    deadline: Option<Pin<Box<Sleep>>>,
    /// When the store is to have answered.
    store_end: Option<Instant>,
}

impl<F> Deadline<F> {
    /// The response to a request that allows `timeout` for it.
    pub(crate) fn new(response: F, timeout: Option<Duration>) -> Deadline<F> {
        Deadline {
            response,
            deadline: timeout.map(|timeout| {
                let margin = MARGIN_MAX.min(timeout / 10);
                Box::pin(tokio::time::sleep(timeout - margin))
            }),
            store_end: timeout
                .and_then(|timeout| Instant::now().checked_add(timeout - STORE_MARGIN_MAX.min(timeout / 5))),
        }
    }
}

/// The time that a request allows for its answer; none where it sets none, or nothing that can be read as one.
pub(crate) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

impl<F, E> Future for Deadline<F>
where
    F: Future<Output = Result<Response<Body>, E>> + Unpin,
{
    type Output = Result<Response<Body>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = match self.store_end {
            Some(end) => goku::deadline::with_end(end, || Pin::new(&mut self.response).poll(cx)),
            None => Pin::new(&mut self.response).poll(cx),
        };
        if response.is_ready() {
            return response;
        }
        let Some(deadline) = &mut self.deadline else {
            return Poll::Pending;
        };
        deadline.as_mut().poll(cx).map(|()| {
            let status = Status::deadline_exceeded("no answer within the time that the request allows for it");
            Ok(status.into_http())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_the_protocol_writes_them() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(GRPC_TIMEOUT, text.parse().unwrap());
            timeout(&headers)
        };
        assert_eq!(read("1H"), Some(Duration::from_secs(3600)));
        assert_eq!(read("99999999M"), Some(Duration::from_secs(99_999_999 * 60)));
        assert_eq!(read("20m"), Some(Duration::from_millis(20)));
        assert_eq!(read("7u"), Some(Duration::from_micros(7)));
        for text in ["", "S", "1", "1s", "-1S", "+1S", "123456789S", "1.5S"] {
            assert_eq!(read(text), None, "{text:?}");
        }
        assert_eq!(timeout(&HeaderMap::new()), None);
    }
}
