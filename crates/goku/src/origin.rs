//! The origin of a change: who asked for it, by which request, as part of which trace.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::limits::{ACTOR_BYTES_MAX, REQUEST_ID_BYTES_MAX};

tokio::task_local! {
    /// `None` in the scope of an empty origin.
    static ORIGIN: Option<Arc<Origin>>;
}

/// The origin of a change: who asked for it, by which request, as part of which trace. It is stored with each event of the
/// change.
///
/// A write takes the origin of the [scope](Origin::scope) that it is made in:
///
/// ```
/// use goku::{Client, Engine, Key, Origin, SetRequest};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> goku::Result<()> {
/// let engine = Engine::open("sqlite::memory:").await?;
/// let origin = Origin::default().with_request_id("order-4711")?;
/// origin.scope(engine.set(SetRequest::new(Key::new("k")?, "v"))).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Origin {
    actor: String,
    request_id: String,
    trace: Option<TraceContext>,
}

/// The place in a distributed trace that a request brings, as W3C's [Trace Context](https://www.w3.org/TR/trace-context/) has it
/// in the header `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: [u8; 16],
    /// The span that made the request.
    pub span_id: [u8; 8],
    /// Whether it is sampled, in the lowest bit.
    pub flags: u8,
}

impl Origin {
    /// Sets the name of whoever asks for the change. Over the network it is the server that finds it out: one that a client gives
    /// is not sent.
    ///
    /// # Errors
    ///
    /// - `InvalidArgument`: it is longer than [`ACTOR_BYTES_MAX`].
    pub fn with_actor(self, actor: impl Into<String>) -> Result<Origin> {
        let actor = actor.into();
        check("the name of an actor", &actor, ACTOR_BYTES_MAX)?;
        Ok(Origin { actor, ..self })
    }

    /// Sets the id of the request, by which it is found in the logs of others.
    ///
    /// # Errors
    ///
    /// - `InvalidArgument`: it is longer than [`REQUEST_ID_BYTES_MAX`].
    pub fn with_request_id(self, request_id: impl Into<String>) -> Result<Origin> {
        let request_id = request_id.into();
        check("the id of a request", &request_id, REQUEST_ID_BYTES_MAX)?;
        Ok(Origin { request_id, ..self })
    }

    /// Sets the place in a trace.
    pub fn with_trace(self, trace: TraceContext) -> Origin {
        Origin {
            trace: Some(trace),
            ..self
        }
    }

    /// The name of whoever asked for the change; `None` where that is not known.
    pub fn actor(&self) -> Option<&str> {
        Some(self.actor.as_str()).filter(|actor| !actor.is_empty())
    }

    /// The id of the request; `None` where it brought none.
    pub fn request_id(&self) -> Option<&str> {
        Some(self.request_id.as_str()).filter(|id| !id.is_empty())
    }

    /// The place in a trace; `None` where the request brought none.
    pub fn trace(&self) -> Option<TraceContext> {
        self.trace
    }

    /// The origin as an event holds it; `None` where it is empty.
    pub fn shared(self) -> Option<Arc<Origin>> {
        (self != Origin::default()).then(|| Arc::new(self))
    }

    /// The origin that a store has in these columns; `None` where it has none.
    #[cfg(any(feature = "sqlite", feature = "mysql"))]
    pub(crate) fn stored(actor: &str, request_id: &str, trace: Option<&[u8]>) -> Result<Option<Arc<Origin>>> {
        let origin = Origin {
            trace: trace.and_then(TraceContext::from_bytes),
            ..Origin::default()
        };
        Ok(origin.with_actor(actor)?.with_request_id(request_id)?.shared())
    }

    /// Makes the writes of `work` with this origin, an empty one without any, whatever scope is around it. A task that it
    /// spawns is not part of it.
    pub async fn scope<T>(self, work: impl Future<Output = T>) -> T {
        let origin = self.shared();
        let is_around = ORIGIN.try_with(Option::is_some).unwrap_or(false);
        if origin.is_none() && !is_around {
            // Most calls: there is nothing to hide.
            return work.await;
        }
        ORIGIN.scope(origin, work).await
    }

    /// The origin of the scope that the calling task is in; `None` outside of any, and in that of an empty one.
    pub fn current() -> Option<Arc<Origin>> {
        ORIGIN.try_with(Option::clone).ok().flatten()
    }
}

fn check(what: &str, text: &str, bytes_max: usize) -> Result<()> {
    if text.len() > bytes_max {
        let message = format!("{what} has at most {bytes_max} bytes, this one {}", text.len());
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    }
    Ok(())
}

