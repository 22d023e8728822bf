//! The files that a server's TLS is made from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use goku::{Result, Timestamp};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::{config, pem, provider};

/// The files that a server's TLS is made from, all in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTlsFiles {
    /// The server's certificate, and after it those between it and its CA.
    pub certificate: PathBuf,
    /// The private key of the certificate. Refused where others than its owner and its group can read it.
    pub key: PathBuf,
    /// The CAs whose certificates clients may show.
    pub client_ca: Option<PathBuf>,
    /// The certificates of clients that are revoked: one list of each CA, those in between included. A certificate whose CA
    /// has no list here is refused. A list stays in force when its time of the next update has passed.
    pub client_crl: Option<PathBuf>,
    /// Whether clients show certificates.
    pub client_auth: ClientAuth,
    /// Whether those do that come by HTTP/1.1, to the metrics and probes; like the others by default.
    pub http1_client_auth: Option<ClientAuth>,
}

/// Whether clients prove who they are by a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked.
    #[default]
    None,
    /// Those that show one are refused where it is not valid; the others go on without.
    Optional,
    /// Those without a valid one are refused.
    Required,
}

/// The content of the files at one time.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
    client_crl: Option<Vec<u8>>,
}

/// All that was made of the files, for connections that begin from then on.
pub(super) struct Loaded {
    pub(super) http1: Arc<ServerConfig>,
    pub(super) http2: Arc<ServerConfig>,
    /// The end of the certificate's validity.
    pub(super) expires_at: Timestamp,
    /// The time of the next update that the revocation lists tell, the first of them.
    pub(super) crl_next_update: Option<Timestamp>,
}

impl ServerTlsFiles {
    pub(super) fn read(&self) -> Result<Contents> {
        let optional = |path: &Option<PathBuf>| path.as_deref().map(pem::read).transpose();
        Ok(Contents {
            certificate: pem::read(&self.certificate)?,
            key: pem::read_key(&self.key)?,
            client_ca: optional(&self.client_ca)?,
            client_crl: optional(&self.client_crl)?,
        })
    }

    /// Checks the contents at the time `now`, and makes TLS of them.
    pub(super) fn load(&self, contents: &Contents, now: Timestamp) -> Result<Loaded> {
        let key = pem::certified_key((&self.certificate, &contents.certificate), (&self.key, &contents.key))?;
        let expires_at = valid_until(&self.certificate, &key.cert, now)?;
        let resolver = Arc::new(SingleCertAndKey::from(key));
        let of = |alpn: &[u8], client_auth: ClientAuth| -> Result<Arc<ServerConfig>> {
            let verifier = self.verifier(contents, client_auth)?;
            let builder = ServerConfig::builder_with_provider(provider())
                .with_safe_default_protocol_versions()
                .map_err(|error| config(format!("TLS cannot be set up: {error}")))?;
            let mut made = match verifier {
                Some(verifier) => builder.with_client_cert_verifier(verifier),
                None => builder.with_no_client_auth(),
            }
            .with_cert_resolver(resolver.clone());
            // A connection that goes on with an earlier session shows no certificate, so nobody would see that it was revoked
            // or has expired. Connections of gRPC last: there is little to save.
            made.session_storage = Arc::new(NoServerSessionStorage {});
            made.send_tls13_tickets = 0;
            made.alpn_protocols = vec![alpn.to_vec()];
            Ok(Arc::new(made))
        };
        let lists = self.client_crl.as_deref().zip(contents.client_crl.as_deref());
        let crl_next_update = lists.map(|(path, lists)| next_update(path, lists)).transpose()?;
        Ok(Loaded {
            http1: of(b"http/1.1", self.http1_client_auth.unwrap_or(self.client_auth))?,
            http2: of(b"h2", self.client_auth)?,
            expires_at,
            crl_next_update: crl_next_update.flatten(),
        })
    }

