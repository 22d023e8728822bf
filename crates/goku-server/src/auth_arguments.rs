//! The identification of callers as arguments of a command.

use clap::{Args, ValueEnum};
use goku::gate::{AddressRole, AddressRoles, CertificateName};

// No doc comment, which would be the help of the commands that have them.
#[derive(Debug, Args)]
pub(crate) struct AuthArguments {
    /// Which name of a client's certificate is its identity: the first URI, the first DNS name, the common name, or the first of
    /// these that there is. A certificate without it is refused
    #[arg(long, env = "GOKU_AUTH_CERTIFICATE_NAME", value_name = "KIND", default_value = "any")]
    auth_certificate_name: CertificateNameArg,

    /// Networks, and the role that callers from there have who show no credentials, beside what `anonymous` may do; may be
    /// repeated, or several be separated by commas. The longest prefix that fits counts. Whoever has such an address has the role
    #[arg(long, env = "GOKU_AUTH_ADDRESSES", value_name = "CIDR=ROLE", value_delimiter = ',')]
    auth_addresses: Vec<AddressRole>,
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

    /// The roles that addresses have. The error names the option that is wrong, and says why.
    pub(crate) fn addresses(&self) -> Result<AddressRoles, (&'static str, String)> {
        let roles = AddressRoles::new(self.auth_addresses.clone());
        roles.map_err(|error| ("auth_addresses", error.message().to_owned()))
    }
}
