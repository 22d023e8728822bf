//! A client whose calls fail.

use async_trait::async_trait;
use goku::{
    Client, DeleteRequest, Entry, Error, ErrorKind, EventStream, Key, Lease, LeaseId, LeaseRequest, LeasesRequest,
    ListRequest, Listing, Result, SetRequest, Status, StreamRequest, Txn, TxnAnswer,
};

/// Fails at once, with errors of this kind.
pub(crate) struct Failing(pub(crate) ErrorKind);

impl Failing {
    fn fail<T>(&self) -> Result<T> {
        Err(Error::new(self.0, "it fails"))
    }
}

#[async_trait]
impl Client for Failing {
    async fn get(&self, _: &Key) -> Result<Entry> {
        self.fail()
    }

    async fn list(&self, _: ListRequest) -> Result<Listing> {
        self.fail()
    }

    async fn set(&self, _: SetRequest) -> Result<Entry> {
        self.fail()
    }

    async fn delete(&self, _: DeleteRequest) -> Result<Entry> {
        self.fail()
    }

    async fn txn(&self, _: Txn) -> Result<TxnAnswer> {
        self.fail()
    }

    async fn lease(&self, _: LeaseRequest) -> Result<Lease> {
        self.fail()
    }

    async fn get_lease(&self, _: LeaseId) -> Result<Lease> {
        self.fail()
    }

    async fn list_leases(&self, _: LeasesRequest) -> Result<Vec<Lease>> {
        self.fail()
    }

    async fn stream(&self, _: StreamRequest) -> Result<EventStream> {
        self.fail()
    }

    async fn status(&self) -> Result<Status> {
        self.fail()
    }
}
