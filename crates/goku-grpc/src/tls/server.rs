//! The TLS of a server, made anew when its files change.

use std::fmt;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use goku::reloaded_files::{ChangedFiles, FromFiles, ReloadedFiles};
use goku::{Clock, Result, SystemClock, Timestamp};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use x509_parser::time::ASN1Time;

use super::SPEAKS_TLS;
use super::peer_certificate::PeerCertificate;
use super::prefixed::Prefixed;
use super::server_files::{Contents, Loaded, ServerTlsFiles};

/// The time that a handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// The first byte of what a client sends that speaks TLS: the type of a handshake record.
const HANDSHAKE_RECORD: u8 = 22;

/// The TLS of a server. Clones share it.
///
/// It is made from files, and made anew as a whole when they have changed: by [`watch`](Self::watch) some seconds later, by
/// [`reload`](Self::reload) at once. Files that cannot be used change nothing. Connections that exist go on.
#[derive(Clone)]
pub struct ServerTls(ReloadedFiles<Files>);

/// The files, for what makes TLS of them.
struct Files {
    files: ServerTlsFiles,
    /// The time of the next update of revocation lists that the log was told has passed.
    told_stale: Mutex<Option<Timestamp>>,
}

impl Files {
    /// Tells the log, once for each, of revocation lists whose next update should be there; returns whether it did.
    fn tell_stale(&self, loaded: &Loaded, now: Timestamp) -> bool {
        let next_update = loaded.crl_next_update;
        let Some(due) = next_update.filter(|due| now > *due) else {
            return false;
        };
        let mut told_stale = self.told_stale.lock().unwrap_or_else(PoisonError::into_inner);
        if *told_stale == next_update {
            return false;
        }
        *told_stale = next_update;
        let file = self.files.client_crl.as_deref().unwrap_or(Path::new("")).display();
        tracing::warn!(
            %file,
            due = due_text(due),
            "a revocation list should have been replaced by its next update: it stays in force, and certificates that were revoked since are taken"
        );
        true
    }
}

impl FromFiles for Files {
    type Contents = Contents;
    type Made = Loaded;
    const RELOADED: &'static str = "the files of TLS were reloaded";
    const NOT_RELOADED: &'static str = "the files of TLS were not reloaded: the certificates of before stay in use";

    fn read(&self) -> Result<Contents> {
        self.files.read()
    }

    fn make(&self, contents: &Contents, now: Timestamp) -> Result<Loaded> {
        self.files.load(contents, now)
    }

    fn look_at(&self, loaded: &Loaded, now: Timestamp) {
        self.tell_stale(loaded, now);
    }
}

/// The protocol that a listener speaks within TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, as of gRPC.
    Http2,
}

/// Files that have changed and can be used.
pub struct ChangedTls(ChangedFiles<Files>);

impl ChangedTls {
    /// Uses them from now on.
    pub fn take(self) {
        self.0.take();
    }
}

/// The server's end of a connection by TLS.
pub struct ServerTlsStream<IO> {
    stream: Box<TlsStream<Prefixed<IO>>>,
    certificate: Option<PeerCertificate>,
}

impl ServerTls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// - `Config`: a file cannot be read or used, the certificate is not valid at this time, or the options do not go
    ///   together. The message names the file and says what to do.
    pub fn load(files: ServerTlsFiles) -> Result<ServerTls> {
        ServerTls::load_at(files, Arc::new(SystemClock))
    }

    /// Like [`load`](Self::load), with another clock than that of the system to check the server's certificate by.
    ///
    /// # Errors
    ///
    /// The errors of [`load`](Self::load).
    pub fn load_at(files: ServerTlsFiles, clock: Arc<dyn Clock>) -> Result<ServerTls> {
        let files = Files {
            files,
            told_stale: Mutex::default(),
        };
        ReloadedFiles::load_at(files, clock).map(ServerTls)
    }

    /// Reads the files again and takes them if they have changed; returns whether they had. Blocks while it reads them.
    ///
    /// # Errors
    ///
    /// The errors of [`check`](Self::check).
    pub fn reload(&self) -> Result<bool> {
        self.0.reload()
    }

    /// Reads the files again and checks them, without taking them; returns `None` where they have not changed. Blocks while it reads
    /// them.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load). Then all stays as it is; the log has the error, too, and
    /// [`reload_failures`](Self::reload_failures) counts it.
    pub fn check(&self) -> Result<Option<ChangedTls>> {
        Ok(self.0.check()?.map(ChangedTls))
    }

    /// Reloads the files when they change, for ever: within 11 seconds. A content that cannot be used is logged and counted
    /// once.
    pub async fn watch(&self) {
        self.0.watch().await;
    }

    /// The end of the validity of the certificate in use.
    pub fn expires_at(&self) -> Timestamp {
        self.0.current().expires_at
    }

    /// The time of the next update that the revocation lists in use tell, the first of them; `None` where there are none, or none
    /// tells it. Once it has passed the lists stay in force, and what was revoked since is not known: the log has a warning.
    pub fn crl_next_update(&self) -> Option<Timestamp> {
        self.0.current().crl_next_update
    }

    /// Changes of the files that could not be used, and calls of [`reload`](Self::reload) that failed.
    pub fn reload_failures(&self) -> u64 {
        self.0.reload_failures()
    }

    /// Makes a connection that was accepted one by TLS. A client that does not speak TLS is told so.
    ///
    /// # Errors
    ///
    /// The reason why there is no connection; `TimedOut` where it took more than 5 seconds, `UnexpectedEof` where the client left.
    pub async fn accept<IO>(&self, io: IO, protocol: Protocol) -> io::Result<ServerTlsStream<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let made = tokio::time::timeout(HANDSHAKE_MAX, self.handshake(io, protocol)).await;
        made.unwrap_or_else(|_| {
            let message = format!("the handshake was not done within {} s", HANDSHAKE_MAX.as_secs());
            Err(io::Error::new(io::ErrorKind::TimedOut, message))
        })
    }

    async fn handshake<IO>(&self, io: IO, protocol: Protocol) -> io::Result<ServerTlsStream<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let (first, mut io) = Prefixed::read(io).await?;
        if first != HANDSHAKE_RECORD {
            refuse_plaintext(&mut io, protocol).await;
            let message = "the client does not speak TLS: have it use https://";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let config = {
            let loaded = self.0.current();
            match protocol {
                Protocol::Http1 => loaded.http1.clone(),
                Protocol::Http2 => loaded.http2.clone(),
            }
        };
        let stream = TlsAcceptor::from(config).accept(io).await?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let certificate = chain.first().map(PeerCertificate::parse).transpose();
        let certificate = certificate.map_err(|error| {
            let message = format!("the names in the client's certificate cannot be read: {error}");
            io::Error::new(io::ErrorKind::InvalidData, message)
        })?;
        Ok(ServerTlsStream {
            stream: Box::new(stream),
            certificate,
        })
    }
}

