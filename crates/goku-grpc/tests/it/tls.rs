//! TLS: real handshakes over sockets of the loopback address.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use goku::gate::Gate;
use goku::{Client, ErrorKind, Key, Result};
use goku_grpc::{ClientAuth, ClientTls, GrpcClient, ServerOptions, ServerTls, ServerTlsFiles};
use goku_test_pki::{Ca, Issued, Subject, write_secret};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::fake::Fake;
use crate::logged::Logged;
use crate::sample;

/// The files of a server, and the CAs of both sides.
struct Pki {
    folder: TempDir,
    servers: Ca,
    clients: Ca,
    files: ServerTlsFiles,
}

impl Pki {
    /// Files of a server with a valid certificate.
    fn new(client_auth: ClientAuth) -> Pki {
        let folder = tempfile::tempdir().unwrap();
        let (servers, clients) = (Ca::new("Servers"), Ca::new("Clients"));
        fs::write(folder.path().join("servers.pem"), servers.certificate()).unwrap();
        let (certificate, key) = servers.issue(Subject::server()).write(folder.path(), "server");
        let client_ca = (client_auth != ClientAuth::None).then(|| {
            let path = folder.path().join("clients.pem");
            fs::write(&path, clients.certificate()).unwrap();
            path
        });
        let files = ServerTlsFiles {
            certificate,
            key,
            client_ca,
            client_crl: None,
            client_auth,
            http1_client_auth: None,
        };
        Pki {
            folder,
            servers,
            clients,
            files,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The options of a client that trusts the server.
    fn client(&self) -> ClientTls {
        ClientTls::new().ca_file(self.path("servers.pem"))
    }

    /// The same with a certificate.
    fn client_with(&self, issued: &Issued) -> ClientTls {
        let (certificate, key) = issued.write(self.folder.path(), "client");
        self.client().identity(certificate, key)
    }

    /// Has the server's files hold a new certificate.
    fn renew(&self) {
        self.servers
            .issue(Subject::server())
            .write(self.folder.path(), "server");
    }
}

/// A server over the fake, by TLS.
struct Server {
    fake: Arc<Fake>,
    tls: ServerTls,
    address: String,
    _serving: JoinHandle<Result<()>>,
}

impl Server {
    async fn start(pki: &Pki) -> Server {
        let tls = ServerTls::load(pki.files.clone()).unwrap();
        let fake = Arc::new(Fake::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let options = ServerOptions {
            tls: Some(tls.clone()),
            ..ServerOptions::default()
        };
        let serving = goku_grpc::serve(listener, Gate::unguarded(fake.clone()), options, std::future::pending());
        Server {
            fake,
            tls,
            address,
            _serving: tokio::spawn(serving),
        }
    }

    fn client(&self, tls: ClientTls) -> GrpcClient {
        let builder = GrpcClient::builder().tls(tls);
        builder.connect(&format!("https://{}", self.address)).unwrap()
    }

    /// What a first call of a client with these options fails with.
    async fn refusal(&self, tls: ClientTls) -> String {
        let error = self.client(tls).get(&key()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        error.to_string()
    }
}

fn key() -> Key {
    Key::new("k").unwrap()
}

#[tokio::test]
async fn a_client_that_trusts_the_server_is_served() {
    let pki = Pki::new(ClientAuth::None);
    let server = Server::start(&pki).await;
    server.client(pki.client()).get(&key()).await.unwrap();
    // By another address than those in the certificate, with the name of one.
    let endpoint = format!("https://{}", server.address.replace("127.0.0.1", "127.0.0.2"));
    let builder = GrpcClient::builder().tls(pki.client().server_name("localhost"));
    drop(builder.connect(&endpoint).unwrap());
}

#[tokio::test]
async fn an_untrusted_server_is_told_of_with_what_to_do() {
    let pki = Pki::new(ClientAuth::None);
    let server = Server::start(&pki).await;
    let foreign = pki.path("foreign.pem");
    fs::write(&foreign, Ca::new("Foreign").certificate()).unwrap();
    let message = server.refusal(ClientTls::new().ca_file(foreign)).await;
    assert!(
        message.contains("not trusted (UnknownIssuer)") && message.contains("--ca FILE"),
        "{message}"
    );
    let message = server.refusal(pki.client().server_name("other.example")).await;
    assert!(
        message.contains("other.example") && message.contains("name the server in the endpoint"),
        "{message}"
    );
}

#[tokio::test]
async fn clients_show_certificates_where_they_are_required() {
    let pki = Pki::new(ClientAuth::Required);
    let server = Server::start(&pki).await;
    let good = pki.clients.issue(Subject::named("mailer"));
    server.client(pki.client_with(&good)).get(&key()).await.unwrap();

    let message = server.refusal(pki.client()).await;
    assert!(message.contains("--cert FILE --key FILE"), "{message}");
    let foreign = Ca::new("Foreign").issue(Subject::named("mailer"));
    let message = server.refusal(pki.client_with(&foreign)).await;
    assert!(
        message.contains("refuses this client's certificate (UnknownCA)"),
        "{message}"
    );
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let pki = Pki::new(ClientAuth::Required);
    let server = Server::start(&pki).await;
    let expired = pki.clients.issue(Subject::named("mailer").expired());
    let message = server.refusal(pki.client_with(&expired)).await;
    assert!(message.contains("(CertificateExpired)"), "{message}");

    let (certificate, key) = pki
        .servers
        .issue(Subject::server().expired())
        .write(pki.folder.path(), "expired");
    let files = ServerTlsFiles {
        certificate,
        key,
        ..pki.files.clone()
    };
    let refused = ServerTls::load(files).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Config);
    assert!(refused.message().contains("have it renewed"), "{refused}");
}

#[tokio::test]
async fn a_client_without_a_certificate_is_served_where_they_are_optional_and_one_with_a_bad_one_is_not() {
    let pki = Pki::new(ClientAuth::Optional);
    let server = Server::start(&pki).await;
    server.client(pki.client()).get(&key()).await.unwrap();
    let foreign = Ca::new("Foreign").issue(Subject::named("mailer"));
    let message = server.refusal(pki.client_with(&foreign)).await;
    assert!(message.contains("refuses this client's certificate"), "{message}");
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_from_the_reload_on() {
    let mut pki = Pki::new(ClientAuth::Required);
    let crl = pki.path("clients.crl");
    let (kept, revoked) = (
        pki.clients.issue(Subject::named("kept")),
        pki.clients.issue(Subject::named("revoked")),
    );
    fs::write(&crl, pki.clients.revocation_list(&[])).unwrap();
    pki.files.client_crl = Some(crl.clone());
    let server = Server::start(&pki).await;
    let open = server.client(pki.client_with(&revoked));
    open.get(&key()).await.unwrap();

    fs::write(&crl, pki.clients.revocation_list(&[&revoked])).unwrap();
    assert!(server.tls.reload().unwrap());
    let message = server.refusal(pki.client_with(&revoked)).await;
    assert!(message.contains("CertificateRevoked"), "{message}");
    server.client(pki.client_with(&kept)).get(&key()).await.unwrap();
    // Connections that exist go on.
    open.get(&key()).await.unwrap();
}

#[tokio::test]
async fn another_client_ca_is_taken_with_a_reload() {
    let pki = Pki::new(ClientAuth::Required);
    let server = Server::start(&pki).await;
    let next = Ca::new("Next");
    let issued = next.issue(Subject::named("mailer"));
    let message = server.refusal(pki.client_with(&issued)).await;
    assert!(message.contains("UnknownCA"), "{message}");
    fs::write(pki.path("clients.pem"), next.certificate()).unwrap();
    assert!(server.tls.reload().unwrap());
    server.client(pki.client_with(&issued)).get(&key()).await.unwrap();
}

#[tokio::test]
async fn certificates_are_swapped_under_load_and_no_call_is_lost() {
    let pki = Pki::new(ClientAuth::None);
    let server = Server::start(&pki).await;
    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..8)
        .map(|caller| {
            let (stop, calls) = (stop.clone(), calls.clone());
            let (lasting, tls) = (server.client(pki.client()).retries(false), pki.client());
            let endpoint = format!("https://{}", server.address);
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    // Half of them with a connection of their own each time.
                    let client = match caller % 2 {
                        0 => lasting.clone(),
                        _ => GrpcClient::builder()
                            .tls(tls.clone())
                            .connect(&endpoint)
                            .unwrap()
                            .retries(false),
                    };
                    client.get(&key()).await.unwrap();
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for _ in 0..20 {
        pki.renew();
        assert!(server.tls.reload().unwrap());
        assert!(!server.tls.reload().unwrap(), "nothing has changed since");
        let before = calls.load(Ordering::Relaxed);
        while calls.load(Ordering::Relaxed) < before + 16 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(server.tls.reload_failures(), 0);
}

#[tokio::test]
async fn files_that_cannot_be_used_keep_those_of_before() {
    let pki = Pki::new(ClientAuth::None);
    let server = Server::start(&pki).await;
    let expires_at = server.tls.expires_at();
    let good = fs::read_to_string(pki.path("server-key.pem")).unwrap();
    let others = pki.servers.issue(Subject::server());
    let broken = [
        (
            "server-key.pem",
            others.key.as_str(),
            "does not belong to the certificate",
        ),
        ("server-key.pem", "no key", "holds no private key"),
        ("server.pem", "no certificate", "holds no certificate"),
    ];
    let certificate = fs::read_to_string(pki.path("server.pem")).unwrap();
    for (failures, (file, content, why)) in (1..).zip(broken) {
        write_secret(&pki.path(file), content);
        let error = server.tls.reload().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(
            error.message().contains(why) && error.message().contains(file),
            "{error}"
        );
        assert!(!error.message().contains("PRIVATE KEY-----\n"), "{error}");
        assert_eq!(server.tls.reload_failures(), failures);
        server.client(pki.client()).get(&key()).await.unwrap();
        write_secret(&pki.path("server-key.pem"), &good);
        fs::write(pki.path("server.pem"), &certificate).unwrap();
    }
    assert_eq!(server.tls.expires_at(), expires_at);
    assert!(server.tls.reload().unwrap());
}

#[tokio::test]
async fn a_key_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;

    let pki = Pki::new(ClientAuth::None);
    fs::set_permissions(&pki.files.key, fs::Permissions::from_mode(0o644)).unwrap();
    let error = ServerTls::load(pki.files.clone()).unwrap_err();
    assert!(error.message().contains("chmod o="), "{error}");
    fs::set_permissions(&pki.files.key, fs::Permissions::from_mode(0o640)).unwrap();
    ServerTls::load(pki.files.clone()).unwrap();
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    let pki = Pki::new(ClientAuth::Required);
    for (files, why) in [
        (
            ServerTlsFiles {
                client_ca: None,
                ..pki.files.clone()
            },
            "no client CA is given",
        ),
        (
            ServerTlsFiles {
                client_auth: ClientAuth::None,
                ..pki.files.clone()
            },
            "optional or required",
        ),
    ] {
        let error = ServerTls::load(files).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains(why), "{error}");
    }
}

/// Whoever connects and never goes on holds up nobody, and is cut.
#[tokio::test]
async fn a_handshake_that_never_finishes_is_cut_while_others_are_served() {
    let pki = Pki::new(ClientAuth::None);
    let server = Server::start(&pki).await;
    let mut silent = TcpStream::connect(&server.address).await.unwrap();
    let mut slow = TcpStream::connect(&server.address).await.unwrap();
    // The beginning of a record.
    slow.write_all(&[22, 3, 1, 1, 0]).await.unwrap();
    server.client(pki.client()).get(&key()).await.unwrap();
    for connection in [&mut silent, &mut slow] {
        connection.read_to_end(&mut Vec::new()).await.unwrap_or_default();
    }
    server.client(pki.client()).get(&key()).await.unwrap();
}

#[tokio::test]
async fn a_client_without_tls_is_told_so_at_both_ends() {
    let pki = Pki::new(ClientAuth::None);
    let server = Server::start(&pki).await;
    let logged = Logged::new();
    let client = GrpcClient::connect(&format!("http://{}", server.address)).unwrap();
    let error = client.get(&key()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(
        error.message().contains("let the endpoint begin with https://"),
        "{error}"
    );
    // Nothing of a write was done either.
    let error = client.set(goku::SetRequest::new(key(), "v")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(server.fake.asked().is_empty());

    let mut log = Vec::new();
    while !log
        .iter()
        .any(|line: &String| line.contains("the client does not speak TLS: have it use https://"))
    {
        tokio::time::sleep(Duration::from_millis(1)).await;
        log.extend(logged.lines());
    }
}

#[tokio::test]
async fn a_server_without_tls_is_told_of_to_a_client_that_asks_for_it() {
    let (_fake, endpoint, _serving) = crate::served::on_tcp().await;
    let client = GrpcClient::connect(&endpoint.replace("http://", "https://"));
    let Ok(client) = client else {
        // The system has no CAs.
        return;
    };
    let error = client.get(&key()).await.unwrap_err();
    assert!(error.message().contains("does not speak TLS there"), "{error}");
}

#[tokio::test]
async fn large_values_and_many_calls_go_through() {
    let pki = Pki::new(ClientAuth::None);
    let server = Server::start(&pki).await;
    let client = server.client(pki.client());
    let value = vec![b'v'; 3_000_000];
    let entry = goku::Entry {
        value: value.clone().into(),
        ..sample::entry()
    };
    server.fake.have([Ok(entry)]);
    let gets = (0..32).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { client.get(&key()).await })
    });
    for got in futures::future::join_all(gets).await {
        assert_eq!(got.unwrap().unwrap().value, value.clone());
    }
}

#[tokio::test]
async fn options_that_do_not_fit_an_endpoint_are_refused() {
    let pki = Pki::new(ClientAuth::None);
    let token = goku_grpc::Token::new("secret").unwrap();
    for (builder, endpoint, why) in [
        (
            GrpcClient::builder().tls(pki.client()),
            "http://127.0.0.1:1",
            "begin with https://",
        ),
        (
            GrpcClient::builder().token(token.clone()),
            "http://10.0.0.1:1",
            "token_over_plaintext",
        ),
        (
            GrpcClient::builder().token(token.clone()),
            "http://goku.example:1",
            "token_over_plaintext",
        ),
        (
            GrpcClient::builder().tls(pki.client()),
            "ftp://127.0.0.1",
            "https://host:port",
        ),
        (
            GrpcClient::builder().tls(ClientTls::new().ca_file("/nowhere/ca.pem")),
            "https://127.0.0.1:1",
            "cannot read /nowhere/ca.pem",
        ),
    ] {
        let error = builder.connect(endpoint).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{endpoint}");
        assert!(error.message().contains(why), "{error}");
        assert!(!format!("{builder:?} {error:?}").contains("secret"), "{error:?}");
    }
    for endpoint in [
        "http://127.0.0.1:1",
        "http://[::1]:1",
        "http://localhost:1",
        "https://10.0.0.1:1",
    ] {
        let builder = GrpcClient::builder().token(token.clone());
        let builder = match endpoint.starts_with("https") {
            true => builder.tls(pki.client()),
            false => builder,
        };
        builder.connect(endpoint).unwrap();
    }
    let allowed = GrpcClient::builder().token(token).token_over_plaintext(true);
    allowed.connect("http://10.0.0.1:1").unwrap();
}
