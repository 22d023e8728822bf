//! How long what a server's TLS is made from is valid.

use std::path::Path;

use goku::{Result, Timestamp};
use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;
use x509_parser::time::ASN1Time;

use super::server_files::{ServerTlsFiles, revocation_lists};
use super::{config, pem};

/// How long what a server's TLS is made from is valid, whether it can be used or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsValidity {
    /// The end of the server's certificate.
    pub certificate: Timestamp,
    /// The first end of a CA of clients.
    pub client_ca: Option<Timestamp>,
    /// The first time at which a newer list of revoked certificates was to be there. A list without one is for ever.
    pub client_crl: Option<Timestamp>,
}

impl ServerTlsFiles {
    /// Reads how long the files' contents are valid. Blocks meanwhile.
    ///
    /// # Errors
    ///
    /// - `Config`: a file cannot be read, or holds something else.
    pub fn validity(&self) -> Result<TlsValidity> {
        let chain = certificates(&self.certificate)?;
        let ends = ends_of_certificates(&self.certificate, chain.get(..1).unwrap_or(&chain))?;
        let client_ca = self
            .client_ca
            .as_deref()
            .map(|path| ends_of_certificates(path, &certificates(path)?));
        let client_crl = self.client_crl.as_deref().map(updates_of_lists);
        Ok(TlsValidity {
            certificate: ends.into_iter().min().unwrap_or(Timestamp::MAX),
            client_ca: client_ca.transpose()?.and_then(|ends| ends.into_iter().min()),
            client_crl: client_crl.transpose()?.and_then(|ends| ends.into_iter().min()),
        })
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    pem::certificates(path, &pem::read(path)?)
}

fn ends_of_certificates(path: &Path, certificates: &[CertificateDer<'_>]) -> Result<Vec<Timestamp>> {
    let ends = certificates.iter().map(|certificate| {
        let (_, certificate) = X509Certificate::from_der(certificate)
            .map_err(|error| config(format!("a certificate in {} cannot be read: {error}", path.display())))?;
        Ok(timestamp(&certificate.validity().not_after))
    });
    ends.collect()
}

fn updates_of_lists(path: &Path) -> Result<Vec<Timestamp>> {
    let mut updates = Vec::new();
    for list in revocation_lists(path, &pem::read(path)?)? {
        let (_, list) = CertificateRevocationList::from_der(&list).map_err(|error| {
            config(format!(
                "a revocation list in {} cannot be read: {error}",
                path.display()
            ))
        })?;
        updates.extend(list.next_update().as_ref().map(timestamp));
    }
    Ok(updates)
}

fn timestamp(time: &ASN1Time) -> Timestamp {
    Timestamp::from_millis(time.timestamp().saturating_mul(1_000)).unwrap_or(Timestamp::MAX)
}
