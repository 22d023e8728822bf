//! Addresses on the command line.

use std::net::SocketAddr;

/// Reads an address to listen at or to be reached at; names are looked up later.
pub(crate) fn parse(text: &str) -> Result<String, String> {
    let is_name_and_port = || {
        let (host, port) = text.rsplit_once(':')?;
        let is_host = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || "[]:/@".contains(c));
        (is_host && port.parse::<u16>().is_ok()).then_some(())
    };
    if text.parse::<SocketAddr>().is_err() && is_name_and_port().is_none() {
        return Err("give it as ADDR:PORT, like 127.0.0.1:4658, [::1]:4658 or localhost:4658".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for right in [
            "127.0.0.1:0",
            "[::1]:4658",
            "0.0.0.0:1",
            "localhost:65535",
            "db-1.example:80",
        ] {
            assert_eq!(parse(right).as_deref(), Ok(right));
        }
        for wrong in [
            "",
            "4658",
            ":4658",
            "host",
            "host:",
            "host:x",
            "host:65536",
            "::1:80",
            "[::1]",
            "http://h:1",
            "a b:1",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
