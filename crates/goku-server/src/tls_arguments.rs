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

    /// Whether those do that ask for metrics and probes: `none` lets Prometheus and the probes of Kubernetes come without where
    /// clients show some. As --tls-client-auth by default
    #[arg(long, env = "GOKU_METRICS_TLS_CLIENT_AUTH", value_name = "WHETHER")]
    metrics_tls_client_auth: Option<ClientAuthArg>,
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
                    ("metrics_tls_client_auth", self.metrics_tls_client_auth.is_some()),
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
            Some(client_auth) => client_auth.into(),
            None if self.tls_client_ca.is_some() => ClientAuth::Required,
            None => ClientAuth::None,
        };
        let http1_client_auth = self.metrics_tls_client_auth.map(ClientAuth::from);
        let asking = [
            ("tls_client_auth", Some(client_auth)),
            ("metrics_tls_client_auth", http1_client_auth),
        ];
        let asking = asking
            .into_iter()
            .find(|(_, client_auth)| client_auth.is_some_and(|client_auth| client_auth != ClientAuth::None));
        match asking {
            Some((option, _)) if self.tls_client_ca.is_none() => {
                return Err((
                    option,
                    "it takes the CAs that issue certificates to clients: give tls-client-ca, too",
                ));
            }
            None if self.tls_client_ca.is_some() => {
                return Err((
                    "tls_client_ca",
                    "clients are not asked for certificates: have tls-client-auth be optional or required, or leave it out",
                ));
            }
            _ => {}
        }
        Ok(Some(ServerTlsFiles {
            certificate,
            key,
            client_ca: self.tls_client_ca,
            client_crl: self.tls_client_crl,
            client_auth,
            http1_client_auth,
        }))
    }
}

impl From<ClientAuthArg> for ClientAuth {
    fn from(client_auth: ClientAuthArg) -> ClientAuth {
        match client_auth {
            ClientAuthArg::None => ClientAuth::None,
            ClientAuthArg::Optional => ClientAuth::Optional,
            ClientAuthArg::Required => ClientAuth::Required,
        }
    }
}
