//! The encryption of connections to the database, as the store's URL asks for it.

use std::path::Path;

use mysql_async::{ClientIdentity, SslOpts};
use percent_encoding::percent_decode_str;

use crate::error::{Error, ErrorKind, Result};
use crate::secret_file;

/// The bytes that a file of certificates, or of a key, may have.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The parameters by which the driver itself has encryption set, in the form that it had before.
const OF_THE_DRIVER: [&str; 4] = ["require_ssl", "verify_ca", "verify_identity", "built_in_roots"];

/// A host that no certificate is for. The driver leaves an error about the host in a certificate out, as it is asked to, where
/// the error's text has this word: but rustls writes that text in other words, and with the name of the host in it.
const NO_HOST: &str = "NotValidForName.invalid";

/// How much of the server's certificate is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Disabled,
    Required,
    VerifyCa,
    VerifyIdentity,
}

/// The encryption that a URL asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Encryption {
    /// By the parameters of the driver, or by none.
    OfTheDriver,
    /// By `ssl-mode` and those that go with it; `None` where connections are not encrypted.
    Given(Box<Option<SslOpts>>),
}

/// Takes the parameters about encryption out of a URL, and reads the files that they name.
///
/// `Config` where they cannot be used: the message says what to do.
pub(super) fn take(url: &str) -> Result<(String, Encryption)> {
    let Some((before, query)) = url.split_once('?') else {
        return Ok((url.to_owned(), Encryption::OfTheDriver));
    };
    let mut given = Given::default();
    let mut left = Vec::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match given.place(name) {
            Some(place) => {
                let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
                if place.replace(value).is_some() {
                    return Err(wrong(&format!("has {name} twice")));
                }
            }
            None if name.starts_with("ssl-") || name.starts_with("ssl_") => {
                return Err(wrong(&format!(
                    "has {name:?}, which is not known: there are ssl-mode, ssl-ca, ssl-cert and ssl-key"
                )));
            }
            None => left.push((name, pair)),
        }
    }
    let url = left.iter().fold(before.to_owned(), |url, (_, pair)| {
        let separator = if url.len() == before.len() { '?' } else { '&' };
        format!("{url}{separator}{pair}")
    });
    if given == Given::default() {
        return Ok((url, Encryption::OfTheDriver));
    }
    if let Some((name, _)) = left.iter().find(|(name, _)| OF_THE_DRIVER.contains(name)) {
        return Err(wrong(&format!("has {name} beside ssl-mode: leave {name} out")));
    }
    Ok((url, Encryption::Given(Box::new(given.options()?))))
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Given {
    mode: Option<String>,
    ca: Option<String>,
    cert: Option<String>,
    key: Option<String>,
}

impl Given {
    /// The place of the value of this parameter, where it is about encryption.
    fn place(&mut self, name: &str) -> Option<&mut Option<String>> {
        match name {
            "ssl-mode" => Some(&mut self.mode),
            "ssl-ca" => Some(&mut self.ca),
            "ssl-cert" => Some(&mut self.cert),
            "ssl-key" => Some(&mut self.key),
            _ => None,
        }
    }

    /// The driver's options; `None` where connections are not encrypted.
    fn options(&self) -> Result<Option<SslOpts>> {
        let mode = match self.mode.as_deref() {
            Some("disabled") => Mode::Disabled,
            Some("required") => Mode::Required,
            Some("verify-ca") => Mode::VerifyCa,
            Some("verify-identity") => Mode::VerifyIdentity,
            Some(other) => {
                return Err(wrong(&format!(
                    "has ssl-mode={other}: it is disabled, required, verify-ca or verify-identity"
                )));
            }
            None => {
                return Err(wrong(
                    "names files for TLS and no ssl-mode: add ssl-mode=verify-identity",
                ));
            }
        };
        if self.ca.is_some() && matches!(mode, Mode::Disabled | Mode::Required) {
            return Err(wrong(
                "has ssl-ca with an ssl-mode that looks at no CA: let it be verify-ca or verify-identity, or leave ssl-ca out",
            ));
        }
        let mut options = match mode {
            Mode::Disabled if self.cert.is_some() || self.key.is_some() => {
                return Err(wrong("has a certificate and ssl-mode=disabled: leave one of them out"));
            }
            Mode::Disabled => return Ok(None),
            Mode::Required => SslOpts::default().with_danger_accept_invalid_certs(true),
            Mode::VerifyCa => SslOpts::default()
                .with_danger_skip_domain_validation(true)
                .with_danger_tls_hostname_override(Some(NO_HOST)),
            Mode::VerifyIdentity => SslOpts::default(),
        };
        if let Some(ca) = &self.ca {
            let ca = secret_file::read_public(Path::new(ca), FILE_BYTES_MAX)?;
            options = options
                .with_root_certs(vec![ca.into()])
                .with_disable_built_in_roots(true);
        }
        match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                let cert = secret_file::read_public(Path::new(cert), FILE_BYTES_MAX)?;
                let key = secret_file::read(Path::new(key), FILE_BYTES_MAX)?;
                options = options.with_client_identity(Some(ClientIdentity::new(cert.into(), key.into())));
            }
            (None, None) => {}
            _ => return Err(wrong("has one of ssl-cert and ssl-key: they belong together")),
        }
        Ok(Some(options))
    }
}

fn wrong(what: &str) -> Error {
    Error::new(ErrorKind::Config, format!("the store's URL {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_taken_out_and_the_others_stay() {
        for (url, left) in [
            ("mysql://h/d", "mysql://h/d"),
            ("mysql://h/d?ssl-mode=required", "mysql://h/d"),
            ("mysql://h/d?a=1&ssl-mode=required&b=2", "mysql://h/d?a=1&b=2"),
            ("mysql://h/d?require_ssl=true", "mysql://h/d?require_ssl=true"),
        ] {
            assert_eq!(take(url).unwrap().0, left, "{url}");
        }
        let given = |mode| match take(&format!("mysql://h/d?ssl-mode={mode}")).unwrap().1 {
            Encryption::Given(options) => *options,
            Encryption::OfTheDriver => panic!("not given"),
        };
        assert_eq!(given("disabled"), None);
        assert!(given("required").unwrap().accept_invalid_certs());
        assert!(given("verify-ca").unwrap().skip_domain_validation());
        assert_eq!(given("verify-identity"), Some(SslOpts::default()));
    }

    #[test]
    fn what_cannot_be_right_says_why_and_shows_no_password() {
        for (query, why) in [
            ("ssl-mode=preferred", "disabled, required, verify-ca or verify-identity"),
            ("ssl-mode=required&ssl-mode=required", "ssl-mode twice"),
            ("ssl-ca=/ca.pem", "no ssl-mode"),
            ("ssl-mode=required&ssl-ca=/ca.pem", "looks at no CA"),
            ("ssl-mode=disabled&ssl-cert=/c.pem", "ssl-mode=disabled"),
            ("ssl-mode=required&ssl-cert=/c.pem", "belong together"),
            (
                "ssl-mode=verify-ca&ssl-ca=/nowhere/a%20b.pem",
                "cannot read /nowhere/a b.pem",
            ),
            ("ssl-mode=required&require_ssl=true", "leave require_ssl out"),
            ("ssl-capath=/etc", "which is not known"),
        ] {
            let error = take(&format!("mysql://me:secret@h/d?{query}")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{query}");
            assert!(error.message().contains(why), "{query}: {error}");
            assert!(!error.message().contains("secret"), "{error}");
        }
    }
}
