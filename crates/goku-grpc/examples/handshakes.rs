//! How many handshakes of TLS a server does a second: `cargo run --release -p goku-grpc --example handshakes [SECONDS]`.
//!
//! Server and clients share the machine, and each connection is closed once the server has sent its settings. Certificates are
//! of the curve P-256; clients show one, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use goku::Engine;
use goku::gate::Gate;
use goku_grpc::{ClientAuth, ServerOptions, ServerTls, ServerTlsFiles};
use goku_test_pki::{Ca, Subject};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

/// Clients that connect one after another, each as often as it can.
const CALLERS: usize = 16;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let seconds = std::env::args().nth(1).map_or(Ok(5), |seconds| seconds.parse())?;
    let folder = tempfile::tempdir()?;
    let ca = Ca::new("Handshakes");
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, ca.certificate())?;
    let (certificate, key) = ca.issue(Subject::server()).write(folder.path(), "server");
    let tls = ServerTls::load(ServerTlsFiles {
        certificate,
        key,
        client_ca: Some(ca_file),
        client_crl: None,
        client_auth: ClientAuth::Required,
        http1_client_auth: None,
    })?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let options = ServerOptions {
        tls: Some(tls),
        ..ServerOptions::default()
    };
    let engine = Arc::new(Engine::open("sqlite::memory:").await?);
    tokio::spawn(goku_grpc::serve(
        listener,
        Gate::unguarded(engine),
        options,
        std::future::pending(),
    ));

    let connector = TlsConnector::from(Arc::new(client(&ca)?));
    let (done, end) = (
        Arc::new(AtomicU64::new(0)),
        Instant::now() + Duration::from_secs(seconds),
    );
    let callers = (0..CALLERS).map(|_| {
        let (connector, done) = (connector.clone(), done.clone());
        tokio::spawn(async move {
            while Instant::now() < end {
                let tcp = TcpStream::connect(address).await?;
                let mut stream = connector.connect(ServerName::try_from("127.0.0.1")?, tcp).await?;
                // Only a server that has taken the certificate sends anything.
                stream.read_u8().await?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, Failure>(())
        })
    });
    for caller in futures::future::join_all(callers).await {
        caller??;
    }
    println!("{} handshakes/s", done.load(Ordering::Relaxed) / seconds);
    Ok(())
}

/// A client that begins each connection anew.
fn client(ca: &Ca) -> Result<ClientConfig, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.certificate().as_bytes())?)?;
    let issued = ca.issue(Subject::named("caller"));
    let certificate = CertificateDer::from_pem_slice(issued.certificate.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate], key)?;
    client.alpn_protocols = vec![b"h2".to_vec()];
    client.resumption = rustls::client::Resumption::disabled();
    Ok(client)
}
