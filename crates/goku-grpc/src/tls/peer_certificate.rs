//! The certificate that a client has proved to be its own.

use goku::gate::CertificateNames;
use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::extensions::GeneralName;
use x509_parser::nom;
use x509_parser::prelude::FromDer;

/// A verified certificate of a client, with the names that it gives.
#[derive(Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The certificate itself, in DER.
    pub der: Vec<u8>,
    /// The names in it. Of several common names of the subject it is the last.
    pub names: CertificateNames,
}

impl PeerCertificate {
    /// Reads the names of a certificate.
    pub(super) fn parse(der: &CertificateDer<'_>) -> Result<PeerCertificate, nom::Err<X509Error>> {
        let (_, certificate) = X509Certificate::from_der(der)?;
        let mut names = CertificateNames::default();
        let alternative = certificate
            .subject_alternative_name()
            .map_err(nom::Err::Error)?
            .map(|extension| extension.value.general_names.as_slice());
        for name in alternative.unwrap_or_default() {
            match name {
                GeneralName::URI(uri) => names.uris.push((*uri).to_owned()),
                GeneralName::DNSName(name) => names.dns.push((*name).to_owned()),
                _ => {}
            }
        }
        let common_name = certificate.subject().iter_common_name().last();
        names.common_name = common_name.and_then(|name| name.as_str().ok()).map(str::to_owned);
        Ok(PeerCertificate {
            der: der.to_vec(),
            names,
        })
    }
}

impl std::fmt::Debug for PeerCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerCertificate")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}
