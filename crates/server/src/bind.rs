//! Binds the listening sockets, and explains to the operator how to fix an error.
//!
//! Invariant: either all addresses are bound or none is; a server that cannot listen on all configured addresses does
//! not start. `[::]`, which means every address of the machine, is `0.0.0.0` on a machine without IPv6.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use super::HttpServerConfig;

/// Length of the kernel's accept queue while all permits are in use; capped by `net.core.somaxconn`.
const BACKLOG: i32 = 1024;

/// Listens on every address. Must be called within a tokio runtime.
pub(super) fn bind_all(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, BindError> {
    if addresses.is_empty() {
        return Err(BindError::NoAddress);
    }
    addresses.iter().filter_map(|address| listen(*address, addresses).transpose()).collect()
}

/// Listens on one address. Must be called within a tokio runtime.
pub(super) fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    listen(address, &[address])?.ok_or(BindError::NoAddress)
}

/// Returns an error for each configured address that cannot be bound now. The sockets do not listen, so a client that
/// connects meanwhile is not accepted.
#[must_use]
pub fn bind_errors(config: &HttpServerConfig) -> Vec<BindError> {
    let all: Vec<SocketAddr> = config.listen.iter().copied().chain(config.redirect).collect();
    let refused = |address: &SocketAddr| {
        with_fallback(*address, &all, |address| bind_socket(address, &all))
            .err()
            .map(|source| BindError::from_io(*address, source))
    };
    all.iter().filter_map(refused).collect()
}

/// Listens on `address`, one of `all`. Returns `None` if the IPv4 fallback of `address` is in `all` itself.
fn listen(address: SocketAddr, all: &[SocketAddr]) -> Result<Option<TcpListener>, BindError> {
    let open = |address| {
        let socket = bind_socket(address, all)?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    let opened = with_fallback(address, all, open).map_err(|source| BindError::from_io(address, source))?;
    match opened {
        BindOutcome::AsConfigured(listener) => Ok(Some(listener)),
        BindOutcome::Ipv4Fallback(fallback, listener) => {
            tracing::warn!(%address, "this machine has no IPv6: listening on {fallback} instead of {address}");
            Ok(listener)
        }
    }
}

/// How an address was opened.
enum BindOutcome<T> {
    AsConfigured(T),
    /// The machine has no IPv6. Contains the IPv4 fallback address, and `None` if that address is configured itself.
    Ipv4Fallback(SocketAddr, Option<T>),
}

/// Opens `address`; for `[::]`, on a machine without IPv6, opens `0.0.0.0` with the same port.
fn with_fallback<T>(
    address: SocketAddr,
    all: &[SocketAddr],
    open: impl Fn(SocketAddr) -> io::Result<T>,
) -> io::Result<BindOutcome<T>> {
    let error = match open(address) {
        Ok(opened) => return Ok(BindOutcome::AsConfigured(opened)),
        Err(error) => error,
    };
    let lacks_ipv6 = matches!(Errno::from_io_error(&error), Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL));
    if address.ip() != Ipv6Addr::UNSPECIFIED || !lacks_ipv6 {
        return Err(error);
    }
    let fallback = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
    let opened = if all.contains(&fallback) { None } else { Some(open(fallback)?) };
    Ok(BindOutcome::Ipv4Fallback(fallback, opened))
}

fn bind_socket(address: SocketAddr, all: &[SocketAddr]) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Without this option, a restart would fail until the connections of the last run have left TIME_WAIT.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // [::] alone also accepts IPv4, as operators expect; beside 0.0.0.0 on the same port, the two would collide.
        let beside_ipv4 = all.iter().any(|other| other.is_ipv4() && other.port() == address.port());
        socket.set_only_v6(beside_ipv4)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Why an address could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// No address is configured.
    #[error("there is no address to listen on")]
    NoAddress,
    /// The address is in use by another socket.
    #[error("cannot listen on {address}: port {} is already in use", .address.port())]
    InUse {
        /// The address of the failed bind.
        address: SocketAddr,
    },
    /// The operating system does not permit this user to listen on the address.
    #[error("cannot listen on {address}: permission denied")]
    NotPermitted {
        /// The address of the failed bind.
        address: SocketAddr,
    },
    /// This machine does not have the address.
    #[error("cannot listen on {address}: this machine has no such address")]
    AddressNotAvailable {
        /// The address of the failed bind.
        address: SocketAddr,
    },
    /// Any other error of the operating system.
    #[error("cannot listen on {address}: {source}")]
    Other {
        /// The address of the failed bind.
        address: SocketAddr,
        /// The operating system's error.
        source: io::Error,
    },
}

