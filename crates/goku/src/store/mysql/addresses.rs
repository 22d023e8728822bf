//! The servers that a store's URL lists.

use super::address::{Address, FORM};
use crate::error::{Error, ErrorKind, Result};

/// Servers in one list: a cluster has 3 to 9, and each is asked when one is looked for.
const ADDRESSES_MAX: usize = 16;

/// Reads `mysql://user:password@host:port,host:port/database`: one server or several, all for the same user and
/// database, in the order in which they are preferred.
///
/// `Config` where the URL cannot be right; no error shows the password.
pub(super) fn parse(url: &str) -> Result<Vec<Address>> {
    let Some(list) = List::of(url) else {
        return Ok(vec![Address::parse(url)?]);
    };
    if list.hosts.len() > ADDRESSES_MAX {
        return Err(wrong(&format!(
            "lists {} servers, and may list {ADDRESSES_MAX}",
            list.hosts.len()
        )));
    }
    let mut addresses: Vec<Address> = Vec::new();
    for host in &list.hosts {
        if host.is_empty() || host.starts_with(':') {
            return Err(wrong("has a place without a host in its list of servers"));
        }
        let address = Address::parse(&format!("mysql://{}{host}{}", list.user, list.database))?;
        if address.has_socket() {
            return Err(wrong("lists several servers, and one socket"));
        }
        if addresses.iter().any(|known| known.to_string() == address.to_string()) {
            return Err(wrong(&format!("lists {address} twice")));
        }
        addresses.push(address);
    }
    Ok(addresses)
}

/// The parts of a URL with several hosts.
struct List<'u> {
    /// User and password with the `@` after them, or nothing.
    user: &'u str,
    hosts: Vec<&'u str>,
    /// The part after the hosts.
    database: &'u str,
}

impl<'u> List<'u> {
    /// Splits a URL; `None` where it has one host, or does not begin with `mysql://`.
    fn of(url: &'u str) -> Option<List<'u>> {
        let rest = url.strip_prefix("mysql://")?;
        let (server, database) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (user, hosts) = server.split_at(server.rfind('@').map_or(0, |at| at + 1));
        let hosts: Vec<_> = hosts.split(',').collect();
        (hosts.len() > 1).then_some(List { user, hosts, database })
    }
}

fn wrong(what: &str) -> Error {
    Error::new(ErrorKind::Config, format!("the store's URL {what}: {FORM}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> Vec<String> {
        parse(url).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn one_server_or_several_can_be_listed() {
        assert_eq!(shown("mysql://u:p@a/d"), ["a:3306"]);
        assert_eq!(shown("mysql://u:p@a:1,b,c:3/d"), ["a:1", "b:3306", "c:3"]);
        assert_eq!(shown("mysql://a,b/d"), ["a:3306", "b:3306"]);
        let several = parse("mysql://me:s%2C%40e@[::1]:7,b:8/goku?prefer_socket=false").unwrap();
        for address in &several {
            assert_eq!(address.user(), "me");
            assert_eq!(address.opts().pass(), Some("s,@e"));
            assert_eq!(address.database(), "goku");
        }
        assert_eq!(several[0].opts().tcp_port(), 7);
    }

    #[test]
    fn a_list_that_cannot_be_right_says_why_and_shows_no_password() {
        let too_many = (0..=ADDRESSES_MAX).map(|number| format!("h{number}"));
        let too_many = format!("mysql://me:secret@{}/d", too_many.collect::<Vec<_>>().join(","));
        for (url, why) in [
            ("mysql://me:secret@a,,b/d", "without a host"),
            ("mysql://me:secret@a,/d", "without a host"),
            ("mysql://me:secret@a,:3307/d", "without a host"),
            ("mysql://me:secret@a,b,a:3306/d", "a:3306 twice"),
            ("mysql://me:secret@a,b:x/d", "cannot be read"),
            ("mysql://me:secret@a,b", "names no database"),
            ("mysql://me:secret@a,b/d?socket=%2Fs", "one socket"),
            (&too_many, "may list 16"),
        ] {
            let error = parse(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{url}");
            assert!(error.message().contains(why), "{url}: {error}");
            assert!(error.message().contains("host:port,host:port"), "{error}");
            assert!(!error.message().contains("secret"), "{error}");
        }
    }
}
