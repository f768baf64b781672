//! Subnets: the subnet of one subscriber, by which connections and attempts are counted, and the subnets of trusted
//! proxies.
//!
//! The crate is small and without I/O so that the authentication and the server share one type without depending on
//! each other. `ipnet` does the arithmetic; the type around it has stricter parsing than `ipnet` and treats
//! IPv4-mapped addresses as IPv4.
//!
//! Invariant: an IPv4 address and the same address mapped into IPv6 (`::ffff:0:0/96`) are in the same subnets, and a
//! [`Subnet`] has no bits set after its prefix.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;

/// The prefix length of what providers assign to one IPv6 subscriber, in which the subscriber can use any address.
const IPV6_SUBSCRIBER_BITS: u8 = 64;

/// A subnet: its first address and a prefix length (CIDR).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subnet(IpNet);

impl Subnet {
    /// The subnet of one subscriber: an IPv4 address alone, or the /64 of an IPv6 address.
    #[must_use]
    pub fn of_subscriber(address: IpAddr) -> Self {
        let address = address.to_canonical();
        let bits = if address.is_ipv4() { 32 } else { IPV6_SUBSCRIBER_BITS };
        Self(IpNet::new_assert(address, bits).trunc())
    }

    /// Whether the subnet contains an address; an IPv4-mapped IPv6 address counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

/// `192.0.2.7` for a single address, `2001:db8::/64` otherwise.
impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}

impl FromStr for Subnet {
    type Err = InvalidSubnet;

    /// Parses `10.0.0.0/8`, `2001:db8::/32`, or one address.
    fn from_str(text: &str) -> Result<Self, InvalidSubnet> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| InvalidSubnet::Syntax)?;
        let most = IpNet::from(address).max_prefix_len();
        let bits = match bits {
            None => most,
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                bits.parse().map_err(|_| InvalidSubnet::PrefixLength { most })?
            }
            Some(_) => return Err(InvalidSubnet::PrefixLength { most }),
        };
        let given = IpNet::new(address, bits).map_err(|_| InvalidSubnet::PrefixLength { most })?;
        // `ipnet` accepts an address within the subnet; in a list of trusted proxies that is an error in writing.
        let subnet = given.trunc();
        let first = subnet.addr();
        if first == address { Ok(Self(subnet)) } else { Err(InvalidSubnet::HostBitsSet { first, bits }) }
    }
}

/// Why a text is not a subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSubnet {
    /// The text does not begin with an IP address.
    #[error("a subnet is an IP address, a slash and a prefix length")]
    Syntax,
    /// The prefix length is not a number, or too large.
    #[error("the prefix length after the slash must be between 0 and {most}")]
    PrefixLength {
        /// Maximum prefix length of this address family.
        most: u8,
    },
    /// The address has bits set after the prefix.
    #[error("this is an address within a subnet; the subnet is {first}/{bits}")]
    HostBitsSet {
        /// First address of the subnet.
        first: IpAddr,
        /// Prefix length.
        bits: u8,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscriber_is_an_ipv4_address_or_an_ipv6_half() {
        let subnet = |text: &str| Subnet::of_subscriber(text.parse().unwrap());
        assert_eq!(subnet("192.0.2.1"), subnet("::ffff:192.0.2.1"));
        assert_ne!(subnet("192.0.2.1"), subnet("192.0.2.2"));
        assert_eq!(subnet("2001:db8::1"), subnet("2001:db8::ffff:ffff:ffff:ffff"));
        assert_ne!(subnet("2001:db8::1"), subnet("2001:db8:0:1::1"));
    }

    #[test]
    fn a_subnet_is_printed_as_it_is_written() {
        for text in ["192.0.2.7", "10.0.0.0/8", "2001:db8::1", "2001:db8::/32"] {
            assert_eq!(text.parse::<Subnet>().unwrap().to_string(), text);
        }
        assert_eq!(Subnet::of_subscriber("2001:db8:0:1:ffff::2".parse().unwrap()).to_string(), "2001:db8:0:1::/64");
    }

    #[test]
    fn a_network_holds_the_addresses_that_begin_like_it() {
        let holds =
            |network: &str, address: &str| network.parse::<Subnet>().unwrap().contains(address.parse().unwrap());
        assert!(holds("10.0.0.0/8", "10.255.1.2") && !holds("10.0.0.0/8", "11.0.0.0"));
        assert!(holds("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(holds("192.0.2.7", "192.0.2.7") && !holds("192.0.2.7", "192.0.2.6"));
        assert!(holds("0.0.0.0/0", "203.0.113.9") && !holds("0.0.0.0/0", "::1"));
        assert!(holds("2001:db8::/33", "2001:db8:7fff::1") && !holds("2001:db8::/33", "2001:db8:8000::1"));
        assert!(holds("::/0", "::1") && holds("::1", "::1") && !holds("::1", "::2"));
    }

    #[test]
    fn what_is_no_network_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", InvalidSubnet::Syntax),
            ("example.com", InvalidSubnet::Syntax),
            ("10.0.0/8", InvalidSubnet::Syntax),
            ("10.0.0.0/33", InvalidSubnet::PrefixLength { most: 32 }),
            ("10.0.0.0/+8", InvalidSubnet::PrefixLength { most: 32 }),
            ("10.0.0.0/", InvalidSubnet::PrefixLength { most: 32 }),
            ("::/129", InvalidSubnet::PrefixLength { most: 128 }),
            ("10.1.0.0/8", InvalidSubnet::HostBitsSet { first: "10.0.0.0".parse().unwrap(), bits: 8 }),
        ] {
            assert_eq!(text.parse::<Subnet>(), Err(reason), "{text:?}");
        }
    }
}
