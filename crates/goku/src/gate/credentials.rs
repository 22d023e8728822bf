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

impl CertificateNames {
    /// The name of the identity: the first URI, else the first DNS name, else the common name.
    pub fn identity(&self) -> Option<&str> {
        let name = self.uris.first().or_else(|| self.dns.first());
        name.or(self.common_name.as_ref()).map(String::as_str)
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
    fn a_certificate_names_its_identity_by_uri_else_dns_else_common_name() {
        let names = CertificateNames {
            uris: vec!["spiffe://a/b".to_owned()],
            dns: vec!["d".to_owned()],
            common_name: Some("c".to_owned()),
        };
        assert_eq!(names.identity(), Some("spiffe://a/b"));
        let names = CertificateNames {
            uris: Vec::new(),
            ..names
        };
        assert_eq!(names.identity(), Some("d"));
        let names = CertificateNames {
            dns: Vec::new(),
            ..names
        };
        assert_eq!(names.identity(), Some("c"));
        assert_eq!(CertificateNames::default().identity(), None);
    }
}
