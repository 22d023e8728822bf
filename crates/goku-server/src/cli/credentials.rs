//! What client commands show their servers, and how they trust them.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use goku_grpc::{ClientTls, GrpcClient, GrpcClientBuilder, Token};

use crate::exit::Failure;

/// The variable of a token: in no option, since other users of the machine see the arguments of processes.
const TOKEN_VARIABLE: &str = "GOKU_TOKEN";

/// The arguments by their ids.
pub(super) const CA: &str = "credentials_ca";
pub(super) const CERT: &str = "credentials_cert";
pub(super) const KEY: &str = "credentials_key";
pub(super) const TOKEN_FILE: &str = "credentials_token_file";

/// The options about TLS and tokens of all client commands.
#[derive(Clone, Debug, Args)]
pub(super) struct Credentials {
    /// File of the CAs to trust in place of those that the system trusts, in PEM
    #[arg(
        id = CA,
        long = "ca",
        global = true,
        help_heading = "Global options",
        env = "GOKU_CA",
        value_name = "FILE"
    )]
    pub(super) ca: Option<PathBuf>,

    /// File of a certificate that is shown to servers, in PEM; with --key
    #[arg(
        id = CERT,
        long = "cert",
        global = true,
        help_heading = "Global options",
        env = "GOKU_CERT",
        value_name = "FILE"
    )]
    pub(super) cert: Option<PathBuf>,

    /// File of the certificate's private key, in PEM; refused where others than its owner and group may read it
    #[arg(
        id = KEY,
        long = "key",
        global = true,
        help_heading = "Global options",
        env = "GOKU_KEY",
        value_name = "FILE"
    )]
    pub(super) key: Option<PathBuf>,

    /// File of a token that says who calls, read again when it changes. Without it the token is that in the variable
    /// GOKU_TOKEN, if there is one
    #[arg(
        id = TOKEN_FILE,
        long = "token-file",
        global = true,
        help_heading = "Global options",
        env = "GOKU_TOKEN_FILE",
        value_name = "FILE"
    )]
    pub(super) token_file: Option<PathBuf>,

    /// Send the token in plain text to other machines, too, where anybody between can read it: only where something else
    /// encrypts what goes there
    #[arg(
        id = "credentials_token_over_plaintext",
        long = "token-over-plaintext",
        global = true,
        help_heading = "Global options",
        env = "GOKU_TOKEN_OVER_PLAINTEXT"
    )]
    token_over_plaintext: bool,
}

impl Credentials {
    /// A client with all of them. `Usage` where they cannot be used.
    pub(super) fn client(&self) -> Result<GrpcClientBuilder, Failure> {
        let mut builder = GrpcClient::builder().token_over_plaintext(self.token_over_plaintext);
        if let Some(tls) = self.tls()? {
            builder = builder.tls(tls);
        }
        let token = match (&self.token_file, token_variable()) {
            (Some(file), _) => Some(Token::from_file(file)),
            (None, Some(token)) => Some(Token::new(&token.to_string_lossy())),
            (None, None) => None,
        };
        if let Some(token) = token {
            builder = builder.token(token.map_err(|error| Failure::Usage(error.message().to_owned()))?);
        }
        Ok(builder)
    }

    /// Whether any option asks for TLS.
    pub(super) fn wants_tls(&self) -> bool {
        self.ca.is_some() || self.cert.is_some() || self.key.is_some()
    }

    fn tls(&self) -> Result<Option<ClientTls>, Failure> {
        if !self.wants_tls() {
            return Ok(None);
        }
        let mut tls = ClientTls::new();
        if let Some(ca) = &self.ca {
            tls = tls.ca_file(ca);
        }
        match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Ok(Some(tls.identity(cert, key))),
            (None, None) => Ok(Some(tls)),
            _ => Err(Failure::Usage(
                "--cert and --key belong together: give both, or none".to_owned(),
            )),
        }
    }
}

/// Whether the variable of a token is set.
pub(super) fn has_token_variable() -> bool {
    token_variable().is_some()
}

fn token_variable() -> Option<OsString> {
    std::env::var_os(TOKEN_VARIABLE).filter(|token| !token.is_empty())
}
