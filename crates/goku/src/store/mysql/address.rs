//! The address of a server, and the account to use its database by.

use std::fmt;
use std::net::IpAddr;

use mysql_async::{Opts, OptsBuilder};

use super::encryption::{self, Encryption};
use crate::error::{Error, ErrorKind, Result};

/// Packet bytes that the driver assumes a server takes; the session asks for the real limit and keeps it.
const DRIVER_PACKET_BYTES_MAX: usize = 1 << 30;

/// The way to reach a database. Its text form has no password.
#[derive(Clone)]
pub(super) struct Address {
    opts: Opts,
    database: String,
}

impl Address {
    /// Reads `mysql://user:password@host:port/database`; with `?socket=PATH` a Unix socket is used. Files that it names are read.
    pub(super) fn parse(url: &str) -> Result<Address> {
        let (url, encryption) = encryption::take(url)?;
        let opts = Opts::from_url(&url).map_err(|error| {
            Error::new(
                ErrorKind::Config,
                format!("the store's URL cannot be read ({error}): {FORM}"),
            )
        })?;
        let database = opts
            .db_name()
            .filter(|name| !name.is_empty())
            .ok_or_else(|| Error::new(ErrorKind::Config, format!("the store's URL names no database: {FORM}")))?
            .to_owned();
        // The address that was given is the one that is used: behind it may be a proxy that the server's own socket
        // would pass by.
        let host = opts.ip_or_hostname();
        // The driver looks an IPv6 address up as a name where it stands in the brackets of the URL.
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let host = host.to_owned();
        let mut opts = OptsBuilder::from_opts(opts);
        if let Encryption::Given(options) = encryption {
            opts = opts.ssl_opts(*options);
        }
        let opts = opts
            .ip_or_hostname(host)
            .prefer_socket(false)
            .max_allowed_packet(Some(DRIVER_PACKET_BYTES_MAX))
            .wait_timeout(Some(0))
            .stmt_cache_size(0)
            .into();
        Ok(Address { opts, database })
    }

    pub(super) fn opts(&self) -> Opts {
        self.opts.clone()
    }

    /// The address of the server, without a database.
    pub(super) fn server(&self) -> Opts {
        OptsBuilder::from_opts(self.opts.clone()).db_name(None::<String>).into()
    }

    /// Whether a Unix socket is named.
    pub(super) fn has_socket(&self) -> bool {
        self.opts.socket().is_some()
    }

    /// Whether connections stay within this machine.
    pub(super) fn is_local(&self) -> bool {
        let host = self.opts.ip_or_hostname();
        let is_loopback = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        self.has_socket() || is_loopback || host.eq_ignore_ascii_case("localhost")
    }

    /// The database's name.
    pub(super) fn database(&self) -> &str {
        &self.database
    }

    /// The user's name.
    pub(super) fn user(&self) -> &str {
        self.opts.user().unwrap_or_default()
    }
}

/// The form of a URL, for errors.
pub(super) const FORM: &str = "it looks like mysql://user:password@host:port/database, or with several servers \
                               mysql://user:password@host:port,host:port/database; an IPv6 address is in \
                               brackets, as in [::1]:3306, and signs such as @ : / # in user and password as %40 %3A %2F %23";

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.opts.socket() {
            Some(socket) => f.write_str(socket),
            None => {
                let (host, port) = (self.opts.ip_or_hostname(), self.opts.tcp_port());
                match host.contains(':') {
                    true => write!(f, "[{host}]:{port}"),
                    false => write!(f, "{host}:{port}"),
                }
            }
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}/{}", self.database)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_shows_no_password() {
        let address = Address::parse("mysql://me:secret@db.example:3307/goku").unwrap();
        assert_eq!(address.to_string(), "db.example:3307");
        assert_eq!(format!("{address:?}"), "db.example:3307/goku");
        assert_eq!(address.database(), "goku");
        assert_eq!(address.user(), "me");
    }

    #[test]
    fn what_is_no_address_says_what_one_looks_like() {
        for url in [
            "mysql://root@127.0.0.1",
            "mysql://root@127.0.0.1/",
            "mysql:",
            "postgres://a/b",
            "mysql://me:secret@h:x/d",
        ] {
            let error = Address::parse(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{url}");
            assert!(error.message().contains("mysql://user:password@"), "{error}");
            assert!(!error.message().contains("secret"), "{error}");
        }
    }

    #[test]
    fn an_ipv6_address_is_one_for_the_driver_and_shown_in_brackets() {
        for (url, shown) in [
            ("mysql://u:p@[::1]:3307/d", "[::1]:3307"),
            ("mysql://u:p@[2001:db8::5]/d", "[2001:db8::5]:3306"),
        ] {
            let address = Address::parse(url).unwrap();
            assert_eq!(address.to_string(), shown);
            for opts in [address.opts(), address.server()] {
                assert!(opts.ip_or_hostname().parse::<std::net::Ipv6Addr>().is_ok(), "{url}");
            }
        }
        assert!(
            Address::parse("mysql://u:p@::1/d")
                .unwrap_err()
                .message()
                .contains("[::1]")
        );
    }

    #[test]
    fn connections_within_the_machine_are_known() {
        let is_local = |url: &str| Address::parse(url).unwrap().is_local();
        for url in [
            "mysql://127.0.0.1/d",
            "mysql://[::1]:3307/d",
            "mysql://localhost/d",
            "mysql://h/d?socket=%2Fs",
        ] {
            assert!(is_local(url), "{url}");
        }
        for url in ["mysql://10.0.0.7/d", "mysql://db.example/d"] {
            assert!(!is_local(url), "{url}");
        }
    }

    #[test]
    fn a_socket_can_be_named() {
        let address = Address::parse("mysql://root@localhost/goku?socket=%2Frun%2Fmysqld.sock").unwrap();
        assert_eq!(address.to_string(), "/run/mysqld.sock");
    }
}
