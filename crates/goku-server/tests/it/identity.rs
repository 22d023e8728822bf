//! Who a caller is: certificates and addresses, over real connections.

use std::fs;
use std::path::Path;

use goku::access::{AccessName, Auth, Grant, Identity, Role, Scope, SettingValue, Token, TokenRecord, Verb};
use goku::gate::{AddressRoles, CertificateName};
use goku::{Admin, Client, ConfigureRequest, ErrorKind, HistoryRequest, Key, SetRequest};
use goku_grpc::{ClientAuth, ClientTls, GrpcClient, ServerTlsFiles};
use goku_server::{Config, Server};
use goku_test_pki::{Ca, Subject};

fn key() -> Key {
    Key::new("k").unwrap()
}

/// The identity by which a client's change is known, or why it is not.
async fn actor(client: &GrpcClient) -> goku::Result<String> {
    client.set(SetRequest::new(key(), "v")).await?;
    let history = client.history(HistoryRequest::new(key())).await?;
    let origin = history.events[0].origin.clone();
    Ok(origin
        .and_then(|origin| origin.actor().map(str::to_owned))
        .unwrap_or_default())
}

/// A server that asks clients for certificates, and a client with one.
async fn with_certificate(folder: &Path, subject: Subject, certificate_name: CertificateName) -> (Server, GrpcClient) {
    let (servers, clients) = (Ca::new("Servers"), Ca::new("Clients"));
    let (server_ca, client_ca) = (folder.join("servers.pem"), folder.join("clients.pem"));
    fs::write(&server_ca, servers.certificate()).unwrap();
    fs::write(&client_ca, clients.certificate()).unwrap();
    let (certificate, private_key) = servers.issue(Subject::server()).write(folder, "server");
    let config = Config {
        listen: "127.0.0.1:0".to_owned(),
        store: "sqlite::memory:".to_owned(),
        tls: Some(ServerTlsFiles {
            certificate,
            key: private_key,
            client_ca: Some(client_ca),
            client_crl: None,
            client_auth: ClientAuth::Required,
            http1_client_auth: None,
        }),
        certificate_name,
        ..Config::default()
    };
    let server = Server::start(config).await.unwrap();
    let (certificate, private_key) = clients.issue(subject).write(folder, "client");
    let tls = ClientTls::new().ca_file(server_ca).identity(certificate, private_key);
    let client = GrpcClient::builder().tls(tls).connect(server.endpoint()).unwrap();
    (server, client)
}

#[tokio::test]
async fn a_certificate_without_the_kind_of_name_that_counts_is_refused() {
    let subject = || Subject::named("cn").name("dns.example").uri("spiffe://example/uri");
    for (kind, identity) in [
        (CertificateName::Any, "spiffe://example/uri"),
        (CertificateName::Uri, "spiffe://example/uri"),
        (CertificateName::Dns, "dns.example"),
        (CertificateName::CommonName, "cn"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (_server, client) = with_certificate(folder.path(), subject(), kind).await;
        assert_eq!(actor(&client).await.unwrap(), identity, "{kind:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let (_server, client) = with_certificate(folder.path(), Subject::named("cn"), CertificateName::Uri).await;
    let refused = actor(&client).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unauthenticated);
    assert!(refused.message().contains("it has no URI"), "{refused}");
}

/// Has rights asked for, and makes roles with these verbs on all keys; returns the client of an administrator.
pub(crate) async fn ask_for_rights(server: &Server, roles: &[(&str, &[Verb])]) -> GrpcClient {
    let open = GrpcClient::connect(server.endpoint()).unwrap();
    let name = |name: &str| AccessName::new(name).unwrap();
    let token = Token::random().unwrap();
    let record = TokenRecord {
        roles: vec![name("admin")],
        ..TokenRecord::new(&token, name("root"))
    };
    let configure =
        async |request: goku::Result<ConfigureRequest>| drop(open.configure(request.unwrap()).await.unwrap());
    configure(Role::everything().to_request(&name("admin"))).await;
    configure(record.to_request(&name("root"))).await;
    for (role, verbs) in roles {
        let grant = Grant {
            verbs: verbs.to_vec(),
            scope: Scope::ALL,
        };
        configure(Role { grants: vec![grant] }.to_request(&name(role))).await;
    }
    let token = goku_grpc::Token::new(token.reveal()).unwrap();
    let admin = GrpcClient::builder().token(token).connect(server.endpoint()).unwrap();
    let enable = Auth { enabled: true }.to_request().unwrap();
    admin.configure(enable).await.unwrap();
    admin
}

/// A program beside the server that can be given no credentials.
#[tokio::test]
async fn a_caller_on_loopback_with_a_role_for_its_address_may_read_and_not_write() {
    let config = Config {
        listen: "127.0.0.1:0".to_owned(),
        store: "sqlite::memory:".to_owned(),
        addresses: AddressRoles::new(vec!["127.0.0.0/8=reader".parse().unwrap()]).unwrap(),
        ..Config::default()
    };
    let server = Server::start(config).await.unwrap();
    let admin = ask_for_rights(&server, &[("reader", &[Verb::Read]), ("guest", &[Verb::Observe])]).await;
    admin.set(SetRequest::new(key(), "v")).await.unwrap();
    let sidecar = GrpcClient::connect(server.endpoint()).unwrap();
    assert_eq!(sidecar.get(&key()).await.unwrap().value, "v");
    let refused = sidecar.set(SetRequest::new(key(), "w")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    assert!(
        refused.message().contains("\"address:reader\" may not write \"k\""),
        "{refused}"
    );
    assert_eq!(sidecar.status().await.unwrap_err().kind(), ErrorKind::PermissionDenied);

    // What everybody may do it may do, too.
    let roles = Identity {
        roles: vec![AccessName::new("guest").unwrap()],
    };
    let request = roles.to_request(&AccessName::new("anonymous").unwrap()).unwrap();
    admin.configure(request).await.unwrap();
    sidecar.status().await.unwrap();
    // A bad token is not looked past.
    let token = goku_grpc::Token::new("abc").unwrap();
    let other = GrpcClient::builder().token(token).connect(server.endpoint()).unwrap();
    assert_eq!(other.get(&key()).await.unwrap_err().kind(), ErrorKind::Unauthenticated);
}
