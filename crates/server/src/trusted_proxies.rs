//! Configures the trusted proxies: load balancers whose forwarded client addresses are accepted.
//!
//! Invariant: no proxy is trusted by default, and an address that is not in the list cannot set another client address.

use std::{net::IpAddr, str::FromStr};

/// The trusted proxies in front of this server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    /// Subnets of the proxies.
    pub subnets: Vec<Subnet>,
    /// Whether the proxies send the PROXY protocol; if so, they must.
    pub uses_proxy_protocol: bool,
}

impl TrustedProxies {
    /// Whether this is the address of a trusted proxy.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.subnets.iter().any(|network| network.contains(address))
    }
}

/// A subnet: an address and a prefix length (CIDR).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    address: IpAddr,
    bits: u8,
}

impl Subnet {
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
    fn first_address(address: IpAddr, bits: u8) -> IpAddr {
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

impl FromStr for Subnet {
    type Err = InvalidSubnet;

    /// Parses `10.0.0.0/8`, `2001:db8::/32`, or one address.
    fn from_str(text: &str) -> Result<Self, InvalidSubnet> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| InvalidSubnet::Syntax)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                bits.parse().ok().filter(|bits| *bits <= most).ok_or(InvalidSubnet::PrefixLength { most })?
            }
            Some(_) => return Err(InvalidSubnet::PrefixLength { most }),
        };
        let first = Self::first_address(address, bits);
        if first == address { Ok(Self { address, bits }) } else { Err(InvalidSubnet::HostBitsSet { first, bits }) }
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
