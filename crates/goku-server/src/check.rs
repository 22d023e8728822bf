//! Findings about a server that is to run with a configuration, and about the machine that it is to run on.

use std::io;
use std::time::Duration;

use goku::check::{self, Finding, Subject};
use goku::{Client, Clock, Cursor, CursorsRequest, Error, ErrorKind, Result, Status, SystemClock, Timestamp};
use goku_grpc::{ServerTls, ServerTlsFiles};

use crate::config::{Config, OTHER_FILES, open_files_max};
use crate::listen::bind;
use crate::server::{check_plaintext, reachable};

/// The time for which a certificate is to be valid still.
pub const CERTIFICATE_WARN: Duration = Duration::from_secs(14 * 24 * 3600);

/// Clients that a server has at least room for.
const CLIENTS_MIN: usize = 64;

const LISTEN: Subject = Subject::server("listen");
const METRICS: Subject = Subject::server("metrics_listen");
const SERVER: Subject = Subject::server("server");

/// What has the address at which a server is to listen.
#[derive(Debug)]
pub enum Listener {
    /// Nothing.
    Nobody,
    /// A server of goku, or what refuses this caller as one does.
    Goku,
    /// Something else, or what does not answer, for this reason.
    Other(Error),
}

/// Judges the files of TLS, the limit of open files, and the addresses of a configuration. `running` is a client of whatever
/// listens at the address of gRPC.
pub async fn server(config: &Config, running: &dyn Client) -> Vec<Finding> {
    let mut findings = Vec::new();
    match config.tls.clone() {
        Some(files) => findings.extend(certificates(files).await),
        None => findings.push(Subject::server("certificate").ok("there is none: clients connect in plain text")),
    }
    findings.push(descriptors(open_files_max(), config.connections_max));
    let is_ours = match listener(&config.listen, running).await {
        Ok(listener) => {
            let is_ours = matches!(listener, Listener::Goku);
            findings.push(listen(&config.listen, &listener, config.tls.is_some()));
            is_ours
        }
        Err(error) => {
            findings.push(LISTEN.failed(&error));
            false
        }
    };
    findings.extend(plaintext(config).await);
    if let Some(metrics) = &config.metrics_listen {
        findings.push(match bind(metrics).await {
            Ok(_) => METRICS.ok(format!("{metrics} is free")),
            Err(error) if is_ours && is_in_use(&error) => {
                METRICS.ok(format!("{metrics} is in use, as {} is", config.listen))
            }
            Err(error) => METRICS.failed(&error),
        });
    }
    findings
}

/// The URL by which this machine reaches a server with this configuration.
pub fn endpoint(config: &Config) -> String {
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    match config.listen.parse() {
        Ok(address) => format!("{scheme}://{}", reachable(address)),
        Err(_) => format!("{scheme}://{}", config.listen),
    }
}

/// Judges what a running server says of itself and its store: what only it can tell while it has a SQLite file.
pub async fn running(client: &dyn Client) -> Vec<Finding> {
    match ask(client).await {
        Ok(findings) => findings,
        Err(error) => vec![SERVER.failed(&error)],
    }
}

async fn ask(client: &dyn Client) -> Result<Vec<Finding>> {
    // The first call makes the connection, too.
    client.status().await?;
    let asked_at = SystemClock.now();
    let status = client.status().await?;
    let answered_at = SystemClock.now();
    let cursors = all_cursors(client).await?;
    Ok(vec![
        version(&status, env!("CARGO_PKG_VERSION")),
        clock(asked_at, status.time, answered_at),
        check::epoch(&status.head, &cursors),
        check::cursors(&cursors, &status.head, status.time),
        check::replicas(&status.replicas, env!("CARGO_PKG_VERSION")),
    ])
}

async fn all_cursors(client: &dyn Client) -> Result<Vec<Cursor>> {
    let mut cursors: Vec<Cursor> = Vec::new();
    // The store bounds how many there are.
    loop {
        let request = CursorsRequest {
            after: cursors.last().map(|cursor| cursor.id.clone()),
            ..CursorsRequest::default()
        };
        let page = client.list_cursors(request).await?;
        if page.is_empty() {
            return Ok(cursors);
        }
        cursors.extend(page);
    }
}

