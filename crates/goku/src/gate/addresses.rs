//! The roles of callers that are known by nothing but their address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

use crate::access::AccessName;
use crate::error::{Error, ErrorKind, Result};

/// Networks that may have a role: all of them are looked at for each call without credentials.
const NETWORKS_MAX: usize = 1_024;

/// The bits of an IPv6 address before the IPv4 address that it maps.
const MAPPED_PREFIX_BITS: u8 = 96;

/// A network, and the role of callers from there, `10.0.0.0/8=reader` as text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AddressRole {
    network: IpNet,
    role: AccessName,
    identity: AccessName,
}

/// Networks with the roles of callers from there. The smallest network that holds an address counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressRoles {
    /// Smaller networks before larger ones.
    roles: Vec<AddressRole>,
}

impl AddressRole {
    /// The role.
    pub fn role(&self) -> &AccessName {
        &self.role
    }

    /// The identity of callers from there, `address:` and the role: a name that no credentials can have.
    pub fn identity(&self) -> &AccessName {
        &self.identity
    }
}

impl AddressRoles {
    /// The roles of these networks.
    ///
    /// # Errors
    ///
    /// - `InvalidArgument`: a network is there twice, or there are more than 1,024.
    pub fn new(mut roles: Vec<AddressRole>) -> Result<AddressRoles> {
        if roles.len() > NETWORKS_MAX {
            return Err(invalid(format!(
                "{} networks have a role, {NETWORKS_MAX} at most may",
                roles.len()
            )));
        }
        roles.sort_by_key(|of| (std::cmp::Reverse(of.network.prefix_len()), of.network));
        if let Some(twice) = roles.windows(2).find(|two| two[0].network == two[1].network) {
            return Err(invalid(format!("{} has a role twice: give it one", twice[0].network)));
        }
        Ok(AddressRoles { roles })
    }

    /// The role of callers from this address. An IPv6 address that maps one of IPv4 counts as that.
    pub(super) fn of(&self, address: IpAddr) -> Option<&AddressRole> {
        let address = address.to_canonical();
        self.roles.iter().find(|of| of.network.contains(&address))
    }
}

/// A network of IPv6 addresses that map those of a network of IPv4 is that.
fn canonical(network: IpNet) -> Result<IpNet> {
    let (IpNet::V6(v6), Some(bits)) = (network, network.prefix_len().checked_sub(MAPPED_PREFIX_BITS)) else {
        return Ok(network);
    };
    let mapped: Option<Ipv4Addr> = v6.addr().to_ipv4_mapped();
    let network = mapped.map(|address| Ipv4Net::new(address, bits).map(IpNet::V4));
    network
        .unwrap_or(Ok(IpNet::V6(v6)))
        .map_err(|error| invalid(format!("{v6}: {error}")))
}

impl FromStr for AddressRole {
    type Err = Error;

    /// Reads `CIDR=ROLE`.
    ///
    /// # Errors
    ///
    /// - `InvalidArgument`: the text has another form, the network has bits behind its prefix, or the role no name.
    fn from_str(text: &str) -> Result<AddressRole> {
        let Some((network, role)) = text.split_once('=') else {
            return Err(invalid(format!("{text:?} is no CIDR=ROLE, such as 10.0.0.0/8=reader")));
        };
        let network: IpNet = network.parse().map_err(|_| match network.parse::<IpAddr>() {
            Ok(address) => invalid(format!(
                "{network} is an address without a prefix: write {} for it alone",
                IpNet::from(address)
            )),
            Err(_) => invalid(format!(
                "{network:?} is no network: write ADDRESS/BITS, such as 10.0.0.0/8"
            )),
        })?;
        if network != network.trunc() {
            return Err(invalid(format!(
                "{network} has bits behind its prefix: write {} for the network, or {} for the address alone",
                network.trunc(),
                IpNet::from(network.addr())
            )));
        }
        let role = AccessName::new(role)?;
        Ok(AddressRole {
            network: canonical(network)?,
            identity: AccessName::of_address(&role)?,
            role,
        })
    }
}

