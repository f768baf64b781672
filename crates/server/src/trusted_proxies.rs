//! Configures the trusted proxies: load balancers whose forwarded client addresses are accepted.
//!
//! Invariant: no proxy is trusted by default, and an address that is not in the list cannot set another client address.

use std::net::IpAddr;

use portcullis_net::Subnet;

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
        self.subnets.iter().any(|subnet| subnet.contains(address))
    }
}
