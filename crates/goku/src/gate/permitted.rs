//! The data for one caller: each request is asked for the rights that it demands.

use async_trait::async_trait;

use super::audit;
use super::visitor::{Checked, Visitor};
use super::watched::Watched;
use crate::access::Demand;
use crate::client::{Client, EventStream, Listing};
use crate::cursor::{ConsumerName, Cursor, CursorMove, CursorsRequest};
use crate::decide::{Request, Settings};
use crate::entry::Entry;
use crate::error::Result;
use crate::event::History;
use crate::id::{EventId, LeaseId};
use crate::key::Key;
use crate::lease::{Lease, LeaseKeys, LeaseKeysRequest, LeasesRequest};
use crate::request::{HistoryRequest, ListRequest, StreamRequest};
use crate::status::Status;
use crate::write::{Write, WriteAnswer, WriteId};

/// The data for one caller.
pub(super) struct Permitted(Visitor);

impl Permitted {
    pub(super) fn new(visitor: Visitor) -> Permitted {
        Permitted(visitor)
    }
}

#[async_trait]
impl Client for Permitted {
    async fn get(&self, key: &Key) -> Result<Entry> {
        let Checked { rules, .. } = self.0.check_known(key).await?;
        if !rules.are_enabled() || !self.0.engine().is_shared() {
            return self.0.engine().get(key).await;
        }
        let (entry, settings) = self.0.engine().get_with_settings(key).await?;
        if settings != Some(rules.stamp()) {
            self.0.check(key).await?;
        }
        entry
    }

    async fn get_at(&self, key: &Key, at: EventId) -> Result<Entry> {
        self.0.check(key).await?;
        self.0.engine().get_at(key, at).await
    }

    async fn list(&self, request: ListRequest) -> Result<Listing> {
        self.0.check(&request).await?;
        self.0.engine().list(request).await
    }

    async fn write(&self, id: Option<WriteId>, write: Write) -> Result<WriteAnswer> {
        let checked = match &write {
            // It is not decided under the lock, with the settings as they are there.
            Write::Txn(txn) if id.is_none() && txn.is_read() => self.0.check(&write).await?,
            write => self.0.check_known(write).await?,
        };
        let allow = |settings: &Settings, request: &Request| {
            let Checked { rights, .. } = self.0.check_again(&checked, settings, request)?;
            Ok(Some(rights).filter(|rights| rights.are_asked_for() || rights.identity().is_some()))
        };
        audit::changes(&checked.rights, self.0.engine().write_by(id, write, &allow)).await
    }

    async fn get_lease(&self, id: LeaseId) -> Result<Lease> {
        let Checked { rights, .. } = self.0.check(&Demand::Anything).await?;
        self.0.told(self.0.engine().get_lease_by(id, Some(&rights)).await)
    }

    async fn list_leases(&self, request: LeasesRequest) -> Result<Vec<Lease>> {
        self.0.check(&Demand::Leases).await?;
        self.0.engine().list_leases(request).await
    }

    async fn lease_keys(&self, request: LeaseKeysRequest) -> Result<LeaseKeys> {
        let Checked { rights, .. } = self.0.check(&Demand::Anything).await?;
        self.0
            .told(self.0.engine().get_lease_by(request.id, Some(&rights)).await)?;
        self.0.engine().lease_keys(request).await
    }

    async fn history(&self, request: HistoryRequest) -> Result<History> {
        self.0.check(&request).await?;
        self.0.engine().history(request).await
    }

    async fn stream(&self, request: StreamRequest) -> Result<EventStream> {
        let Checked { rules, .. } = self.0.check(&request).await?;
        let events = self.0.engine().stream(request.clone()).await?;
        let opened_at = events.opened_at();
        let watched = Watched::new(self.0.clone(), request, &rules, events);
        Ok(EventStream::new(opened_at, watched))
    }

    async fn status(&self) -> Result<Status> {
        self.0.check(&Demand::Observe).await?;
        self.0.engine().status().await
    }

    async fn move_cursors(&self, moves: Vec<CursorMove>) -> Result<Vec<Result<Cursor>>> {
        self.0.check(moves.as_slice()).await?;
        self.0.engine().move_cursors(moves).await
    }

    async fn list_cursors(&self, request: CursorsRequest) -> Result<Vec<Cursor>> {
        self.0.check(&request).await?;
        self.0.engine().list_cursors(request).await
    }

    async fn delete_cursors(&self, consumer: &ConsumerName) -> Result<u64> {
        self.0.check(consumer).await?;
        self.0.engine().delete_cursors(consumer).await
    }
}
