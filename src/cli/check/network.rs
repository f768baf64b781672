//! Checks that the listening addresses can be bound, and that the host names resolve to this machine.
//!
//! Invariant: an address is bound only for a moment, and no connection is accepted on it.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs as _, UdpSocket},
    sync::mpsc,
    thread,
    time::Duration,
};

use super::{check_error::CheckError, liveness, warning::CheckWarning};
use crate::{
    clock::Clock,
    config::Config,
    server::{self, BindError},
    tls::Hostname,
};

/// Limit for resolving all names together.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// The listening addresses that cannot be bound, except those on which a Portcullis server answers.
pub(super) fn check_addresses(config: &server::HttpServerConfig) -> Vec<CheckError> {
    let refused: Vec<BindError> = server::bind_errors(config);
    let is_ours = |error: &BindError| match error {
        // Only the TLS listener can be probed; if it answers, the redirect port belongs to the same server.
        BindError::InUse { address } if Some(*address) == config.redirect => {
            config.listen.first().is_some_and(|first| liveness::is_server_of_ours(*first, &config.trusted_proxies))
        }
        BindError::InUse { address } => liveness::is_server_of_ours(*address, &config.trusted_proxies),
        BindError::NoAddress
        | BindError::NotPermitted { .. }
        | BindError::AddressNotAvailable { .. }
        | BindError::Other { .. } => false,
    };
    let finding = |error: BindError| CheckError { error: error.to_string(), hint: Some(error.hint()) };
    refused.into_iter().filter(|error| !is_ours(error)).map(finding).collect()
}

/// Warnings of the host names that do not resolve to this machine.
pub(super) fn check_hostnames(config: &Config, clock: &Clock) -> Vec<CheckWarning> {
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
    let deadline = clock.instant() + RESOLVE_TIMEOUT;
    let mut warnings = Vec::new();
    let mut answered = Vec::new();
    while let Ok((name, found)) = receiver.recv_timeout(deadline.saturating_duration_since(clock.instant())) {
        warnings.extend(resolution_warning(&name, found, is_local));
        answered.push(name);
    }
    let silent = names.iter().filter(|name| !answered.contains(name));
    warnings.extend(silent.filter_map(|name| resolution_warning(name, Err(io::ErrorKind::TimedOut.into()), is_local)));
    warnings
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

fn resolution_warning(
    name: &Hostname,
    found: io::Result<Vec<IpAddr>>,
    is_local: impl Fn(IpAddr) -> bool,
) -> Option<CheckWarning> {
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
            Some(CheckWarning::new(
                text,
                format!("{fine}; else change the name's DNS record, or remove it from hostnames"),
            ))
        }
        Err(error) => Some(CheckWarning::new(
            format!("hostnames: {name} does not resolve on this machine: {error}"),
            format!("clients need a DNS record, or a line in their /etc/hosts; {fine}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning_text(name: &str, found: io::Result<&[&str]>) -> Option<String> {
        let addresses = found.map(|found| found.iter().map(|address| address.parse().unwrap()).collect());
        let warning = resolution_warning(&name.parse().unwrap(), addresses, |address| address.is_loopback());
        warning.map(|warning| warning.to_string())
    }

    #[test]
    fn a_name_that_leads_here_with_one_of_its_addresses_is_fine() {
        assert_eq!(warning_text("registry.test", Ok(&["192.0.2.1", "127.0.0.1"])), None);
        assert_eq!(warning_text("::1", Ok(&["::1"])), None);
    }

    #[test]
    fn names_and_addresses_that_lead_elsewhere_are_told() {
        let warning = warning_text("registry.test", Ok(&["192.0.2.1", "192.0.2.2"])).unwrap();
        assert!(
            warning.contains("registry.test resolves to 192.0.2.1, 192.0.2.2, which is not this machine"),
            "{warning}"
        );
        let warning = warning_text("192.0.2.1", Ok(&["192.0.2.1"])).unwrap();
        assert!(warning.contains("192.0.2.1 is not an address of this machine\nhint: "), "{warning}");
        let warning = warning_text("registry.test", Err(io::ErrorKind::NotFound.into())).unwrap();
        assert!(warning.contains("registry.test does not resolve"), "{warning}");
    }

    #[test]
    fn the_loopback_is_local_and_a_documentation_address_is_not() {
        assert!(is_local("127.0.0.1".parse().unwrap()));
        assert!(!is_local("192.0.2.1".parse().unwrap()));
    }
}