fn version(status: &Status, version: &str) -> Finding {
    let message = format!("it is goku {} on {}", status.version, status.database);
    match status.version == version {
        true => SERVER.ok(message),
        false => SERVER.warning(
            format!("{message}, and this program is {version}"),
            "run `goku check` of the version that serves",
        ),
    }
}

fn clock(asked_at: Timestamp, store: Timestamp, answered_at: Timestamp) -> Finding {
    let round_trip = answered_at.as_millis().saturating_sub(asked_at.as_millis());
    let middle = asked_at.as_millis().saturating_add(round_trip / 2);
    check::clock(store.as_millis().saturating_sub(middle), round_trip)
}

/// Judges the files of TLS.
async fn certificates(files: ServerTlsFiles) -> Vec<Finding> {
    let read = tokio::task::spawn_blocking(move || (ServerTls::load(files.clone()).map(drop), files.validity())).await;
    let (loaded, validity) = match read {
        Ok(read) => read,
        Err(error) => {
            let error = Error::new(ErrorKind::Internal, "the files of TLS could not be read").with_source(error);
            (Err(error.clone()), Err(error))
        }
    };
    let now = SystemClock.now();
    let certificate = match (&loaded, &validity) {
        (Err(error), _) => Subject::server("certificate").failed(error),
        (Ok(()), Ok(validity)) => certificate(validity.certificate, now),
        (Ok(()), Err(error)) => Subject::server("certificate").failed(error),
    };
    let validity = validity.ok();
    let client_ca = validity.and_then(|validity| validity.client_ca);
    let client_crl = validity.and_then(|validity| validity.client_crl);
    let judged = [
        Some(certificate),
        client_ca.map(|until| self::client_ca(until, now)),
        client_crl.map(|until| self::client_crl(until, now)),
    ];
    judged.into_iter().flatten().collect()
}

/// Judges a certificate that can be used by its end.
fn certificate(until: Timestamp, now: Timestamp) -> Finding {
    const CERTIFICATE: Subject = Subject::server("certificate");
    let left = until.saturating_since(now);
    match left < CERTIFICATE_WARN {
        true => CERTIFICATE.warning(
            format!("{}: clients refuse it from then on", days(left)),
            "have it renewed, and look why it was not: a running server takes the new files by itself",
        ),
        false => CERTIFICATE.ok(days(left)),
    }
}

/// Judges the CAs of clients by the first end of one.
fn client_ca(until: Timestamp, now: Timestamp) -> Finding {
    const CLIENT_CA: Subject = Subject::server("client_ca");
    let left = until.saturating_since(now);
    const ADVICE: &str = "put the CA's new certificate into the file of --tls-client-ca, beside the old one while clients have certificates of that";
    match left {
        Duration::ZERO => CLIENT_CA.warning("a CA of clients has expired", ADVICE),
        _ if left < CERTIFICATE_WARN => CLIENT_CA.warning(format!("a CA of clients: {}", days(left)), ADVICE),
        _ => CLIENT_CA.ok(days(left)),
    }
}

/// Judges the lists of revoked certificates by the first time at which a newer one was to be there.
fn client_crl(until: Timestamp, now: Timestamp) -> Finding {
    const CLIENT_CRL: Subject = Subject::server("client_crl");
    let left = until.saturating_since(now);
    match left {
        Duration::ZERO => CLIENT_CRL.warning(
            "a list of revoked certificates is older than its CA promised: what was revoked since is not known",
            "fetch the CA's newest list into the file of --tls-client-crl",
        ),
        _ => CLIENT_CRL.ok(format!("a newer list is due in {} days", left.as_secs() / (24 * 3600))),
    }
}

fn days(left: Duration) -> String {
    format!("valid for {} days", left.as_secs() / (24 * 3600))
}

/// Judges how many files a process may have open, beside the clients that may be connected.
fn descriptors(files: usize, connections_max: usize) -> Finding {
    const FILES: Subject = Subject::server("open_files");
    let told = format!("{files} open files for up to {connections_max} clients");
    let needed = connections_max.saturating_add(OTHER_FILES);
    let advice =
        || format!("`ulimit -n {needed}`, or LimitNOFILE={needed} in the unit; or fewer clients by --connections-max");
    match files {
        _ if files < CLIENTS_MIN + OTHER_FILES => FILES.error(
            format!("{told}: the store and the log alone take up to {OTHER_FILES}"),
            advice(),
        ),
        _ if files < needed => FILES.warning(format!("{told}, who cannot all connect"), advice()),
        _ => FILES.ok(told),
    }
}

