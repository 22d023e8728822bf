//! TLS of a server as arguments of its command.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use goku_grpc::{ClientAuth, ServerTlsFiles};

// No doc comment, which would be the help of the commands that have them. That one needs another is checked here and not by
// the parser, to which what comes from the file is not given.
#[derive(Debug, Args)]
pub(crate) struct TlsArguments {
    /// File of the server's certificate, in PEM, with those between it and its CA after it. Given, clients and Prometheus connect
    /// by TLS only. Files are read again when they change
    #[arg(long, env = "GOKU_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,

    /// File of the certificate's private key, in PEM; refused where others than its owner and group may read it
    #[arg(long, env = "GOKU_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,

    /// File of the CAs whose certificates clients show, in PEM
    #[arg(long, env = "GOKU_TLS_CLIENT_CA", value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,

    /// File of the CAs' lists of revoked certificates, in PEM: one of each CA, those in between included
    #[arg(long, env = "GOKU_TLS_CLIENT_CRL", value_name = "FILE")]
    tls_client_crl: Option<PathBuf>,

    /// Whether clients show certificates; `required` by default where --tls-client-ca is given, else `none`
    #[arg(long, env = "GOKU_TLS_CLIENT_AUTH", value_name = "WHETHER")]
    tls_client_auth: Option<ClientAuthArg>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ClientAuthArg {
    /// They are not asked
    None,
    /// They may; one that is not valid is refused
    Optional,
    /// They must
    Required,
}

impl TlsArguments {
    /// The files, where TLS is asked for. The error names the option that is wrong, and says what to do.
    pub(crate) fn files(self) -> Result<Option<ServerTlsFiles>, (&'static str, &'static str)> {
        let (certificate, key) = match (self.tls_cert, self.tls_key) {
            (Some(certificate), Some(key)) => (certificate, key),
            (Some(_), None) => return Err(("tls_cert", "the certificate needs its private key: give tls-key, too")),
            (None, Some(_)) => return Err(("tls_key", "the private key needs its certificate: give tls-cert, too")),
            (None, None) => {
                let needs = "it has no effect without TLS: give tls-cert and tls-key, too";
                let given = [
                    ("tls_client_ca", self.tls_client_ca.is_some()),
                    ("tls_client_crl", self.tls_client_crl.is_some()),
                    ("tls_client_auth", self.tls_client_auth.is_some()),
                ];
                return match given.into_iter().find(|(_, is_given)| *is_given) {
                    Some((option, _)) => Err((option, needs)),
                    None => Ok(None),
                };
            }
        };
        if self.tls_client_crl.is_some() && self.tls_client_ca.is_none() {
            return Err((
                "tls_client_crl",
                "it has no effect without the CAs of clients: give tls-client-ca, too",
            ));
        }
        let client_auth = match self.tls_client_auth {
            Some(ClientAuthArg::None) => ClientAuth::None,
            Some(ClientAuthArg::Optional) => ClientAuth::Optional,
            Some(ClientAuthArg::Required) => ClientAuth::Required,
            None if self.tls_client_ca.is_some() => ClientAuth::Required,
            None => ClientAuth::None,
        };
        Ok(Some(ServerTlsFiles {
            certificate,
            key,
            client_ca: self.tls_client_ca,
            client_crl: self.tls_client_crl,
            client_auth,
        }))
    }
}
