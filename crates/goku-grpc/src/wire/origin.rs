//! The origin of a change, in the headers of requests and in the fields of events.

use std::sync::Arc;

use bytes::Bytes;
use goku::{Origin, Result, TraceContext};
use prost::Message as _;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};

use super::invalid;
use crate::proto::reflexpb;

/// The header by which proxies and clients name a request.
const REQUEST_ID: &str = "x-request-id";

/// The header of W3C's Trace Context.
const TRACEPARENT: &str = "traceparent";

/// The origin that the headers of a request name. They never tell who sent it. A trace that cannot be read is none, as the
/// Trace Context demands.
pub(crate) fn origin(headers: &MetadataMap) -> Result<Origin> {
    let mut origin = Origin::default();
    if let Some(id) = headers.get(REQUEST_ID) {
        let id = id.to_str();
        origin = origin.with_request_id(id.map_err(|_| invalid("the header x-request-id is no text"))?)?;
    }
    let trace = headers
        .get(TRACEPARENT)
        .and_then(|trace| trace.to_str().ok()?.parse().ok());
    Ok(match trace {
        Some(trace) => origin.with_trace(trace),
        None => origin,
    })
}

/// Tells in the headers of a request where it comes from, but for who sends it. What no header can hold is left out.
pub(crate) fn put_origin(origin: &Origin, headers: &mut MetadataMap) {
    let request_id = origin.request_id().map(|id| (REQUEST_ID, id.to_owned()));
    let trace = origin.trace().map(|trace| (TRACEPARENT, trace.to_string()));
    for (name, value) in request_id.into_iter().chain(trace) {
        if let Ok(value) = MetadataValue::<Ascii>::try_from(value) {
            headers.insert(name, value);
        }
    }
}

/// The fields of an event: who asked for it, by which request, the trace and its flags.
pub(super) fn to_event(origin: Option<&Origin>) -> (String, String, Bytes, u32) {
    let Some(origin) = origin else {
        return Default::default();
    };
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let trace = origin.trace().map(|trace| reflexpb::Trace {
        trace_id: format!("{:032x}", u128::from_be_bytes(trace.trace_id)),
        span_id: format!("{:016x}", u64::from_be_bytes(trace.span_id)),
    });
    (
        text(origin.actor()),
        text(origin.request_id()),
        trace.map(|trace| trace.encode_to_vec().into()).unwrap_or_default(),
        origin.trace().map_or(0, |trace| trace.flags.into()),
    )
}

/// The origin of an event. A trace that cannot be read, as another server may have sent it, is none.
pub(super) fn from_event(trace: &[u8], detail: &reflexpb::EventDetail) -> Result<Option<Arc<Origin>>> {
    let origin = Origin::default()
        .with_actor(&detail.actor)?
        .with_request_id(&detail.request_id)?;
    let origin = match trace_of(trace, detail.trace_flags) {
        Some(trace) => origin.with_trace(trace),
        None => origin,
    };
    Ok(origin.shared())
}

fn trace_of(trace: &[u8], flags: u32) -> Option<TraceContext> {
    if trace.is_empty() {
        return None;
    }
    let trace = reflexpb::Trace::decode(trace).ok()?;
    format!("00-{}-{}-{flags:02x}", trace.trace_id, trace.span_id)
        .parse()
        .ok()
}
