//! Clients with options that are needed before the first connection.

use std::net::IpAddr;

use goku::{Error, ErrorKind, Result};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tonic::transport::Uri;

use super::GrpcClient;
use super::connection::Connection;
use super::endpoint::Endpoint;
use super::endpoints::Endpoints;
use super::token::Token;
use crate::tls::{ClientTls, Connector};

/// Makes a [`GrpcClient`] of servers that speak TLS, or want to know who calls.
///
/// ```no_run
/// use goku_grpc::{ClientTls, GrpcClient, Token};
///
/// # fn example() -> goku::Result<()> {
/// let client = GrpcClient::builder()
///     .tls(ClientTls::new().ca_file("ca.pem"))
///     .token(Token::from_file("token")?)
///     .connect("https://10.0.0.1:4658,https://10.0.0.2:4658")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct GrpcClientBuilder {
    tls: Option<ClientTls>,
    token: Option<Token>,
    token_over_plaintext: bool,
}

impl GrpcClientBuilder {
    /// Sets how servers are trusted, and what they are shown. All endpoints have to begin with `https://` then; without this,
    /// those that do are trusted by the default of [`ClientTls`].
    pub fn tls(self, tls: ClientTls) -> GrpcClientBuilder {
        GrpcClientBuilder { tls: Some(tls), ..self }
    }

    /// Sends this token with each call.
    pub fn token(self, token: Token) -> GrpcClientBuilder {
        GrpcClientBuilder {
            token: Some(token),
            ..self
        }
    }

    /// Sets whether the token may be sent in plain text to other machines, where anybody between reads it: only where something
    /// else encrypts what goes there, such as a mesh. It may not by default.
    pub fn token_over_plaintext(self, allowed: bool) -> GrpcClientBuilder {
        GrpcClientBuilder {
            token_over_plaintext: allowed,
            ..self
        }
    }

    /// A client of the servers at `endpoints`: one of the form `https://host:port` or `http://host:port`, or several, separated
    /// by commas. Files are read, which blocks; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// - `Config`: an endpoint has another form, files cannot be used, the options do not fit an endpoint, or the caller is outside
    ///   of a tokio runtime. The message says what to do.
    pub fn connect(&self, endpoints: &str) -> Result<GrpcClient> {
        self.connect_all(endpoints.split(',').map(str::trim))
    }

    /// Like [`connect`](Self::connect), with the endpoints one by one.
    ///
    /// # Errors
    ///
    /// The errors of [`connect`](Self::connect), and `Config` without any endpoint.
    pub fn connect_all(&self, endpoints: impl IntoIterator<Item = impl AsRef<str>>) -> Result<GrpcClient> {
        let runtime = Handle::try_current().map_err(|error| {
            let message = "a client connects inside of a tokio runtime only";
            Error::new(ErrorKind::Config, message).with_source(error)
        })?;
        let mut connector = None;
        let mut all = Vec::new();
        for url in endpoints {
            all.push(self.endpoint(url.as_ref(), &runtime, &mut connector)?);
        }
        Ok(GrpcClient::new(Endpoints::new(all)?, true))
    }

    /// The server at `url`, which is connected to by the first call, on `runtime`. The `connector` is made for the first that needs
    /// it.
    fn endpoint(&self, url: &str, runtime: &Handle, connector: &mut Option<Connector>) -> Result<Endpoint> {
        let config = |why: &str| Error::new(ErrorKind::Config, format!("the endpoint {url:?} {why}"));
        let unlike = "is none; endpoints have the form https://host:port or http://host:port";
        let uri: Uri = url.parse().map_err(|error| config(unlike).with_source(error))?;
        let tls = match uri.scheme_str() {
            Some("http") if self.tls.is_some() => {
                return Err(config(
                    "is one without TLS, and options of TLS are given: let it begin with https://",
                ));
            }
            Some("http") => None,
            Some("https") => Some(match connector {
                Some(connector) => connector.clone(),
                None => connector
                    .insert(Connector::load(self.tls.clone().unwrap_or_default())?)
                    .clone(),
            }),
            _ => return Err(config(unlike)),
        };
        if self.token.is_some() && tls.is_none() && !self.token_over_plaintext && !is_loopback(&uri) {
            return Err(config(
                "is one without TLS on another machine, and a token is given, which anybody between would read: let it begin with \
                 https://, or allow this explicitly where something else encrypts it (`--token-over-plaintext`, \
                 `GrpcClientBuilder::token_over_plaintext`)",
            ));
        }
        let connection = Connection::tcp(uri.clone(), runtime.clone(), tls, self.token.clone());
        Ok(Endpoint::of_connection(connection, uri, url.to_owned(), Instant::now()))
    }
}

/// Whether what is sent to this host does not leave the machine.
fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => bare.eq_ignore_ascii_case("localhost"),
    }
}