impl fmt::Display for AddressRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.network, self.role)
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(texts: &[&str]) -> Result<AddressRoles> {
        AddressRoles::new(texts.iter().map(|text| text.parse()).collect::<Result<_>>()?)
    }

    #[test]
    fn the_longest_prefix_that_holds_an_address_counts_whatever_the_order() {
        for texts in [
            [
                "10.0.0.0/8=wide",
                "10.1.0.0/16=narrow",
                "10.1.2.3/32=one",
                "fd00::/8=six",
            ],
            [
                "fd00::/8=six",
                "10.1.2.3/32=one",
                "10.1.0.0/16=narrow",
                "10.0.0.0/8=wide",
            ],
        ] {
            let roles = roles(&texts).unwrap();
            for (address, role) in [
                ("10.9.9.9", Some("wide")),
                ("10.1.9.9", Some("narrow")),
                ("10.1.2.3", Some("one")),
                ("10.1.2.4", Some("narrow")),
                ("9.255.255.255", None),
                ("11.0.0.0", None),
                ("::ffff:10.1.2.3", Some("one")),
                ("::ffff:11.0.0.0", None),
                ("fd00::1", Some("six")),
                ("fe80::1", None),
            ] {
                let found = roles.of(address.parse().unwrap()).map(|of| of.role().as_str());
                assert_eq!(found, role, "{address}");
            }
        }
    }

    #[test]
    fn mapped_addresses_count_as_ipv4_in_networks_too() {
        let mapped = roles(&["::ffff:10.0.0.0/104=a"]).unwrap();
        assert_eq!(mapped, roles(&["10.0.0.0/8=a"]).unwrap());
        // All of IPv6 holds none of IPv4.
        let six = roles(&["::/0=six"]).unwrap();
        assert!(six.of("::ffff:10.0.0.1".parse().unwrap()).is_none());
        assert!(six.of("::1".parse().unwrap()).is_some());
    }

    #[test]
    fn what_is_no_network_with_a_role_is_refused_with_what_to_write() {
        for (text, reason) in [
            ("10.0.0.0/8", "is no CIDR=ROLE"),
            ("10.0.0.0/33=a", "is no network"),
            ("reader=10.0.0.0/8", "is no network"),
            ("10.0.0.7=a", "write 10.0.0.7/32"),
            ("::1=a", "write ::1/128"),
            ("10.0.0.7/8=a", "write 10.0.0.0/8"),
            ("10.0.0.0/8=", "is no name"),
            ("10.0.0.0/8=a b", "without white space"),
        ] {
            let error = text.parse::<AddressRole>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.message().contains(reason), "{text}: {error}");
        }
        let long = "r".repeat(121);
        assert!(format!("10.0.0.0/8={long}").parse::<AddressRole>().is_err());
        let twice = roles(&["10.0.0.0/8=a", "::ffff:10.0.0.0/104=b"]).unwrap_err();
        assert!(twice.message().contains("10.0.0.0/8 has a role twice"), "{twice}");
        let many: Vec<_> = (0..=NETWORKS_MAX)
            .map(|n| format!("10.{}.{}.0/24=a", n / 256, n % 256))
            .collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert!(roles(&many).is_err() && roles(&many[1..]).is_ok());
    }

    #[test]
    fn the_identity_of_an_address_is_the_name_of_nobody_else() {
        let of: AddressRole = "10.0.0.0/8=reader".parse().unwrap();
        assert_eq!(of.identity().as_str(), "address:reader");
        assert_eq!(of.to_string(), "10.0.0.0/8=reader");
        assert!(AccessName::new("address:reader").is_err());
        assert!(serde_json::from_str::<AccessName>("\"address:reader\"").is_err());
    }
}
