//! Logging in, and what is said where that cannot be.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use goku_mariadbd::{Options, Server};
use goku_test_pki::{Ca, Subject};
use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::super::address::Address;
use super::super::error::Trouble;
use super::super::servers::Servers;
use super::super::session::{self, Role};
use super::super::variables::{Variable, Wanted};
use super::*;

/// The folder of the server package's plugins.
const PLUGINS: &str = "/usr/lib/mysql/plugin";

/// A server that says at each login that the account has another plugin than the one asked for, and counts the logins.
struct OfPlugin {
    url: String,
    logins: Arc<AtomicUsize>,
}

impl OfPlugin {
    async fn start(plugin: &'static str) -> OfPlugin {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("mysql://u:secret@{}/d", listener.local_addr().unwrap());
        let logins = Arc::new(AtomicUsize::new(0));
        let counted = logins.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                // A client that goes ends it.
                tokio::spawn(async move { greet(stream, plugin).await.ok() });
            }
        });
        OfPlugin { url, logins }
    }
}

async fn greet(mut stream: TcpStream, plugin: &str) -> std::io::Result<()> {
    let mut greeting = b"\x0a11.8.2-MariaDB\0\x04\0\0\0saltsalt\0\xff\xf7\x21\x02\0\xff\x81\x15".to_vec();
    greeting.extend([0; 10]);
    greeting.extend(b"saltsaltsalt\0mysql_native_password\0");
    send(&mut stream, 0, &greeting).await?;
    receive(&mut stream).await?;
    send(&mut stream, 2, &[b"\xfe", plugin.as_bytes(), b"\0", &[7; 32]].concat()).await?;
    receive(&mut stream).await?;
    // To parsec: the salt, and how often to hash.
    send(&mut stream, 4, &[b"P\x01".as_slice(), &[9; 18]].concat()).await?;
    receive(&mut stream).await
}

async fn send(stream: &mut TcpStream, number: u8, payload: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
    stream.write_all(&[&length[..3], &[number], payload].concat()).await
}

async fn receive(stream: &mut TcpStream) -> std::io::Result<()> {
    let header = stream.read_u32_le().await?;
    let mut payload = vec![0; (header & 0xff_ffff) as usize];
    stream.read_exact(&mut payload).await.map(drop)
}