impl TraceContext {
    /// The bytes by which it is stored: trace, span and flags.
    #[cfg(any(feature = "sqlite", feature = "mysql"))]
    pub(crate) fn to_bytes(self) -> [u8; 25] {
        let mut bytes = [0; 25];
        bytes[..16].copy_from_slice(&self.trace_id);
        bytes[16..24].copy_from_slice(&self.span_id);
        bytes[24] = self.flags;
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote; `None` where it is something else.
    #[cfg(any(feature = "sqlite", feature = "mysql"))]
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<TraceContext> {
        let (trace_id, rest) = bytes.split_first_chunk()?;
        let (span_id, rest) = rest.split_first_chunk()?;
        let [flags] = rest else { return None };
        Some(TraceContext {
            trace_id: *trace_id,
            span_id: *span_id,
            flags: *flags,
        })
    }
}

impl fmt::Display for TraceContext {
    /// The form of the header `traceparent`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{:032x}-{:016x}-{:02x}",
            u128::from_be_bytes(self.trace_id),
            u64::from_be_bytes(self.span_id),
            self.flags
        )
    }
}

impl FromStr for TraceContext {
    type Err = Error;

    /// Reads the header `traceparent`, of any version that begins as the first one does.
    ///
    /// # Errors
    ///
    /// - `InvalidArgument`: the text has another form, or names no trace or span.
    fn from_str(text: &str) -> Result<TraceContext> {
        let hex = |part: &str, digits: usize| {
            let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            (part.len() == digits && part.bytes().all(is_hex)).then(|| u128::from_str_radix(part, 16).ok())?
        };
        let parse = || {
            let mut parts = text.split('-');
            let version = hex(parts.next()?, 2)?;
            let (trace, span) = (hex(parts.next()?, 32)?, hex(parts.next()?, 16)?);
            let flags = hex(parts.next()?, 2)?;
            let is_whole = version != 0xff && (version > 0 || parts.next().is_none());
            (is_whole && trace > 0 && span > 0).then_some(TraceContext {
                trace_id: trace.to_be_bytes(),
                span_id: u64::try_from(span).ok()?.to_be_bytes(),
                flags: u8::try_from(flags).ok()?,
            })
        };
        parse().ok_or_else(|| {
            let message = format!("{text:?} is no traceparent: it is 00-TRACE-SPAN-FLAGS in lower-case hexadecimal");
            Error::new(ErrorKind::InvalidArgument, message)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_context_is_read_as_it_is_shown() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace: TraceContext = text.parse().unwrap();
        assert_eq!(trace.to_string(), text);
        assert_eq!((trace.trace_id[0], trace.span_id[7], trace.flags), (0x4b, 0xb7, 1));
        assert_eq!(TraceContext::from_bytes(&trace.to_bytes()), Some(trace));
        assert_eq!(format!("01{}-more", &text[2..]).parse::<TraceContext>().unwrap(), trace);
    }

    #[test]
    fn what_is_no_trace_context_is_refused() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        for wrong in [
            "",
            "00",
            &text[..54],
            &format!("{text}-more"),
            &text.replace("00-4", "ff-4"),
            &text.replace('b', "B"),
            &text.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &text.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &text.replace("00f067aa0ba902b7", "+0f067aa0ba902b7"),
        ] {
            let error = wrong.parse::<TraceContext>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{wrong}");
        }
        assert_eq!(TraceContext::from_bytes(&[0; 24]), None);
    }

    #[test]
    fn an_origin_that_says_nothing_is_none() {
        assert_eq!(Origin::default().shared(), None);
        assert_eq!(Origin::stored("", "", Some(b"no trace")).unwrap(), None);
        let stored = Origin::stored("a", "", None).unwrap().unwrap();
        assert_eq!(stored.actor(), Some("a"));
    }

    #[tokio::test]
    async fn an_empty_origin_hides_that_of_the_scope_around_it() {
        let outer = Origin::default().with_request_id("outer").unwrap();
        let (inside, behind) = outer
            .clone()
            .scope(async {
                let inside = Origin::default().scope(async { Origin::current() }).await;
                (inside, Origin::current())
            })
            .await;
        assert_eq!(inside, None);
        assert_eq!(behind.as_deref(), Some(&outer));
        assert_eq!(Origin::default().scope(async { Origin::current() }).await, None);
    }

    #[tokio::test]
    async fn an_origin_is_that_of_its_scope() {
        assert_eq!(Origin::current(), None);
        let origin = Origin::default().with_request_id("r").unwrap();
        let (found, inner) = origin
            .clone()
            .scope(async {
                let inner = Origin::default().with_request_id("inner").unwrap();
                (Origin::current(), inner.scope(async { Origin::current() }).await)
            })
            .await;
        assert_eq!(found.as_deref(), Some(&origin));
        assert_eq!(inner.unwrap().request_id(), Some("inner"));
        let kind = |error: Error| error.kind();
        assert_eq!(
            Origin::default().with_request_id("r".repeat(65)).map_err(kind),
            Err(ErrorKind::InvalidArgument)
        );
        assert_eq!(
            Origin::default().with_actor("a".repeat(129)).map_err(kind),
            Err(ErrorKind::InvalidArgument)
        );
    }
}