impl BindError {
    fn from_io(address: SocketAddr, source: io::Error) -> Self {
        let kind = source.kind();
        if kind == io::ErrorKind::AddrInUse {
            return Self::InUse { address };
        }
        if kind == io::ErrorKind::PermissionDenied {
            return Self::NotPermitted { address };
        }
        if kind == io::ErrorKind::AddrNotAvailable {
            return Self::AddressNotAvailable { address };
        }
        Self::Other { address, source }
    }

    /// Returns advice on how to fix the error.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NoAddress => "name one with --listen, for example --listen 0.0.0.0:443".to_owned(),
            Self::InUse { address } => format!(
                "find the process that uses it with 'ss -ltnp sport = :{}', or use another port: --listen {}",
                address.port(),
                SocketAddr::new(address.ip(), free_port(address.port()))
            ),
            Self::NotPermitted { address } if address.port() < 1024 => format!(
                "ports below 1024 are reserved: use a higher one (--listen {}), or allow this one with 'setcap \
                 cap_net_bind_service=+ep' on the program, AmbientCapabilities=CAP_NET_BIND_SERVICE in its systemd unit, or \
                 'sysctl net.ipv4.ip_unprivileged_port_start={}'",
                SocketAddr::new(address.ip(), free_port(address.port())),
                address.port()
            ),
            Self::NotPermitted { .. } => {
                "a security module (SELinux, AppArmor) may be at work; see the system's log".to_owned()
            }
            Self::AddressNotAvailable { .. } => {
                "see this machine's addresses with 'ip address', or listen on all: 0.0.0.0".to_owned()
            }
            Self::Other { .. } => "name another address with --listen".to_owned(),
        }
    }
}

/// Returns a port to suggest instead of `taken`.
fn free_port(taken: u16) -> u16 {
    if taken == 8443 { 9443 } else { 8443 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_named_and_another_suggested() {
        let taken = bind_all(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        let address = taken[0].local_addr().unwrap();
        let error = bind_all(&[address]).unwrap_err();
        assert!(matches!(error, BindError::InUse { .. }));
        assert!(error.to_string().contains(&format!("port {} is already in use", address.port())), "{error}");
        assert!(error.hint().contains("--listen 127.0.0.1:8443"), "{}", error.hint());
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_refused() {
        let error = bind_all(&["192.0.2.1:8443".parse().unwrap()]).unwrap_err();
        assert!(matches!(error, BindError::AddressNotAvailable { .. }), "{error}");
    }

    #[test]
    fn a_reserved_port_names_the_three_ways_out() {
        let error = BindError::from_io("0.0.0.0:443".parse().unwrap(), io::ErrorKind::PermissionDenied.into());
        let hint = error.hint();
        assert!(hint.contains("0.0.0.0:8443") && hint.contains("setcap") && hint.contains("sysctl"), "{hint}");
    }

    /// Returns what is opened for `[::]` among `all` if every IPv6 address gives this error.
    fn opened(all: &[&str], error: Errno) -> Result<Option<String>, io::Error> {
        let all: Vec<SocketAddr> = all.iter().map(|text| text.parse().unwrap()).collect();
        let open = |address: SocketAddr| {
            if address.is_ipv6() { Err(io::Error::from(error)) } else { Ok(address.to_string()) }
        };
        match with_fallback(all[0], &all, open)? {
            BindOutcome::AsConfigured(address) => panic!("{address} should not have been opened"),
            BindOutcome::Ipv4Fallback(fallback, address) => {
                assert_eq!(fallback.to_string(), "0.0.0.0:443");
                Ok(address)
            }
        }
    }

    #[test]
    fn without_ipv6_every_address_means_every_address_of_ipv4() {
        for error in [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL] {
            assert_eq!(opened(&["[::]:443"], error).unwrap().unwrap(), "0.0.0.0:443");
            assert_eq!(opened(&["[::]:443", "0.0.0.0:443"], error).unwrap(), None, "it is listened on already");
            assert_eq!(opened(&["[::]:443", "0.0.0.0:80"], error).unwrap().unwrap(), "0.0.0.0:443");
            assert!(opened(&["[::1]:443"], error).is_err(), "an address that was named is meant");
        }
        assert!(opened(&["[::]:443"], Errno::ADDRINUSE).is_err());
    }

    #[tokio::test]
    async fn all_ipv4_and_all_ipv6_addresses_go_together_on_one_port() {
        let port = bind_all(&["0.0.0.0:0".parse().unwrap()]).unwrap()[0].local_addr().unwrap().port();
        let both = [format!("0.0.0.0:{port}"), format!("[::]:{port}")].map(|text| text.parse().unwrap());
        assert_eq!(bind_all(&both).unwrap().len(), 2);
        let ipv6_alone = bind_all(&both[1..]).unwrap();
        assert!(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok());
        drop(ipv6_alone);
    }
}
