//! Configures the trusted proxies: load balancers whose forwarded client addresses are accepted.
//!
//! Invariant: no proxy is trusted by default, and an address that is not in the list cannot set another client address.

use std::{net::IpAddr, str::FromStr};

/// The trusted proxies in front of this server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// Subnets of the proxies.
    pub trusted: Vec<Network>,
    /// Whether the proxies send the PROXY protocol; if so, they must.
    pub protocol: bool,
}

impl Proxies {
    /// Whether this is the address of a trusted proxy.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }
}

/// A subnet: an address and a prefix length (CIDR).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether the subnet contains an address; an IPv4-mapped IPv6 address counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(other)) => {
                (ours.to_bits() ^ other.to_bits()).leading_zeros() >= u32::from(self.bits)
            }
            (IpAddr::V6(ours), IpAddr::V6(other)) => {
                (ours.to_bits() ^ other.to_bits()).leading_zeros() >= u32::from(self.bits)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// Returns the first address of the subnet with this prefix length.
    fn first(address: IpAddr, bits: u8) -> IpAddr {
        match address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
                IpAddr::V4((address.to_bits() & mask).into())
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
                IpAddr::V6((address.to_bits() & mask).into())
            }
        }
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    /// Parses `10.0.0.0/8`, `2001:db8::/32`, or one address.
    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| InvalidNetwork::Shape)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                bits.parse().ok().filter(|bits| *bits <= most).ok_or(InvalidNetwork::Bits { most })?
            }
            Some(_) => return Err(InvalidNetwork::Bits { most }),
        };
        let first = Self::first(address, bits);
        if first == address { Ok(Self { address, bits }) } else { Err(InvalidNetwork::Inside { first, bits }) }
    }
}

/// Why a text is not a subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNetwork {
    /// The text does not begin with an IP address.
    #[error("a subnet is an IP address, a slash and a prefix length")]
    Shape,
    /// The prefix length is not a number, or too large.
    #[error("the prefix length after the slash must be between 0 and {most}")]
    Bits {
        /// Maximum prefix length of this address family.
        most: u8,
    },
    /// The address has bits set after the prefix.
    #[error("this is an address within a subnet; the subnet is {first}/{bits}")]
    Inside {
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
    fn a_network_holds_the_addresses_that_begin_like_it() {
        let holds =
            |network: &str, address: &str| network.parse::<Network>().unwrap().contains(address.parse().unwrap());
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
            ("", InvalidNetwork::Shape),
            ("example.com", InvalidNetwork::Shape),
            ("10.0.0/8", InvalidNetwork::Shape),
            ("10.0.0.0/33", InvalidNetwork::Bits { most: 32 }),
            ("10.0.0.0/+8", InvalidNetwork::Bits { most: 32 }),
            ("10.0.0.0/", InvalidNetwork::Bits { most: 32 }),
            ("::/129", InvalidNetwork::Bits { most: 128 }),
            ("10.1.0.0/8", InvalidNetwork::Inside { first: "10.0.0.0".parse().unwrap(), bits: 8 }),
        ] {
            assert_eq!(text.parse::<Network>(), Err(reason), "{text:?}");
        }
    }
}
