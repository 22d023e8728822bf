//! A client of the calls that all that is compared can answer.

use async_trait::async_trait;
use goku::{
    Client, DeleteRequest, Entry, Error, ErrorKind, EventStream, Key, Lease, LeaseId, LeaseRequest, LeasesRequest,
    ListRequest, Listing, Result, SetRequest, Status, StreamRequest, Txn, TxnAnswer,
};

/// The calls that all that is compared can answer: those of the workloads `set`, `get` and `status`.
#[async_trait]
pub trait Calls: Send + Sync {
    /// As [`Client::get`].
    async fn get(&self, key: &Key) -> Result<Entry>;

    /// As [`Client::set`].
    async fn set(&self, request: SetRequest) -> Result<Entry>;

    /// As [`Client::status`]; `Unsupported` where there is none.
    async fn status(&self) -> Result<Status> {
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

    async fn set(&self, request: SetRequest) -> Result<Entry> {
        self.0.set(request).await
    }

    async fn status(&self) -> Result<Status> {
        self.0.status().await
    }

    async fn list(&self, _: ListRequest) -> Result<Listing> {
        unsupported()
    }

    async fn delete(&self, _: DeleteRequest) -> Result<Entry> {
        unsupported()
    }

    async fn txn(&self, _: Txn) -> Result<TxnAnswer> {
        unsupported()
    }

    async fn lease(&self, _: LeaseRequest) -> Result<Lease> {
        unsupported()
    }

    async fn get_lease(&self, _: LeaseId) -> Result<Lease> {
        unsupported()
    }

    async fn list_leases(&self, _: LeasesRequest) -> Result<Vec<Lease>> {
        unsupported()
    }

    async fn stream(&self, _: StreamRequest) -> Result<EventStream> {
        unsupported()
    }
}

fn unsupported<T>() -> Result<T> {
    Err(Error::new(ErrorKind::Unsupported, "the bench does not make this call"))
}
