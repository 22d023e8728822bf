//! etcd as the load generator sees it: two calls.

use async_trait::async_trait;
use etcd_client::KvClient;
use goku::{Entry, Error, ErrorKind, EventId, Key, LeaseId, Result, Revision, SetRequest, Version};
use goku_load::Calls;

/// One connection to an etcd.
pub(crate) struct Etcd(KvClient);

impl Etcd {
    /// Connects to the server at this URL.
    pub(crate) async fn connect(endpoint: &str) -> Result<Etcd> {
        let client = etcd_client::Client::connect([endpoint], None).await.map_err(failed)?;
        Ok(Etcd(client.kv_client()))
    }
}

#[async_trait]
impl Calls for Etcd {
    async fn get(&self, key: &Key) -> Result<Entry> {
        // Linearizable unless an option says otherwise, as goku's is.
        let mut answer = self.0.clone().get(key.as_bytes(), None).await.map_err(failed)?;
        let Some(kv) = answer.take_kvs().into_iter().next() else {
            return Err(Error::new(ErrorKind::NotFound, "key not found"));
        };
        let found = Entry {
            version: Version::new(kv.version())?,
            created_ref: EventId::new(kv.create_revision())?,
            updated_ref: EventId::new(kv.mod_revision())?,
            ..written(key.clone())?
        };
        let (_, value) = kv.into_key_value();
        Ok(Entry {
            value: value.into(),
            ..found
        })
    }

    async fn set(&self, request: SetRequest) -> Result<Entry> {
        let put = self.0.clone().put(request.key.as_bytes(), &request.value.as_argument()?[..], None).await;
        put.map_err(failed)?;
        written(request.key)
    }
}

/// What a put leaves, as far as its answer tells: nobody looks at it.
fn written(key: Key) -> Result<Entry> {
    Ok(Entry {
        key,
        value: Default::default(),
        version: Version::FIRST,
        created_ref: EventId::default(),
        updated_ref: EventId::default(),
        deleted_ref: None,
        lease_id: LeaseId::new(1)?,
        leased: None,
        created_version: Version::FIRST,
        created_rev: Revision::default(),
        updated_rev: Revision::default(),
    })
}

fn failed(error: etcd_client::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("etcd: {error}"))
}
