//! Servers as processes of their own that are killed, stopped and cut off while clients use them; what happened is judged
//! by the invariants of a store.

mod clients;
mod consumers;
mod processes;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use goku::Client;
use goku_grpc::GrpcClient;
use goku_testkit::mariadb::Options;
use goku_testkit::{PrivateDatabase, Proxy, Replica};
use tempfile::TempDir;

/// How long a call may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(8);

/// Replicas on one store, by themselves and behind proxies.
struct Service {
    replicas: Vec<Replica>,
    fronts: Vec<Proxy>,
    /// Dropped after the replicas.
    _database: Option<PrivateDatabase>,
    _folder: TempDir,
}

impl Service {
    /// So many replicas on a MariaDB server.
    async fn start(count: usize) -> Service {
        Service::start_in(vec![Vec::new(); count]).await
    }

    /// A replica on a MariaDB server for each of these environments.
    async fn start_in(environments: Vec<Vec<(String, String)>>) -> Service {
        let database = PrivateDatabase::durable(Options::default()).await;
        let store = database.url();
        Service::on(&store, Some(database), TempDir::new().unwrap(), environments).await
    }

    /// A server of a file.
    async fn on_file() -> Service {
        let folder = TempDir::new().unwrap();
        let store = format!("sqlite:{}", folder.path().join("goku.db").display());
        Service::on(&store, None, folder, vec![Vec::new()]).await
    }

    async fn on(
        store: &str,
        database: Option<PrivateDatabase>,
        folder: TempDir,
        environments: Vec<Vec<(String, String)>>,
    ) -> Service {
        let program = Path::new(env!("CARGO_BIN_EXE_goku"));
        let mut service = Service {
            replicas: Vec::new(),
            fronts: Vec::new(),
            _database: database,
            _folder: folder,
        };
        for (number, environment) in environments.into_iter().enumerate() {
            let log = service._folder.path().join(format!("replica-{number}.log"));
            let replica = Replica::start_in(program, store, &log, environment).await;
            replica.ready().await;
            service.fronts.push(Proxy::before_endpoint(&replica.endpoint()).await);
            service.replicas.push(replica);
        }
        service
    }

    /// A client of all replicas, which leaves those that do not answer.
    fn client(&self) -> Arc<dyn Client> {
        let client = GrpcClient::connect_all(self.replicas.iter().map(Replica::endpoint)).unwrap();
        Arc::new(client.request_timeout(Some(REQUEST_TIMEOUT)))
    }

    /// A plain client of each replica.
    fn plain_clients(&self) -> Vec<Arc<dyn Client>> {
        let endpoints = self.replicas.iter().map(Replica::endpoint);
        let plain = endpoints.map(|endpoint| {
            let client = GrpcClient::connect(&endpoint).unwrap().retries(false);
            Arc::new(client.request_timeout(Some(REQUEST_TIMEOUT))) as Arc<dyn Client>
        });
        plain.collect()
    }

    fn all_clients(&self) -> Vec<Arc<dyn Client>> {
        let mut clients = self.plain_clients();
        clients.push(self.client());
        clients
    }
}
