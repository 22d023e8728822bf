//! The TLS of a client.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use goku::Result;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::first_read::FirstRead;
use super::{config, pem, provider};

/// How a client trusts its servers, and what it shows them.
///
/// By default it trusts the CAs that the system trusts, as other programs there do: a CA that a company installs on its machines
/// needs no option. The files are read again for each connection that is made; where they cannot be used then, those of before
/// are.
///
/// ```no_run
/// use goku_grpc::{ClientTls, GrpcClient};
///
/// # fn example() -> goku::Result<()> {
/// let tls = ClientTls::new().ca_file("ca.pem").identity("client.pem", "client-key.pem");
/// let client = GrpcClient::builder().tls(tls).connect("https://goku.example:4658")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    ca_files: Vec<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
    server_name: Option<String>,
}

impl ClientTls {
    /// The default.
    pub fn new() -> ClientTls {
        ClientTls::default()
    }

    /// Trusts the CAs in this PEM file, and those of other such calls, in place of those that the system trusts.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> ClientTls {
        self.ca_files.push(path.into());
        self
    }

    /// Shows servers that ask for one a certificate, whose private key is in the second file. Both are PEM files; that of the key
    /// is refused where others than its owner and its group can read it.
    pub fn identity(self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> ClientTls {
        ClientTls {
            identity: Some((certificate.into(), key.into())),
            ..self
        }
    }

    /// Expects the servers' certificates to be valid for `name` and not for the hosts of their endpoints.
    pub fn server_name(self, name: impl Into<String>) -> ClientTls {
        ClientTls {
            server_name: Some(name.into()),
            ..self
        }
    }

    fn read(&self) -> Result<Contents> {
        let ca_files = self
            .ca_files
            .iter()
            .map(|path| pem::read(path))
            .collect::<Result<_>>()?;
        let identity = match &self.identity {
            Some((certificate, key)) => Some((pem::read(certificate)?, pem::read_key(key)?)),
            None => None,
        };
        Ok(Contents { ca_files, identity })
    }

    fn load(&self, contents: &Contents) -> Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        if self.ca_files.is_empty() {
            roots = system_roots()?;
        }
        for (path, content) in self.ca_files.iter().zip(&contents.ca_files) {
            roots.extend(pem::roots(path, content)?.roots);
        }
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| config(format!("TLS cannot be set up: {error}")))?
            .with_root_certificates(roots);
        let mut made = match self.identity.as_ref().zip(contents.identity.as_ref()) {
            Some(((certificate_path, key_path), (certificate, key))) => {
                let key = pem::certified_key((certificate_path, certificate), (key_path, key))?;
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key)))
            }
            None => builder.with_no_client_auth(),
        };
        made.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(made))
    }
}

/// The CAs that the system trusts.
fn system_roots() -> Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found
            .errors
            .first()
            .map(|error| format!(" ({error})"))
            .unwrap_or_default();
        return Err(config(format!(
            "the system has no CAs to trust{why}: install its package of them, often `ca-certificates`, or name a file of CAs"
        )));
    }
    Ok(roots)
}

/// The content of the files at one time.
#[derive(Clone, PartialEq, Eq)]
struct Contents {
    ca_files: Vec<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// Makes connections by TLS. Clones share what was made of the files.
#[derive(Clone)]
pub(crate) struct Connector {
    tls: Arc<ClientTls>,
    loaded: Arc<Mutex<(Contents, Arc<ClientConfig>)>>,
}

/// A connection by TLS, and what tells that the server has taken it.
pub(crate) type Connected<IO> = (FirstRead<TlsStream<IO>>, oneshot::Receiver<io::Result<()>>);

impl Connector {
    /// Reads the files; `Config` where they cannot be used.
    pub(crate) fn load(tls: ClientTls) -> Result<Connector> {
        if let Some(name) = &tls.server_name {
            ServerName::try_from(name.as_str())
                .map_err(|error| config(format!("{name:?} cannot be the name of a server: {error}")))?;
        }
        let contents = tls.read()?;
        let loaded = tls.load(&contents)?;
        Ok(Connector {
            tls: Arc::new(tls),
            loaded: Arc::new(Mutex::new((contents, loaded))),
        })
    }

