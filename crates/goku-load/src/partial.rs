//! A client of some calls: what is compared with goku, or stands in for it, answers no others.

use async_trait::async_trait;
use goku::{
    Client, Entry, Error, ErrorKind, EventStream, Key, Lease, LeaseId, LeasesRequest, ListRequest, Listing, Result,
    SetRequest, Status, StreamRequest, Write, WriteAnswer, WriteId,
};

/// The calls that somebody answers who is no goku: those of the workloads `set`, `get` and `status`, and a stream. What is
/// left out is `Unsupported`.
#[async_trait]
pub trait Calls: Send + Sync {
    /// As [`Client::get`].
    async fn get(&self, _key: &Key) -> Result<Entry> {
        unsupported()
    }

    /// As [`Client::set`].
    async fn set(&self, _request: SetRequest) -> Result<Entry> {
        unsupported()
    }

    /// As [`Client::status`].
    async fn status(&self) -> Result<Status> {
        unsupported()
    }

    /// As [`Client::stream`].
    async fn stream(&self, _request: StreamRequest) -> Result<EventStream> {
        unsupported()
    }
}

/// These calls as a [`Client`], to which all others are `Unsupported`.
pub struct Partial<C>(pub C);

#[async_trait]
impl<C: Calls> Client for Partial<C> {
    async fn get(&self, key: &Key) -> Result<Entry> {
        self.0.get(key).await
    }

    async fn write(&self, id: Option<WriteId>, write: Write) -> Result<WriteAnswer> {
        match (id, write) {
            (None, Write::Set(request)) => self.0.set(request).await.map(WriteAnswer::Entry),
            _ => unsupported(),
        }
    }

    async fn status(&self) -> Result<Status> {
        self.0.status().await
    }

    async fn stream(&self, request: StreamRequest) -> Result<EventStream> {
        self.0.stream(request).await
    }

    async fn list(&self, _: ListRequest) -> Result<Listing> {
        unsupported()
    }

    async fn get_lease(&self, _: LeaseId) -> Result<Lease> {
        unsupported()
    }

    async fn list_leases(&self, _: LeasesRequest) -> Result<Vec<Lease>> {
        unsupported()
    }
}

fn unsupported<T>() -> Result<T> {
    Err(Error::new(
        ErrorKind::Unsupported,
        "this stand-in does not answer the call",
    ))
}
