//! A client whose calls fail.

use async_trait::async_trait;
use goku::{
    Client, Entry, Error, ErrorKind, EventStream, Key, Lease, LeaseId, LeasesRequest, ListRequest, Listing, Result,
    Status, StreamRequest, Write, WriteAnswer, WriteId,
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

    async fn write(&self, _: Option<WriteId>, _: Write) -> Result<WriteAnswer> {
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
