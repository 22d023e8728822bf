//! The history of a key.

use goku::{Error, EventId, History, HistoryRequest, Result, StreamItem};

use super::{impossible, key, missing, page_limit};
use crate::proto::{gokupb as pb, reflexpb};

impl From<HistoryRequest> for pb::HistoryRequest {
    fn from(request: HistoryRequest) -> pb::HistoryRequest {
        let (key, key_bytes) = key::to_request(&request.key);
        pb::HistoryRequest {
            key,
            key_bytes,
            from: request.from.map_or(0, EventId::get),
            limit: request.limit.map(|limit| limit as u64),
        }
    }
}

impl TryFrom<pb::HistoryRequest> for HistoryRequest {
    type Error = Error;

    fn try_from(history: pb::HistoryRequest) -> Result<HistoryRequest> {
        Ok(HistoryRequest {
            key: key::from_request(&history.key, &history.key_bytes)?,
            from: place(history.from)?,
            limit: history.limit.map(page_limit),
        })
    }
}

impl TryFrom<History> for pb::HistoryResponse {
    type Error = Error;

    fn try_from(page: History) -> Result<pb::HistoryResponse> {
        let events = page.events.into_iter().map(reflexpb::Event::try_from);
        Ok(pb::HistoryResponse {
            events: events.collect::<Result<_>>()?,
            rest: page.rest.map_or(0, EventId::get),
        })
    }
}

impl TryFrom<pb::HistoryResponse> for History {
    type Error = Error;

    fn try_from(page: pb::HistoryResponse) -> Result<History> {
        let event = |event: reflexpb::Event| match event.try_into()? {
            StreamItem::Event(event) => Ok(event),
            StreamItem::Progress(_) => Err(missing("progress in a history")),
        };
        Ok(History {
            events: page.events.into_iter().map(event).collect::<Result<_>>()?,
            rest: place(page.rest).map_err(impossible)?,
        })
    }
}

/// An event where there is one; 0 is none.
fn place(id: i64) -> Result<Option<EventId>> {
    Ok(Some(EventId::new(id)?).filter(|id| *id > EventId::ZERO))
}