/// The message of the error by which a store with this URL is not opened: nothing that passes.
async fn refusal(url: &str) -> String {
    let error = MySqlStore::open(url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    error.message().to_owned()
}

#[tokio::test]
async fn an_account_with_a_plugin_that_nobody_knows_is_refused_by_its_name() {
    for plugin in [
        "auth_gssapi_client",
        "dialog",
        "mysql_clear_password",
        "mysql_old_password",
    ] {
        let server = OfPlugin::start(plugin).await;
        let message = refusal(&server.url).await;
        assert!(message.contains("caching_sha2_password or ed25519"), "{message}");
        assert!(plugin.starts_with("mysql") || message.contains(plugin), "{message}");
        assert!(!message.contains("secret"), "{message}");
    }
}

/// An account was moved to a plugin at which the driver panics while goku ran, which tried again all the time: 5,670 panics
/// in nine minutes.
#[tokio::test]
async fn a_driver_that_panics_is_not_asked_again_and_again() {
    let server = OfPlugin::start("parsec").await;
    let message = refusal(&server.url).await;
    assert!(message.contains("parsec") && message.contains("ed25519"), "{message}");

    let before = server.logins.load(Ordering::SeqCst);
    let servers = Servers::parse(&server.url).unwrap();
    for _ in 0..5 {
        let none = servers.connect(Role::Writer).await.unwrap_err();
        assert_eq!(none.failure.trouble(), Trouble::SetUp);
        assert!(none.failure.to_string().contains("parsec"), "{}", none.failure);
    }
    assert_eq!(server.logins.load(Ordering::SeqCst), before + 1);
}

#[tokio::test]
async fn an_account_with_ed25519_logs_in() {
    if !Path::new(PLUGINS).join("auth_ed25519.so").exists() {
        println!("MariaDB's plugin auth_ed25519 is not installed");
        return;
    }
    let database = Database::on_own_server(&["--plugin-load-add=auth_ed25519"]).await;
    let mut root = database.connect().await;
    for statement in [
        "create user moved@'%' identified via ed25519 using password('secret')".to_owned(),
        format!("grant all on {}.* to moved@'%'", database.name()),
    ] {
        root.query_drop(statement).await.unwrap();
    }
    let url = |password: &str| format!("mysql://moved:{password}@{}/{}", database.host(), database.name());
    let store = MySqlStore::open(&url("secret")).await.unwrap();
    write(&store, [set("k", "v")]).await;
    store.close().await;
    let message = refusal(&url("wrong")).await;
    assert!(message.contains("check user and password"), "{message}");
}

#[tokio::test]
async fn a_server_is_reached_at_an_ipv6_address() {
    if TcpListener::bind("[::1]:0").await.is_err() {
        println!("this machine has no IPv6");
        return;
    }
    let database = Database::on_own_server(&["--bind-address=*"]).await;
    let port = database.own_server().port();
    for hosts in [format!("[::1]:{port}"), format!("[::1]:{port},127.0.0.1:1")] {
        let store = MySqlStore::open(&format!("mysql://root@{hosts}/{}", database.name()))
            .await
            .unwrap();
        write(&store, [set("k", "v")]).await;
        store.close().await;
    }
}

#[tokio::test]
async fn a_server_that_demands_tls_or_has_none_says_what_to_do() {
    let server = Server::start(Options {
        arguments: vec!["--require-secure-transport=ON".to_owned()],
        waits_for_disk: false,
        ..Options::default()
    })
    .unwrap();
    let message = refusal(&format!("mysql://root@127.0.0.1:{}/d", server.port())).await;
    assert!(message.contains("`ssl-mode=verify-identity`"), "{message}");

    let database = Database::create().await;
    let mut conn = database.connect().await;
    let tls: Option<(String, String)> = conn.query_first("show variables like 'have_ssl'").await.unwrap();
    if tls.is_some_and(|(_, tls)| tls == "DISABLED") {
        let message = refusal(&format!("{}&ssl-mode=verify-identity", database.url())).await;
        assert!(message.contains("does not offer it"), "{message}");
    }
}

/// A server with a certificate for a host, in a folder with that of its CA, of another CA, and of a client.
async fn with_certificate_for(host: &str, folder: &Path) -> Database {
    let ca = Ca::new("Databases");
    let write = |name: &str, content: String| std::fs::write(folder.join(name), content).unwrap();
    write("ca.pem", ca.certificate());
    write("foreign.pem", Ca::new("Foreign").certificate());
    let (certificate, key) = ca.issue(Subject::default().name(host)).write(folder, "server");
    ca.issue(Subject::named("goku")).write(folder, "client");
    let arguments = [
        format!("--ssl-ca={}", folder.join("ca.pem").display()),
        format!("--ssl-cert={}", certificate.display()),
        format!("--ssl-key={}", key.display()),
    ];
    Database::on_own_server(&arguments.each_ref().map(String::as_str)).await
}

/// Whether the server sees that the connections of a store are encrypted.
async fn is_encrypted(url: &str) -> bool {
    let store = MySqlStore::open(url).await.unwrap();
    write(&store, [set("k", "v")]).await;
    store.close().await;
    let mut conn = Conn::new(Address::parse(url).unwrap().opts()).await.unwrap();
    let cipher: Option<(String, String)> = conn.query_first("show status like 'Ssl_cipher'").await.unwrap();
    cipher.is_some_and(|(_, cipher)| !cipher.is_empty())
}

#[tokio::test]
async fn each_mode_takes_the_certificates_that_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    for host in ["127.0.0.1", "db.example"] {
        let database = with_certificate_for(host, folder.path()).await;
        let url = |parameters: &str| format!("{}&{parameters}", database.url());
        assert!(!is_encrypted(&url("ssl-mode=disabled")).await);
        assert!(is_encrypted(&url("ssl-mode=required")).await);
        let (ca, foreign) = (file("ca.pem"), file("foreign.pem"));
        assert!(is_encrypted(&url(&format!("ssl-mode=verify-ca&ssl-ca={ca}"))).await);
        for untrusted in [
            "ssl-mode=verify-ca".to_owned(),
            format!("ssl-mode=verify-ca&ssl-ca={foreign}"),
            "ssl-mode=verify-identity".to_owned(),
            format!("ssl-mode=verify-identity&ssl-ca={foreign}"),
        ] {
            let message = refusal(&url(&untrusted)).await;
            for part in [
                "certificate is not trusted (UnknownIssuer)",
                "`ssl-ca=FILE`",
                "`ssl-mode=required`",
            ] {
                assert!(message.contains(part), "{untrusted}: {part}: {message}");
            }
        }
        let identity = url(&format!("ssl-mode=verify-identity&ssl-ca={ca}"));
        if host == "127.0.0.1" {
            assert!(is_encrypted(&identity).await);
            // The form of before.
            assert!(is_encrypted(&url("require_ssl=true&verify_ca=false")).await);
        } else {
            let message = refusal(&identity).await;
            assert!(
                message.contains("db.example") && message.contains("`ssl-mode=verify-ca`"),
                "{message}"
            );
        }
    }
}