    /// Makes a connection to `host` one by TLS.
    pub(crate) async fn connect<IO>(&self, host: &str, io: IO) -> std::result::Result<Connected<IO>, TlsFailure>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let reloading = self.clone();
        let config = tokio::task::spawn_blocking(move || reloading.current())
            .await
            .map_err(|error| TlsFailure(format!("the files of TLS could not be read: {error}")))?;
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let name = self.tls.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|error| TlsFailure(format!("{name:?} cannot be the name of a server: {error}")))?;
        let connected = TlsConnector::from(config).connect(name, io).await;
        let stream = connected.map_err(|error| TlsFailure::of(&error))?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(TlsFailure(
                "it speaks TLS, but not HTTP/2 within it: is this goku, or a proxy that passes on HTTP/2?".to_owned(),
            ));
        }
        Ok(FirstRead::new(stream))
    }

    /// What is made of the files as they are now, or were when they could last be used.
    fn current(&self) -> Arc<ClientConfig> {
        let read = self.tls.read();
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(contents) if contents == loaded.0 => {}
            Ok(contents) => match self.tls.load(&contents) {
                Ok(config) => *loaded = (contents, config),
                Err(error) => tracing::warn!(%error, "the files of TLS were not reloaded"),
            },
            Err(error) => tracing::warn!(%error, "the files of TLS were not reloaded"),
        }
        loaded.1.clone()
    }
}

/// Why there is no connection by TLS, and what to do.
#[derive(Debug)]
pub(crate) struct TlsFailure(String);

impl TlsFailure {
    /// What an error of a connection by TLS means.
    pub(crate) fn of(error: &io::Error) -> TlsFailure {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        TlsFailure(match inner {
            Some(error) => explain(error),
            None => format!("it ended the connection during the handshake of TLS: {error}"),
        })
    }
}

/// An error of TLS with what to do about it.
fn explain(error: &rustls::Error) -> String {
    use AlertDescription as Alert;
    use CertificateError as Certificate;
    match error {
        rustls::Error::InvalidCertificate(why) => {
            let what_to_do = match why {
                Certificate::UnknownIssuer => "name the file of the CA that issued it (`--ca FILE`, `ClientTls::ca_file`)",
                Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                    "name the server in the endpoint as its certificate does, or have one made for this name"
                }
                Certificate::Expired | Certificate::ExpiredContext { .. } => {
                    "have it renewed, if the clock of this machine is right"
                }
                Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => "look at the clocks of both machines",
                _ => "have the server use another",
            };
            format!("its certificate is not trusted ({why}): {what_to_do}")
        }
        rustls::Error::InvalidMessage(_) => {
            "it does not speak TLS there: use http:// if it is to be so, or have it started with a certificate (`--tls-cert`)".to_owned()
        }
        rustls::Error::AlertReceived(alert) => match alert {
            Alert::CertificateRequired => "it takes only clients with a certificate: show one (`--cert FILE --key FILE`, \
                                           `ClientTls::identity`)"
                .to_owned(),
            Alert::CertificateRevoked | Alert::CertificateExpired | Alert::CertificateUnknown | Alert::UnknownCA
            | Alert::BadCertificate | Alert::UnsupportedCertificate | Alert::DecryptError | Alert::AccessDenied => {
                format!("it refuses this client's certificate ({alert:?}): show one that its CA issued and that is valid")
            }
            Alert::NoApplicationProtocol => "it speaks TLS, but not HTTP/2 within it: is this goku?".to_owned(),
            _ => format!("TLS cannot be agreed on: {error}"),
        },
        _ => format!("TLS cannot be agreed on: {error}"),
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsFailure {}
