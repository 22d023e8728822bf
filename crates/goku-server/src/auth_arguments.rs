//! The identification of callers as arguments of a command.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use goku::gate::{AddressRole, AddressRoles, CertificateName, JwtRules};
use goku_server::JwtConfig;

// No doc comment, which would be the help of the commands that have them. That one needs another is checked here and not by
// the parser, to which what comes from the file is not given.
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

    /// File of the public keys (JWKS) whose JWTs are taken as credentials, signed by RS256, ES256 or EdDSA. It is read again when
    /// it changes
    #[arg(long, env = "GOKU_AUTH_JWT_JWKS_FILE", value_name = "FILE")]
    auth_jwt_jwks_file: Option<PathBuf>,

    /// The issuer that JWTs have to be of (their claim `iss`)
    #[arg(long, env = "GOKU_AUTH_JWT_ISSUER", value_name = "ISSUER", value_parser = not_empty)]
    auth_jwt_issuer: Option<String>,

    /// The audience that JWTs have to be for (their claim `aud`, or in it)
    #[arg(long, env = "GOKU_AUTH_JWT_AUDIENCE", value_name = "AUDIENCE", value_parser = not_empty)]
    auth_jwt_audience: Option<String>,

    /// The claim of JWTs that names the identity
    #[arg(long, env = "GOKU_AUTH_JWT_IDENTITY_CLAIM", value_name = "CLAIM", default_value = JwtRules::IDENTITY_CLAIM, value_parser = not_empty)]
    auth_jwt_identity_claim: String,

    /// The claim of JWTs that names roles which count beside those of the identity, in a list or a text with spaces between them;
    /// none by default
    #[arg(long, env = "GOKU_AUTH_JWT_ROLES_CLAIM", value_name = "CLAIM", value_parser = not_empty)]
    auth_jwt_roles_claim: Option<String>,
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

/// A text, one character at least.
fn not_empty(text: &str) -> Result<String, &'static str> {
    match text {
        "" => Err("it is empty"),
        text => Ok(text.to_owned()),
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

    /// The JWTs that are taken, where any are. The error names the option that is wrong, and says what to do.
    pub(crate) fn jwt(self) -> Result<Option<JwtConfig>, (&'static str, &'static str)> {
        let Some(jwks_file) = self.auth_jwt_jwks_file else {
            let given = [
                ("auth_jwt_issuer", self.auth_jwt_issuer.is_some()),
                ("auth_jwt_audience", self.auth_jwt_audience.is_some()),
                ("auth_jwt_roles_claim", self.auth_jwt_roles_claim.is_some()),
            ];
            let needs = "it has no effect without the keys of JWTs: give auth-jwt-jwks-file, too";
            return match given.into_iter().find(|(_, is_given)| *is_given) {
                Some((option, _)) => Err((option, needs)),
                None => Ok(None),
            };
        };
        let wanting = |what| ("auth_jwt_jwks_file", what);
        Ok(Some(JwtConfig {
            jwks_file,
            rules: JwtRules {
                issuer: self.auth_jwt_issuer.ok_or(wanting(
                    "JWTs are taken of one issuer alone: give auth-jwt-issuer, too",
                ))?,
                audience: self.auth_jwt_audience.ok_or(wanting(
                    "JWTs are taken for one audience alone, or those for another service would do: give auth-jwt-audience, too",
                ))?,
                identity_claim: self.auth_jwt_identity_claim,
                roles_claim: self.auth_jwt_roles_claim,
            },
        }))
    }
}