/// Finds out what has an address.
///
/// # Errors
///
/// - `Config`: it cannot be listened at, for another reason than that something does.
async fn listener(address: &str, running: &dyn Client) -> Result<Listener> {
    match bind(address).await {
        Ok(_) => Ok(Listener::Nobody),
        Err(error) if is_in_use(&error) => Ok(match running.status().await {
            Ok(_) => Listener::Goku,
            Err(refusal) if matches!(refusal.kind(), ErrorKind::Unauthenticated | ErrorKind::PermissionDenied) => {
                Listener::Goku
            }
            Err(error) => Listener::Other(error),
        }),
        Err(error) => Err(error),
    }
}

/// Judges the address of gRPC by what has it. By TLS a goku is not known from something else by whoever does not trust its CA.
fn listen(address: &str, listener: &Listener, is_tls: bool) -> Finding {
    match listener {
        Listener::Nobody => LISTEN.ok(format!("{address} is free")),
        Listener::Goku => LISTEN.ok(format!("a goku serves at {address}")),
        Listener::Other(error) if is_tls => LISTEN.warning(
            format!("{address} is in use, and whether by a goku is not known: {}", error.message()),
            "`goku check --ca FILE`, with --cert and --key where clients show certificates; `ss -ltnp` tells who has it",
        ),
        Listener::Other(error) => LISTEN.error(
            format!("{address} is in use, and no goku answers there: {}", error.message()),
            "see who has it by `ss -ltnp`, stop that, or choose another address by --listen",
        ),
    }
}

/// Judges whether a server would refuse to listen in plain text.
async fn plaintext(config: &Config) -> Option<Finding> {
    let addresses = tokio::net::lookup_host(&config.listen).await.ok()?;
    let refusal = addresses
        .into_iter()
        .find_map(|address| check_plaintext(address, config).err());
    refusal.map(|error| Subject::server("plaintext").failed(&error))
}

fn is_in_use(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|source| source.kind() == io::ErrorKind::AddrInUse)
}

#[cfg(test)]
mod tests {
    use goku::check::Severity::{Error as Wrong, Ok as Good, Warning};

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[test]
    fn certificates_are_judged_by_the_days_that_are_left() {
        let now = Timestamp::from_millis(1_000_000).unwrap();
        let left = |days: u32| now.saturating_add(DAY * days);
        assert_eq!(
            [0, 13, 14].map(|days| certificate(left(days), now).severity),
            [Warning, Warning, Good]
        );
        assert_eq!(
            [0, 13, 14].map(|days| client_ca(left(days), now).severity),
            [Warning, Warning, Good]
        );
        assert_eq!([0, 1].map(|days| client_crl(left(days), now).severity), [Warning, Good]);
        assert_eq!(client_crl(Timestamp::MIN, now).severity, Warning);
        assert!(certificate(left(13), now).message.contains("13 days"));
    }

    #[test]
    fn open_files_are_judged_by_the_clients_that_may_come() {
        let severity = |files, clients| descriptors(files, clients).severity;
        assert_eq!(severity(1_024, 960), Good);
        assert_eq!(severity(1_024, 961), Warning);
        assert_eq!(severity(CLIENTS_MIN + OTHER_FILES, 10_000), Warning);
        assert_eq!(severity(CLIENTS_MIN + OTHER_FILES - 1, 1), Wrong);
        assert_eq!(severity(usize::MAX, usize::MAX), Good);
    }

    #[test]
    fn an_address_is_free_or_a_gokus_or_in_the_way() {
        let other = || Listener::Other(Error::new(ErrorKind::Unavailable, "no answer"));
        let severity = |listener, is_tls| listen("a:1", &listener, is_tls).severity;
        assert_eq!(severity(Listener::Nobody, false), Good);
        assert_eq!(severity(Listener::Goku, true), Good);
        assert_eq!(severity(other(), true), Warning);
        assert_eq!(severity(other(), false), Wrong);
    }
}