#[tokio::test]
async fn an_account_that_wants_a_certificate_is_shown_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let database = with_certificate_for("127.0.0.1", folder.path()).await;
    let mut root = database.connect().await;
    for statement in [
        "create user shown@'%' require x509".to_owned(),
        format!("grant all on {}.* to shown@'%'", database.name()),
    ] {
        root.query_drop(statement).await.unwrap();
    }
    let url = |parameters: &str| {
        let identity = format!("ssl-mode=verify-identity&ssl-ca={}", file("ca.pem"));
        format!("{}&{identity}{parameters}", database.url()).replace("root@", "shown@")
    };
    let shown = format!("&ssl-cert={}&ssl-key={}", file("client.pem"), file("client-key.pem"));
    assert!(is_encrypted(&url(&shown)).await);
    assert!(refusal(&url("")).await.contains("1045"));
}

#[tokio::test]
async fn a_server_with_a_binlog_of_statements_is_refused_with_what_to_do() {
    let arguments = ["--log-bin=binlog", "--binlog-format=STATEMENT", "--server-id=1"];
    let database = Database::on_own_server(&arguments).await;
    let message = refusal(&database.url()).await;
    assert!(message.contains("binlog_format to MIXED or ROW"), "{message}");
}

#[tokio::test]
async fn a_variable_that_cannot_be_set_is_named() {
    let database = Database::create().await;
    let mut conn: Conn = database.connect().await;
    let variable = |name, wanted| Variable { name, wanted };
    let zone = variable("time_zone", Wanted::Text("+00:00"));
    session::set(&mut conn, &[zone]).await.unwrap();
    let read_only = variable("max_allowed_packet", Wanted::AtLeast(1 << 40));
    let cause = session::set(&mut conn, &[zone, read_only]).await.unwrap_err();
    let message = cause.to_string();
    for part in [
        "max_allowed_packet",
        "1099511627776 or more",
        "`set global`",
        "error 1621",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    // One that takes another value than it is given.
    let bounded = variable("max_sort_length", Wanted::Number(1 << 40));
    let cause = session::set(&mut conn, &[zone, bounded]).await.unwrap_err();
    assert!(cause.to_string().contains("max_sort_length"), "{cause}");
}
