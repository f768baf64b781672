//! Finds free TCP ports for tests.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range (32768 and up) from which the kernel takes ports for outgoing connections: other tests could take
/// such a port between this choice and the server's bind.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

static STEPS: AtomicU16 = AtomicU16::new(0);

/// A port on which no process listens, neither on 127.0.0.1 nor on `::1`.
pub(crate) fn free() -> u16 {
    // Tests run as concurrent processes: each begins its search elsewhere.
    let start = u16::try_from(u64::from(std::process::id()) * 37 % u64::from(COUNT)).unwrap();
    for _ in 0..COUNT {
        let step = STEPS.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + (start + step) % COUNT;
        let both = (TcpListener::bind((Ipv4Addr::LOCALHOST, port)), TcpListener::bind((Ipv6Addr::LOCALHOST, port)));
        if let (Ok(_), Ok(_)) = both {
            return port;
        }
    }
    panic!("no port between {FIRST} and {} is free on 127.0.0.1 and ::1", FIRST + COUNT);
}
