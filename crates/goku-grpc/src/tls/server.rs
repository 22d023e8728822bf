//! The TLS of a server, made anew when its files change.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use goku::{Clock, Error, ErrorKind, Result, SystemClock, Timestamp};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::SPEAKS_TLS;
use super::peer_certificate::PeerCertificate;
use super::prefixed::Prefixed;
use super::server_files::{Contents, Loaded, ServerTlsFiles};

/// The time that a handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// The interval at which the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// The time for which changed files have to stay as they are before they are taken: several are replaced one after another.
const SETTLE_TIME: Duration = Duration::from_secs(1);

/// The first byte of what a client sends that speaks TLS: the type of a handshake record.
const HANDSHAKE_RECORD: u8 = 22;

/// The TLS of a server. Clones share it.
///
/// It is made from files, and made anew as a whole when they have changed: by [`watch`](Self::watch) some seconds later, by
/// [`reload`](Self::reload) at once. Files that cannot be used change nothing. Connections that exist go on.
#[derive(Clone)]
pub struct ServerTls(Arc<Inner>);

struct Inner {
    files: ServerTlsFiles,
    clock: Arc<dyn Clock>,
    loaded: ArcSwap<Loaded>,
    looks: Mutex<Looks>,
    reload_failures: AtomicU64,
}

/// What was seen of the files.
struct Looks {
    /// The content that was last tried, or why it could not be read.
    tried: Seen,
    was_taken: bool,
    /// A content that was seen once, and is tried if it is there at the next look.
    settling: Option<Seen>,
}

type Seen = Result<Contents, String>;

/// The protocol that a listener speaks within TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, as of gRPC.
    Http2,
}

/// Files that have changed and can be used.
pub struct ChangedTls {
    inner: Arc<Inner>,
    loaded: Loaded,
}

impl ChangedTls {
    /// Uses them from now on.
    pub fn take(self) {
        let mut looks = self.inner.looks();
        self.inner.swap(&mut looks, self.loaded);
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
        let contents = files.read()?;
        let loaded = files.load(&contents, clock.now())?;
        Ok(ServerTls(Arc::new(Inner {
            files,
            clock,
            loaded: ArcSwap::from_pointee(loaded),
            looks: Mutex::new(Looks {
                tried: Ok(contents),
                was_taken: true,
                settling: None,
            }),
            reload_failures: AtomicU64::new(0),
        })))
    }

    /// Reads the files again and takes them if they have changed; returns whether they had. Blocks while it reads them.
    ///
    /// # Errors
    ///
    /// The errors of [`check`](Self::check).
    pub fn reload(&self) -> Result<bool> {
        let changed = self.check()?;
        Ok(changed.map(ChangedTls::take).is_some())
    }

    /// Reads the files again and checks them, without taking them; returns `None` where they have not changed. Blocks while it reads
    /// them.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load). Then all stays as it is; the log has the error, too, and
    /// [`reload_failures`](Self::reload_failures) counts it.
    pub fn check(&self) -> Result<Option<ChangedTls>> {
        let read = self.0.files.read();
        let mut looks = self.0.looks();
        looks.settling = None;
        if looks.was_taken && read.as_ref().ok() == looks.tried.as_ref().ok() {
            return Ok(None);
        }
        let loaded = self.0.check(&mut looks, &read)?;
        Ok(Some(ChangedTls {
            inner: self.0.clone(),
            loaded,
        }))
    }

    /// Reloads the files when they change, for ever: within 11 seconds. A content that cannot be used is logged and counted
    /// once.
    pub async fn watch(&self) {
        loop {
            let inner = self.0.clone();
            let read = tokio::task::spawn_blocking(move || inner.files.read()).await;
            let read = read.unwrap_or_else(|error| {
                Err(Error::new(ErrorKind::Internal, "the files of TLS could not be read").with_source(error))
            });
            tokio::time::sleep(self.0.look(read)).await;
        }
    }

    /// The end of the validity of the certificate in use.
    pub fn expires_at(&self) -> Timestamp {
        self.0.loaded.load().expires_at
    }