    /// Whether any client is asked for a certificate.
    fn asks(&self) -> bool {
        [Some(self.client_auth), self.http1_client_auth]
            .into_iter()
            .flatten()
            .any(|client_auth| client_auth != ClientAuth::None)
    }

    /// What looks at the certificates of clients, where they are asked for any.
    fn verifier(&self, contents: &Contents, client_auth: ClientAuth) -> Result<Option<Arc<dyn ClientCertVerifier>>> {
        let ca = self.client_ca.as_deref().zip(contents.client_ca.as_deref());
        if !self.asks() && (ca.is_some() || self.client_crl.is_some()) {
            return Err(config(
                "a client CA or revocation list is given, and clients are not asked for certificates: have them be \
                 optional or required"
                    .to_owned(),
            ));
        }
        let (path, ca) = match (client_auth, ca) {
            (ClientAuth::None, _) => return Ok(None),
            (_, None) => {
                return Err(config(
                    "clients are asked for certificates, and no client CA is given: name the file of the CAs that issue them".to_owned(),
                ));
            }
            (_, Some(ca)) => ca,
        };
        let roots = Arc::new(pem::roots(path, ca)?);
        let mut builder = WebPkiClientVerifier::builder_with_provider(roots, provider());
        if let Some((path, crl)) = self.client_crl.as_deref().zip(contents.client_crl.as_deref()) {
            builder = builder.with_crls(revocation_lists(path, crl)?);
        }
        if client_auth == ClientAuth::Optional {
            builder = builder.allow_unauthenticated();
        }
        let verifier = builder.build().map_err(|error| {
            config(format!(
                "the CAs or revocation lists of clients cannot be used: {error}"
            ))
        })?;
        Ok(Some(verifier))
    }
}

/// The revocation lists in the content of a file, one at least.
pub(super) fn revocation_lists(path: &Path, content: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>> {
    let path = path.display();
    let lists = CertificateRevocationListDer::pem_slice_iter(content)
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(|error| config(format!("the revocation lists in {path} cannot be read: {error}")))?;
    if lists.is_empty() {
        return Err(config(format!(
            "{path} holds no revocation list: give them in PEM, which begins with -----BEGIN X509 CRL-----"
        )));
    }
    Ok(lists)
}

/// The first time of the next update of the lists in the content of a file; none where no list tells one.
fn next_update(path: &Path, content: &[u8]) -> Result<Option<Timestamp>> {
    let mut updates = Vec::new();
    for list in revocation_lists(path, content)? {
        let (_, list) = CertificateRevocationList::from_der(&list).map_err(|error| {
            config(format!(
                "a revocation list in {} cannot be read: {error}",
                path.display()
            ))
        })?;
        updates.extend(list.next_update());
    }
    let first = updates.into_iter().min();
    Ok(first.and_then(|update| Timestamp::from_millis(update.timestamp().saturating_mul(1_000)).ok()))
}

/// The end of the validity of the first certificate of a chain, all of which parse; `Config` where it is not valid at `now`.
fn valid_until(path: &Path, chain: &[CertificateDer<'_>], now: Timestamp) -> Result<Timestamp> {
    let path = path.display();
    let mut validities = Vec::new();
    for certificate in chain {
        let (_, certificate) = X509Certificate::from_der(certificate)
            .map_err(|error| config(format!("a certificate in {path} cannot be read: {error}")))?;
        validities.push(certificate.validity().clone());
    }
    let validity = validities
        .first()
        .ok_or_else(|| config(format!("{path} holds no certificate")))?;
    let until = Timestamp::from_millis(validity.not_after.timestamp().saturating_mul(1_000)).unwrap_or(Timestamp::MAX);
    if now > until {
        return Err(config(format!(
            "the certificate in {path} was valid until {}: have it renewed",
            validity.not_after
        )));
    }
    if now.as_millis() < validity.not_before.timestamp().saturating_mul(1_000) {
        return Err(config(format!(
            "the certificate in {path} is valid from {} on only: look at the clock of this machine",
            validity.not_before
        )));
    }
    Ok(until)
}
