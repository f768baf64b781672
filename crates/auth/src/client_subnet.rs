//! Reduces a client address to the subnet of one subscriber: an IPv4 address or an IPv6 /64.
//!
//! Invariant: an IPv4 address and the same address mapped into IPv6 (`::ffff:0:0/96`) are the same subnet.

use std::net::IpAddr;

/// The subnet of one subscriber: an IPv4 address, or an IPv6 /64, in which the subscriber can use any address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientSubnet(IpAddr);

impl From<IpAddr> for ClientSubnet {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_address_and_an_ipv6_half_are_one_network_each() {
        let network = |text: &str| ClientSubnet::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(network("192.0.2.1"), network("::ffff:192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:ffff:ffff:ffff"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
    }
}
