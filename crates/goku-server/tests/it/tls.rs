//! TLS and credentials on the command line.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use goku_test_pki::{Ca, Subject};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

use crate::goku::{Goku, Run, binary};

/// A folder with the files of a server and of a client, and of the CAs of both.
fn files() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (servers, clients) = (Ca::new("Servers"), Ca::new("Clients"));
    fs::write(folder.path().join("servers.pem"), servers.certificate()).unwrap();
    fs::write(folder.path().join("clients.pem"), clients.certificate()).unwrap();
    servers.issue(Subject::server()).write(folder.path(), "server");
    clients.issue(Subject::named("mailer")).write(folder.path(), "client");
    folder
}

fn path(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).display().to_string()
}

#[test]
fn a_server_with_a_certificate_serves_by_tls_alone() {
    let folder = files();
    let (cert, key, ca) = (
        path(&folder, "server.pem"),
        path(&folder, "server-key.pem"),
        path(&folder, "servers.pem"),
    );
    let goku = Goku::serve(&["--store", "sqlite::memory:", "--tls-cert", &cert, "--tls-key", &key]);
    assert!(goku.endpoint.starts_with("https://127.0.0.1:"), "{}", goku.endpoint);
    let set = goku.run(&["--ca", &ca, "set", "k", "v"]).done();
    assert!(set.starts_with("version 1"), "{set}");
    // An address alone is one by TLS where options of TLS are given.
    let address = goku.endpoint.strip_prefix("https://").unwrap().to_owned();
    let got = goku.run(&["--endpoint", &address, "--ca", &ca, "get", "k"]).done();
    assert_eq!(got, "v");
    let plaintext = goku.run(&["--endpoint", &address, "get", "k"]).failed(5);
    assert!(plaintext.contains("begin with https://"), "{plaintext}");
    let untrusted = goku.run(&["--ca", &path(&folder, "clients.pem"), "get", "k"]).failed(5);
    assert!(
        untrusted.contains("certificate is not trusted") && untrusted.contains("--ca FILE"),
        "{untrusted}"
    );
}

#[test]
fn clients_show_certificates_where_a_client_ca_is_given() {
    let folder = files();
    let goku = Goku::serve(&[
        "--store",
        "sqlite::memory:",
        "--tls-cert",
        &path(&folder, "server.pem"),
        "--tls-key",
        &path(&folder, "server-key.pem"),
        "--tls-client-ca",
        &path(&folder, "clients.pem"),
    ]);
    let ca = path(&folder, "servers.pem");
    let refused = goku.run(&["--ca", &ca, "status"]).failed(5);
    assert!(refused.contains("--cert FILE --key FILE"), "{refused}");
    let (cert, key) = (path(&folder, "client.pem"), path(&folder, "client-key.pem"));
    goku.run(&["status", "--ca", &ca, "--cert", &cert, "--key", &key])
        .done();
    let half = goku.run(&["status", "--ca", &ca, "--cert", &cert]).failed(2);
    assert!(half.contains("belong together"), "{half}");
}

#[test]
fn files_that_cannot_be_used_are_refused_at_the_start() {
    let folder = files();
    let (cert, key) = (path(&folder, "server.pem"), path(&folder, "server-key.pem"));
    let serve = |cert: &str, key: &str| {
        let mut command = binary();
        command.args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--store",
            "sqlite::memory:",
            "--tls-cert",
            cert,
            "--tls-key",
            key,
        ]);
        command.env("GOKU_LOG", "off");
        Run::of(command.spawn().unwrap()).failed(1)
    };
    let foreign = serve(&cert, &path(&folder, "client-key.pem"));
    assert!(foreign.contains("does not belong to the certificate"), "{foreign}");
    let absent = serve("/nowhere/cert.pem", &key);
    assert!(absent.contains("cannot read /nowhere/cert.pem"), "{absent}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let open = serve(&cert, &key);
    assert!(open.contains("chmod o="), "{open}");
}

#[test]
fn metrics_are_served_by_tls_as_well_and_tell_of_it() {
    let folder = files();
    let mut goku = crate::goku::binary();
    goku.args(["serve", "--store", "sqlite::memory:", "--metrics-listen", "127.0.0.1:0"])
        .env("GOKU_TLS_CERT", path(&folder, "server.pem"))
        .env("GOKU_TLS_KEY", path(&folder, "server-key.pem"));
    let goku = Goku::run_by(goku);
    let url = goku
        .banner
        .lines()
        .find_map(|line| line.strip_prefix("metrics at "))
        .unwrap();
    let address = url
        .strip_prefix("https://")
        .and_then(|url| url.strip_suffix("/metrics"))
        .unwrap();

    let metrics = scrape_by_tls(address, &folder.path().join("servers.pem"));
    assert!(metrics.contains("goku_tls_reload_failures_total 0"), "{metrics}");
    let expiry = metrics
        .lines()
        .find_map(|line| line.strip_prefix("goku_tls_certificate_expiry_timestamp_seconds "));
    assert!(expiry.unwrap().parse::<f64>().unwrap() > 1e9, "{metrics}");

    let mut plaintext = TcpStream::connect(address).unwrap();
    plaintext
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n")
        .unwrap();
    plaintext.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    plaintext.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 400 ") && answer.contains("use https://"),
        "{answer}"
    );
}