    /// Changes of the files that could not be used, and calls of [`reload`](Self::reload) that failed.
    pub fn reload_failures(&self) -> u64 {
        self.0.reload_failures.load(Ordering::Relaxed)
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
            let loaded = self.0.loaded.load();
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

impl Inner {
    /// Takes the content of the files if it has changed and is there for the second time; returns the time until the next look.
    fn look(&self, read: Result<Contents>) -> Duration {
        let seen = seen(&read);
        let mut looks = self.looks();
        if seen == looks.tried {
            looks.settling = None;
            // What could not be used, such as a certificate that is not valid yet, may have become usable by itself.
            if !looks.was_taken
                && let Ok(contents) = &read
                && let Ok(loaded) = self.files.load(contents, self.clock.now())
            {
                self.swap(&mut looks, loaded);
            }
            return LOOK_INTERVAL;
        }
        if looks.settling.as_ref() != Some(&seen) {
            looks.settling = Some(seen);
            return SETTLE_TIME;
        }
        looks.settling = None;
        // Where there is an error, the log has it.
        if let Ok(loaded) = self.check(&mut looks, &read) {
            self.swap(&mut looks, loaded);
        }
        LOOK_INTERVAL
    }

    /// Makes TLS of the content of the files, if it can be used.
    fn check(&self, looks: &mut Looks, read: &Result<Contents>) -> Result<Loaded> {
        looks.tried = seen(read);
        looks.was_taken = false;
        let contents = read.as_ref().map_err(Clone::clone);
        let loaded = contents.and_then(|contents| self.files.load(contents, self.clock.now()));
        loaded.inspect_err(|error| {
            self.reload_failures.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%error, "the files of TLS were not reloaded: the certificates of before stay in use");
        })
    }

    fn swap(&self, looks: &mut Looks, loaded: Loaded) {
        looks.was_taken = true;
        self.loaded.store(Arc::new(loaded));
        tracing::info!("the files of TLS were reloaded");
    }

    fn looks(&self) -> MutexGuard<'_, Looks> {
        // Nothing panics while it is locked.
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn seen(read: &Result<Contents>) -> Seen {
    read.as_ref().cloned().map_err(Error::to_string)
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
            .field("files", &self.0.files)
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

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use goku_test_pki::{Ca, Subject, write_secret};

    use super::*;
    use crate::tls::ClientAuth;

    /// As Kubernetes replaces a secret: by another target of a link.
    #[test]
    fn changed_files_are_taken_once_they_stay_and_those_that_cannot_be_used_are_counted_once() {
        let folder = tempfile::tempdir().unwrap();
        let ca = Ca::new("Servers");
        let issue = |name: &str| {
            let folder = folder.path().join(name);
            fs::create_dir(&folder).unwrap();
            ca.issue(Subject::server()).write(&folder, "tls");
            folder
        };
        let (first, second, broken) = (issue("first"), issue("second"), issue("broken"));
        write_secret(&broken.join("tls-key.pem"), "no key");
        let (data, next) = (folder.path().join("data"), folder.path().join("next"));
        let point_to = |target: &Path| {
            symlink(target, &next).unwrap();
            fs::rename(&next, &data).unwrap();
        };
        point_to(&first);
        let tls = ServerTls::load(ServerTlsFiles {
            certificate: data.join("tls.pem"),
            key: data.join("tls-key.pem"),
            client_ca: None,
            client_crl: None,
            client_auth: ClientAuth::None,
        })
        .unwrap();
        let look = || tls.0.look(tls.0.files.read());
        let loaded = || Arc::as_ptr(&tls.0.loaded.load_full());
        let at_first = loaded();
        assert_eq!(look(), LOOK_INTERVAL);

        point_to(&broken);
        assert_eq!((look(), tls.reload_failures()), (SETTLE_TIME, 0));
        for _ in 0..3 {
            assert_eq!((look(), tls.reload_failures()), (LOOK_INTERVAL, 1));
        }
        fs::remove_file(&data).unwrap();
        assert_eq!((look(), tls.reload_failures()), (SETTLE_TIME, 1));
        assert_eq!((look(), tls.reload_failures()), (LOOK_INTERVAL, 2));
        assert_eq!(loaded(), at_first);

        point_to(&second);
        assert_eq!(look(), SETTLE_TIME);
        assert_eq!(loaded(), at_first);
        assert_eq!(look(), LOOK_INTERVAL);
        assert_ne!(loaded(), at_first);
        assert!(!tls.reload().unwrap(), "what is there was taken");
        assert_eq!(tls.reload_failures(), 2);
    }
}
