//! What a call brings along to say who makes it.

use std::fmt;
use std::net::IpAddr;

/// What a call brings along to say who makes it. The first of these that is given counts: a token, a certificate, an address.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// A bearer token.
    pub token: Option<String>,
    /// The names in the caller's certificate, which was verified.
    pub certificate: Option<CertificateNames>,
    /// The address that the caller connects from.
    pub address: Option<IpAddr>,
}

/// The names in a certificate, in the order in which they stand there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateNames {
    /// URIs among the subject's alternative names.
    pub uris: Vec<String>,
    /// DNS names among them.
    pub dns: Vec<String>,
    /// The common name of the subject.
    pub common_name: Option<String>,
}

/// The kind of name in a certificate that names its identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CertificateName {
    /// The first URI, else the first DNS name, else the common name.
    #[default]
    Any,
    /// The first URI.
    Uri,
    /// The first DNS name.
    Dns,
    /// The common name.
    CommonName,
}

impl CertificateNames {
    /// The name of the identity; `None` where the certificate has no name of this kind.
    pub fn identity(&self, kind: CertificateName) -> Option<&str> {
        let (uri, dns, common_name) = (self.uris.first(), self.dns.first(), self.common_name.as_ref());
        let name = match kind {
            CertificateName::Any => uri.or(dns).or(common_name),
            CertificateName::Uri => uri,
            CertificateName::Dns => dns,
            CertificateName::CommonName => common_name,
        };
        name.map(String::as_str)
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CertificateName::Any => "URI, DNS name or common name",
            CertificateName::Uri => "URI",
            CertificateName::Dns => "DNS name",
            CertificateName::CommonName => "common name",
        })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("token", &self.token.as_ref().map(|_| "***"))
            .field("certificate", &self.certificate)
            .field("address", &self.address)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_do_not_show_their_token() {
        let credentials = Credentials {
            token: Some("secret".to_owned()),
            ..Credentials::default()
        };
        let shown = format!("{credentials:?}");
        assert!(shown.contains("***") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn a_certificate_names_its_identity_by_the_kind_of_name_that_counts_or_not_at_all() {
        let all = CertificateNames {
            uris: vec!["spiffe://a/b".to_owned(), "spiffe://a/c".to_owned()],
            dns: vec!["d".to_owned(), "e".to_owned()],
            common_name: Some("c".to_owned()),
        };
        let no_uri = CertificateNames {
            uris: Vec::new(),
            ..all.clone()
        };
        let common_name = CertificateNames {
            dns: Vec::new(),
            ..no_uri.clone()
        };
        let none = CertificateNames::default();
        for (kind, of) in [
            (CertificateName::Any, [Some("spiffe://a/b"), Some("d"), Some("c"), None]),
            (CertificateName::Uri, [Some("spiffe://a/b"), None, None, None]),
            (CertificateName::Dns, [Some("d"), Some("d"), None, None]),
            (CertificateName::CommonName, [Some("c"), Some("c"), Some("c"), None]),
        ] {
            let names = [&all, &no_uri, &common_name, &none].map(|names| names.identity(kind));
            assert_eq!(names, of, "{kind:?}");
        }
    }
}
