//! Certificates, keys and revocation lists as PEM files hold them.

use std::path::Path;

use goku::{Result, secret_file};
use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::{config, provider};

/// The bytes that a file may have: the revocation list of a large CA has some.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Reads a file of certificates or revocation lists.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    secret_file::read_public(path, FILE_BYTES_MAX)
}

/// Reads a file with a private key.
pub(super) fn read_key(path: &Path) -> Result<Vec<u8>> {
    secret_file::read(path, FILE_BYTES_MAX)
}

/// A certificate with its chain and its key, in the content of two files, which are named in errors.
///
/// `Config` where they cannot be read, or do not belong together.
pub(super) fn certified_key(
    (certificate_path, certificate): (&Path, &[u8]),
    (key_path, key): (&Path, &[u8]),
) -> Result<CertifiedKey> {
    let chain = certificates(certificate_path, certificate)?;
    let (certificate, key_name) = (certificate_path.display(), key_path.display());
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
        pem::Error::NoItemsFound => config(format!(
            "{key_name} holds no private key: give one in PEM, which begins with -----BEGIN PRIVATE KEY-----, without a password"
        )),
        error => config(format!("the private key in {key_name} cannot be read: {error}")),
    })?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => config(format!(
            "the private key in {key_name} does not belong to the certificate in {certificate}: give the two that were made together, \
             the certificate itself first in its file"
        )),
        error => config(format!("{certificate} and {key_name} cannot be used: {error}")),
    })
}

/// The certificates in the content of a file, one at least.
pub(super) fn certificates(path: &Path, content: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let path = path.display();
    let certificates = CertificateDer::pem_slice_iter(content)
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(|error| config(format!("the certificates in {path} cannot be read: {error}")))?;
    if certificates.is_empty() {
        return Err(config(format!(
            "{path} holds no certificate: give them in PEM, which begins with -----BEGIN CERTIFICATE-----"
        )));
    }
    Ok(certificates)
}

/// The CAs in the content of a file, one at least.
pub(super) fn roots(path: &Path, content: &[u8]) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, content)? {
        roots.add(certificate).map_err(|error| {
            config(format!(
                "a certificate in {} cannot be that of a CA: {error}",
                path.display()
            ))
        })?;
    }
    Ok(roots)
}
