//! The identification of callers as arguments of a command.

use clap::{Args, ValueEnum};
use goku::gate::CertificateName;

// No doc comment, which would be the help of the commands that have them.
#[derive(Debug, Args)]
pub(crate) struct AuthArguments {
    /// Which name of a client's certificate is its identity: the first URI, the first DNS name, the common name, or the first of
    /// these that there is. A certificate without it is refused
    #[arg(long, env = "GOKU_AUTH_CERTIFICATE_NAME", value_name = "KIND", default_value = "any")]
    auth_certificate_name: CertificateNameArg,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum CertificateNameArg {
    Any,
    Uri,
    Dns,
    CommonName,
}

impl From<CertificateNameArg> for CertificateName {
    fn from(kind: CertificateNameArg) -> CertificateName {
        match kind {
            CertificateNameArg::Any => CertificateName::Any,
            CertificateNameArg::Uri => CertificateName::Uri,
            CertificateNameArg::Dns => CertificateName::Dns,
            CertificateNameArg::CommonName => CertificateName::CommonName,
        }
    }
}

impl AuthArguments {
    /// The kind of name in a certificate that names its identity.
    pub(crate) fn certificate_name(&self) -> CertificateName {
        self.auth_certificate_name.into()
    }
}