/// Prometheus, and the probes of Kubernetes, which have no certificate.
#[test]
fn metrics_ask_for_no_certificate_where_they_are_told_so_though_clients_show_one() {
    let folder = files();
    let (clients, stale) = (Ca::new("Clients"), folder.path().join("stale.crl"));
    fs::write(folder.path().join("clients.pem"), clients.certificate()).unwrap();
    fs::write(&stale, clients.revocation_list_until(&[], 1_609_459_200)).unwrap();
    let serve = |client_auth: &str| {
        let mut goku = crate::goku::binary();
        goku.args(["serve", "--store", "sqlite::memory:", "--metrics-listen", "127.0.0.1:0"])
            .args(["--metrics-tls-client-auth", client_auth])
            .env("GOKU_TLS_CERT", path(&folder, "server.pem"))
            .env("GOKU_TLS_KEY", path(&folder, "server-key.pem"))
            .env("GOKU_TLS_CLIENT_CA", path(&folder, "clients.pem"))
            .env("GOKU_TLS_CLIENT_CRL", &stale);
        Goku::run_by(goku)
    };
    let address_of = |goku: &Goku| {
        let metrics = goku
            .banner
            .lines()
            .find_map(|line| line.strip_prefix("metrics at https://"));
        metrics.unwrap().strip_suffix("/metrics").unwrap().to_owned()
    };
    let ca = folder.path().join("servers.pem");
    let goku = serve("none");
    let metrics = scrape_by_tls(&address_of(&goku), &ca);
    // 2021-01-01, and the list is in force all the same.
    assert!(
        metrics.contains("goku_tls_crl_next_update_timestamp_seconds 1609459200"),
        "{metrics}"
    );
    goku.run(&["--ca", ca.to_str().unwrap(), "status"]).failed(5);

    let goku = serve("required");
    assert!(try_scrape_by_tls(&address_of(&goku), &ca).is_err());
}

fn scrape_by_tls(address: &str, ca: &Path) -> String {
    try_scrape_by_tls(address, ca).unwrap()
}

fn try_scrape_by_tls(address: &str, ca: &Path) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(address).unwrap());
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    Ok(answer)
}

/// Neither help nor errors show the token, and no option takes one.
#[test]
fn a_token_comes_from_the_environment_or_a_file_and_is_never_shown() {
    let run = |arguments: &[&str]| {
        let mut command = binary();
        command.args(arguments).env("GOKU_TOKEN", "goku_secret");
        Run::of(command.spawn().unwrap())
    };
    let help = run(&["--help"]).done();
    assert!(help.contains("GOKU_TOKEN"), "{help}");
    assert!(!help.contains("secret") && !help.contains("--token "), "{help}");

    let refused = run(&["--endpoint", "http://10.0.0.1:1", "status"]).failed(2);
    assert!(refused.contains("--token-over-plaintext"), "{refused}");
    assert!(!refused.contains("secret"), "{refused}");
    let unreadable = run(&["--token-file", "/nowhere/token", "status"]).failed(2);
    assert!(unreadable.contains("cannot read /nowhere/token"), "{unreadable}");
}

/// A renewed certificate is there with the next SIGHUP, and one that cannot be used is told of to whoever asks.
#[test]
fn a_reload_takes_renewed_files_and_refuses_broken_ones() {
    let folder = files();
    let ca = Ca::new("Next");
    let (cert, key) = (path(&folder, "server.pem"), path(&folder, "server-key.pem"));
    let goku = Goku::serve(&["--store", "sqlite::memory:", "--tls-cert", &cert, "--tls-key", &key]);
    let old = path(&folder, "servers.pem");
    fs::write(folder.path().join("next.pem"), ca.certificate()).unwrap();
    let reload = |ca: &str| goku.run(&["--ca", ca, "config", "reload", "--output", "json"]);
    assert_eq!(reload(&old).json()[0]["changed"], serde_json::json!([]));

    let renewed = ca.issue(Subject::server());
    renewed.write(folder.path(), "server");
    goku_test_pki::write_secret(Path::new(&key), "no key");
    let refused = reload(&old).failed(1);
    assert!(refused.contains("holds no private key"), "{refused}");
    goku.run(&["--ca", &old, "set", "k", "v"]).done();

    goku_test_pki::write_secret(Path::new(&key), &renewed.key);
    assert_eq!(reload(&old).json()[0]["changed"], serde_json::json!(["tls.cert"]));
    goku.run(&["--ca", &path(&folder, "next.pem"), "get", "k"]).done();
}
