//! Whom we let speak for others: the load balancers in front of us.
//!
//! Invariant: nobody by default, and whoever is not in the list speaks for nobody but itself.

use std::{net::IpAddr, str::FromStr};

/// The proxies in front of us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// Where they are.
    pub trusted: Vec<Network>,
    /// Whether they say in the PROXY protocol whose connection it is; then they must.
    pub protocol: bool,
}

impl Proxies {
    /// Whether this is the address of one of them.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }
}

/// Addresses that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether an address is one of them; an IPv4 address is one, also in its IPv6 clothes.
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

    /// The first of the addresses that share so many bits with this one.
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

    /// `10.0.0.0/8`, `2001:db8::/32`, or one address.
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

/// Why a text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNetwork {
    /// It does not begin with an address.
    #[error("a network is an IP address, a slash and a number of bits")]
    Shape,
    /// There are not so many bits.
    #[error("the number of bits after the slash is between 0 and {most}")]
    Bits {
        /// How many there are.
        most: u8,
    },
    /// An address in the middle of a network.
    #[error("this address lies within a network; the network is {first}/{bits}")]
    Inside {
        /// Where the network begins.
        first: IpAddr,
        /// How many bits its addresses share.
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
