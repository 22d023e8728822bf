//! The stores that the suite runs on, each made anew for every test.

mod grpc;
mod mysql;

use std::sync::Arc;

use async_trait::async_trait;
use goku::{Admin, Client, Engine, ManualClock, SystemClock};
use tempfile::TempDir;

use crate::comparison::OnClock;
use crate::model::ModelClient;
use crate::probe::PATIENCE;

pub use grpc::OverDuplex;
pub use grpc::OverTcp;
pub use mysql::OnHostileMariaDb;
pub use mysql::OnMariaDb;
pub use mysql::OnReplicas;

/// An empty store and everything that it needs.
#[async_trait]
pub trait Fixture: Send + Sized {
    /// Makes the store.
    async fn start() -> Self;

    /// A client of it.
    fn client(&self) -> Arc<dyn Client>;

    /// The interface of its operators.
    fn admin(&self) -> Arc<dyn Admin>;

    /// Stops it. Returns once all of its tasks have ended.
    async fn stop(self);
}

/// The model: the suite is itself checked on it.
pub struct OnModel(ModelClient);

/// The engine on a SQLite file.
pub struct OnSqliteFile {
    engine: Engine,
    folder: TempDir,
}

/// The engine on SQLite in memory.
pub struct OnSqliteMemory(Engine);

#[async_trait]
impl Fixture for OnModel {
    async fn start() -> OnModel {
        OnModel(ModelClient::new(Arc::new(SystemClock)))
    }

    fn client(&self) -> Arc<dyn Client> {
        Arc::new(self.0.clone())
    }

    fn admin(&self) -> Arc<dyn Admin> {
        Arc::new(self.0.clone())
    }

    async fn stop(self) {}
}

#[async_trait]
impl OnClock for OnModel {
    async fn start_on(clock: Arc<ManualClock>) -> OnModel {
        OnModel(ModelClient::new(clock))
    }
}

#[async_trait]
impl OnClock for OnSqliteMemory {
    async fn start_on(clock: Arc<ManualClock>) -> OnSqliteMemory {
        OnSqliteMemory(Engine::builder().clock(clock).open("sqlite::memory:").await.unwrap())
    }
}

#[async_trait]
impl<F: OnClock + Sync> OnClock for OverDuplex<F> {
    async fn start_on(clock: Arc<ManualClock>) -> OverDuplex<F> {
        OverDuplex::over(F::start_on(clock).await)
    }
}

#[async_trait]
impl Fixture for OnSqliteFile {
    async fn start() -> OnSqliteFile {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("goku.db");
        let engine = patient(&format!("sqlite:{}", path.display())).await;
        OnSqliteFile { engine, folder }
    }

    fn client(&self) -> Arc<dyn Client> {
        Arc::new(self.engine.clone())
    }

    fn admin(&self) -> Arc<dyn Admin> {
        Arc::new(self.engine.clone())
    }

    async fn stop(self) {
        self.engine.close().await;
        self.folder.close().unwrap();
    }
}

#[async_trait]
impl Fixture for OnSqliteMemory {
    async fn start() -> OnSqliteMemory {
        OnSqliteMemory(patient("sqlite::memory:").await)
    }

    fn client(&self) -> Arc<dyn Client> {
        Arc::new(self.0.clone())
    }

    fn admin(&self) -> Arc<dyn Admin> {
        Arc::new(self.0.clone())
    }

    async fn stop(self) {
        self.0.close().await;
    }
}

/// An engine whose calls wait as long as anything may take.
async fn patient(url: &str) -> Engine {
    Engine::builder().request_timeout(PATIENCE).open(url).await.unwrap()
}
