//! Checks that the listening addresses can be bound, and that the host names resolve to this machine.
//!
//! Invariant: an address is bound only for a moment, and no connection is accepted on it.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs as _, UdpSocket},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use super::{live, parts::Finding, warning::Warning};
use crate::{
    config::Config,
    server::{self, BindError},
    tls::Hostname,
};

/// Limit for resolving all names together.
const RESOLVING: Duration = Duration::from_secs(5);

/// The listening addresses that cannot be bound, except those on which a Portcullis server answers.
pub(super) fn addresses(config: &server::Config) -> Vec<Finding> {
    let refused: Vec<BindError> = server::refused(config);
    let is_ours = |error: &BindError| match error {
        // Only the TLS listener can be probed; if it answers, the redirect port belongs to the same server.
        BindError::InUse { address } if Some(*address) == config.redirect => {
            config.listen.first().is_some_and(|first| live::answers(*first, &config.proxies))
        }
        BindError::InUse { address } => live::answers(*address, &config.proxies),
        BindError::NoAddress | BindError::NotPermitted { .. } | BindError::NotOurs { .. } | BindError::Other { .. } => {
            false
        }
    };
    let told = |error: BindError| Finding { error: error.to_string(), hint: Some(error.hint()) };
    refused.into_iter().filter(|error| !is_ours(error)).map(told).collect()
}

/// Warnings of the host names that do not resolve to this machine.
pub(super) fn names(config: &Config) -> Vec<Warning> {
    let names = &config.tls.hostnames;
    let (sender, receiver) = mpsc::channel();
    for name in names.iter().cloned() {
        let sender = sender.clone();
        // A slow name server may block this thread for long; it is not joined.
        thread::spawn(move || {
            let found = resolve(&name);
            let _ = sender.send((name, found));
        });
    }
    drop(sender);
    let deadline = Instant::now() + RESOLVING;
    let mut told = Vec::new();
    let mut answered = Vec::new();
    while let Ok((name, found)) = receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        told.extend(elsewhere(&name, found, is_local));
        answered.push(name);
    }
    let silent = names.iter().filter(|name| !answered.contains(name));
    told.extend(silent.filter_map(|name| elsewhere(name, Err(io::ErrorKind::TimedOut.into()), is_local)));
    told
}

fn resolve(name: &Hostname) -> io::Result<Vec<IpAddr>> {
    match name {
        Hostname::Address(address) => Ok(vec![*address]),
        Hostname::Name(name) => Ok((name.as_str(), 0).to_socket_addrs()?.map(|found| found.ip()).collect()),
    }
}

/// Whether the address belongs to this machine: the system binds no other.
fn is_local(address: IpAddr) -> bool {
    UdpSocket::bind(SocketAddr::new(address, 0)).is_ok()
}

fn elsewhere(name: &Hostname, found: io::Result<Vec<IpAddr>>, is_local: impl Fn(IpAddr) -> bool) -> Option<Warning> {
    let fine = "this is fine behind a load balancer or in a container";
    match found {
        Ok(addresses) if addresses.iter().any(|address| is_local(*address)) => None,
        Ok(addresses) => {
            let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            let text = match name {
                Hostname::Address(address) => format!("hostnames: {address} is not an address of this machine"),
                Hostname::Name(name) => {
                    format!("hostnames: {name} resolves to {}, which is not this machine", list.join(", "))
                }
            };
            Some(Warning::new(text, format!("{fine}; else change the name's DNS record, or remove it from hostnames")))
        }
        Err(error) => Some(Warning::new(
            format!("hostnames: {name} does not resolve on this machine: {error}"),
            format!("clients need a DNS record, or a line in their /etc/hosts; {fine}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, found: io::Result<&[&str]>) -> Option<String> {
        let addresses = found.map(|found| found.iter().map(|address| address.parse().unwrap()).collect());
        let warning = elsewhere(&name.parse().unwrap(), addresses, |address| address.is_loopback());
        warning.map(|warning| warning.to_string())
    }

    #[test]
    fn a_name_that_leads_here_with_one_of_its_addresses_is_fine() {
        assert_eq!(told("registry.test", Ok(&["192.0.2.1", "127.0.0.1"])), None);
        assert_eq!(told("::1", Ok(&["::1"])), None);
    }

    #[test]
    fn names_and_addresses_that_lead_elsewhere_are_told() {
        let said = told("registry.test", Ok(&["192.0.2.1", "192.0.2.2"])).unwrap();
        assert!(said.contains("registry.test resolves to 192.0.2.1, 192.0.2.2, which is not this machine"), "{said}");
        let said = told("192.0.2.1", Ok(&["192.0.2.1"])).unwrap();
        assert!(said.contains("192.0.2.1 is not an address of this machine\nhint: "), "{said}");
        let said = told("registry.test", Err(io::ErrorKind::NotFound.into())).unwrap();
        assert!(said.contains("registry.test does not resolve"), "{said}");
    }

    #[test]
    fn the_loopback_is_local_and_a_documentation_address_is_not() {
        assert!(is_local("127.0.0.1".parse().unwrap()));
        assert!(!is_local("192.0.2.1".parse().unwrap()));
    }
}