/// A time for the log.
fn due_text(due: Timestamp) -> String {
    let time = ASN1Time::from_timestamp(due.as_millis().div_euclid(1_000));
    time.map_or_else(|_| format!("{} ms", due.as_millis()), |time| time.to_string())
}

/// Tells a client that it has to speak TLS, in the protocol that it probably speaks, and waits until it has gone.
async fn refuse_plaintext(io: &mut (impl AsyncRead + AsyncWrite + Unpin), protocol: Protocol) {
    let refusal = match protocol {
        Protocol::Http1 => format!(
            "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{SPEAKS_TLS}\n",
            SPEAKS_TLS.len() + 1
        )
        .into_bytes(),
        Protocol::Http2 => http2_refusal(),
    };
    let told = async {
        io.write_all(&refusal).await?;
        io.shutdown().await?;
        // A connection that is closed before all was read from it is reset, and the client may not see the refusal.
        tokio::io::copy(io, &mut tokio::io::sink()).await
    };
    if let Err(error) = told.await {
        tracing::debug!(%error, "a client that does not speak TLS could not be told so");
    }
}

/// Settings, with which a server begins, and GOAWAY with the reason INADEQUATE_SECURITY.
fn http2_refusal() -> Vec<u8> {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const GOAWAY: [u8; 6] = [7, 0, 0, 0, 0, 0];
    const LAST_STREAM: [u8; 4] = [0; 4];
    const INADEQUATE_SECURITY: [u8; 4] = [0, 0, 0, 12];
    const LENGTH: u32 = (LAST_STREAM.len() + INADEQUATE_SECURITY.len() + SPEAKS_TLS.len()) as u32;
    let mut refusal = SETTINGS.to_vec();
    refusal.extend(&LENGTH.to_be_bytes()[1..]);
    refusal.extend(GOAWAY);
    refusal.extend(LAST_STREAM);
    refusal.extend(INADEQUATE_SECURITY);
    refusal.extend(SPEAKS_TLS.as_bytes());
    refusal
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls")
            .field("files", &self.0.files().files)
            .finish_non_exhaustive()
    }
}

impl<IO> ServerTlsStream<IO> {
    /// Takes the certificate that the client showed, if it showed one.
    pub(crate) fn take_certificate(&mut self) -> Option<PeerCertificate> {
        self.certificate.take()
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for ServerTlsStream<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ServerTlsStream<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use goku::{Clock, ManualClock, SystemClock};
    use goku_test_pki::{Ca, Subject};

    use super::*;
    use crate::tls::ClientAuth;

    #[test]
    fn a_revocation_list_is_told_of_once_its_next_update_has_passed() {
        let folder = tempfile::tempdir().unwrap();
        let (servers, clients) = (Ca::new("Servers"), Ca::new("Clients"));
        let (certificate, key) = servers.issue(Subject::server()).write(folder.path(), "tls");
        let (ca, crl) = (folder.path().join("ca.pem"), folder.path().join("crl.pem"));
        fs::write(&ca, clients.certificate()).unwrap();
        fs::write(&crl, clients.revocation_list_until(&[], 1_893_456_000)).unwrap();
        let clock = Arc::new(ManualClock::new(SystemClock.now()));
        let files = ServerTlsFiles {
            certificate,
            key,
            client_ca: Some(ca),
            client_crl: Some(crl.clone()),
            client_auth: ClientAuth::Required,
            http1_client_auth: None,
        };
        let tls = ServerTls::load_at(files, clock.clone()).unwrap();
        let due = tls.crl_next_update().unwrap();
        let tell = || tls.0.files().tell_stale(&tls.0.current(), clock.now());
        assert!(!tell());
        clock.set(due.saturating_add(Duration::from_secs(1)));
        assert!(tell());
        assert!(!tell(), "once");

        // One that is stale already is told of when it is taken.
        fs::write(&crl, clients.revocation_list_until(&[], 1_861_920_000)).unwrap();
        assert!(tls.reload().unwrap());
        assert!(tls.crl_next_update().unwrap() < due);
        assert!(!tell());
        fs::write(&crl, clients.revocation_list(&[])).unwrap();
        assert!(tls.reload().unwrap());
        assert!(tls.crl_next_update().unwrap() > clock.now());
        assert!(!tell());
    }
}
