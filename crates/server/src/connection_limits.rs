//! Limits the connections of each subnet to a fair share.
//!
//! Invariant: a subnet has at most as many connections as are left for all others, so no subnet takes the last one.
//!
//! The share needs no configuration. A single subnet may have half of all connections; two may have a third each, ten
//! an eleventh each, and a new subnet always gets one. A fixed limit would be too small for an office behind one
//! address and too large against twenty attackers.

use std::{collections::HashMap, sync::Arc};

use parking_lot::{Mutex, MutexGuard};
use portcullis_net::Subnet;

/// Counts connections per subnet.
#[derive(Clone)]
pub(super) struct ConnectionLimits(Arc<Inner>);

struct Inner {
    total: usize,
    taken: Mutex<ConnectionCounts>,
}

#[derive(Default)]
struct ConnectionCounts {
    all: usize,
    by_subnet: HashMap<Subnet, usize>,
}

impl ConnectionLimits {
    /// Creates a counter for `total` connections.
    pub(super) fn new(total: usize) -> Self {
        Self(Arc::new(Inner { total, taken: Mutex::default() }))
    }

    /// Acquires a connection for a subnet. Returns `None` if the subnet already has as many as are free.
    ///
    /// Behind a proxy, `network` must be the client's subnet: all clients would share the proxy's own.
    pub(super) fn acquire(&self, network: Subnet) -> Option<SubnetPermit> {
        let mut taken = self.taken();
        let free = self.0.total.saturating_sub(taken.all);
        let has = taken.by_subnet.get(&network).copied().unwrap_or(0);
        if has >= free {
            return None;
        }
        taken.all += 1;
        taken.by_subnet.insert(network, has + 1);
        Some(SubnetPermit { shares: self.clone(), network })
    }

    fn taken(&self) -> MutexGuard<'_, ConnectionCounts> {
        self.0.taken.lock()
    }
}

/// One connection of a subnet; released on drop.
pub(super) struct SubnetPermit {
    shares: ConnectionLimits,
    network: Subnet,
}

impl Drop for SubnetPermit {
    fn drop(&mut self) {
        let mut taken = self.shares.taken();
        taken.all -= 1;
        let left = taken.by_subnet.get(&self.network).map_or(0, |has| has - 1);
        // An entry that reaches zero is removed, so the map is never larger than the number of connections.
        if left == 0 {
            taken.by_subnet.remove(&self.network);
        } else {
            taken.by_subnet.insert(self.network, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str) -> Subnet {
        Subnet::of_subscriber(address.parse().unwrap())
    }

    fn take_all(shares: &ConnectionLimits, address: &str) -> Vec<SubnetPermit> {
        std::iter::from_fn(|| shares.acquire(network(address))).collect()
    }

    #[test]
    fn a_greedy_network_gets_half_and_the_next_one_half_of_the_rest() {
        let shares = ConnectionLimits::new(100);
        let first = take_all(&shares, "192.0.2.1");
        let second = take_all(&shares, "192.0.2.2");
        let third = take_all(&shares, "192.0.2.3");
        assert_eq!([first.len(), second.len(), third.len()], [50, 25, 13]);
        drop(first);
        assert_eq!(take_all(&shares, "192.0.2.2").len(), 19, "what became free is shared anew");
    }

    #[test]
    fn whoever_comes_last_still_gets_a_connection() {
        let shares = ConnectionLimits::new(4096);
        let greedy: Vec<Vec<SubnetPermit>> = (0..9).map(|last| take_all(&shares, &format!("192.0.2.{last}"))).collect();
        assert!(greedy.iter().all(|taken| !taken.is_empty()));
        assert!(shares.acquire(network("198.51.100.1")).is_some());
    }

    #[test]
    fn a_single_connection_can_be_had() {
        let shares = ConnectionLimits::new(1);
        let only = shares.acquire(network("192.0.2.1"));
        assert!(only.is_some() && shares.acquire(network("192.0.2.2")).is_none());
        drop(only);
        assert!(shares.acquire(network("192.0.2.2")).is_some());
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_and_others_do_not() {
        let shares = ConnectionLimits::new(2);
        let first = shares.acquire(network("2001:db8:0:1::1"));
        assert!(first.is_some() && shares.acquire(network("2001:db8:0:1:ffff::2")).is_none());
        assert!(shares.acquire(network("2001:db8:0:2::1")).is_some());
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let shares = ConnectionLimits::new(100);
        drop(take_all(&shares, "192.0.2.1"));
        assert!(shares.taken().by_subnet.is_empty() && shares.taken().all == 0);
    }
}
