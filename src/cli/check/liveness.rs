//! Implements `portcullis check --live`: requests `/healthz` from the running server, for the health check of a
//! container image without a shell or curl.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

use rustls::{AlertDescription, ClientConnection, StreamOwned, pki_types::ServerName};

use super::super::CommandError;
use crate::{config::Config, server::TrustedProxies, tls};

const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// The header of the PROXY protocol, version 2, with the command LOCAL: the connection is the proxy's own.
const PROXY_LOCAL_HEADER: &[u8; 16] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// Succeeds if a server answers `/healthz` with 200 on the first listening address, or requires a client certificate.
pub(super) fn check(config: &Config) -> Result<(), CommandError> {
    let address =
        config.server.listen.first().copied().ok_or_else(|| CommandError::new("no address to listen on", None))?;
    match probe(address, &config.server.trusted_proxies) {
        Ok(status) if status.contains(" 200 ") => Ok(()),
        Ok(status) => Err(CommandError::new(format!("{address} answers {:?}", status.trim()), None)),
        Err(error) if is_certificate_required(&error) => Ok(()),
        Err(error) => Err(CommandError::new(
            format!("{address} does not answer: {error}"),
            Some("is the server running, and with this configuration?"),
        )),
    }
}

/// Whether a Portcullis server listens on this address.
pub(super) fn is_server_of_ours(address: SocketAddr, proxies: &TrustedProxies) -> bool {
    match probe(address, proxies) {
        Ok(status) => status.contains(" 200 "),
        Err(error) => is_certificate_required(&error),
    }
}

/// The addresses at which a server that listens on `address` can be reached: a wildcard address becomes the loopback
/// address. On a machine without IPv6 the server binds `0.0.0.0` for `[::]`, so both are tried.
fn probe_addresses(address: SocketAddr) -> Vec<SocketAddr> {
    let loopback: &[IpAddr] = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => &[IpAddr::V4(Ipv4Addr::LOCALHOST)],
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => &[IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)],
        IpAddr::V4(_) | IpAddr::V6(_) => return vec![address],
    };
    loopback.iter().map(|ip| SocketAddr::new(*ip, address.port())).collect()
}

/// Whether the error is the TLS alert `certificate_required`: only a running server that demands client certificates
/// sends it.
fn is_certificate_required(error: &io::Error) -> bool {
    let tls_error = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(tls_error, Some(rustls::Error::AlertReceived(AlertDescription::CertificateRequired)))
}

/// The status line with which the server on `address` answers `/healthz`.
fn probe(address: SocketAddr, proxies: &TrustedProxies) -> io::Result<String> {
    let mut answer = Err(io::ErrorKind::AddrNotAvailable.into());
    for reachable in probe_addresses(address) {
        answer = TcpStream::connect_timeout(&reachable, PROBE_TIMEOUT)
            .and_then(|stream| request_healthz(stream, reachable, proxies));
        if answer.is_ok() {
            break;
        }
    }
    answer
}

fn request_healthz(mut stream: TcpStream, address: SocketAddr, proxies: &TrustedProxies) -> io::Result<String> {
    stream.set_read_timeout(Some(PROBE_TIMEOUT))?;
    stream.set_write_timeout(Some(PROBE_TIMEOUT))?;
    if proxies.uses_proxy_protocol && proxies.trusts(stream.local_addr()?.ip()) {
        stream.write_all(PROXY_LOCAL_HEADER)?;
    }
    // Any certificate is accepted: the request stays on this machine, carries no secret, and the response only
    // determines the exit code. An expired certificate must not make a health check restart the server.
    let unverified = tls::unverified_client().map_err(io::Error::other)?;
    let session = ClientConnection::new(unverified, ServerName::from(address.ip())).map_err(io::Error::other)?;
    let mut tls = StreamOwned::new(session, stream);
    write!(tls, "GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = [0; 64];
    let length = tls.read(&mut answer)?;
    let text = String::from_utf8_lossy(&answer[..length]);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_every_address_is_asked_on_the_loopback_also_where_there_is_no_ipv6() {
        let asked = |text: &str| {
            probe_addresses(text.parse().unwrap()).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(asked("0.0.0.0:443"), "127.0.0.1:443");
        assert_eq!(asked("[::]:443"), "[::1]:443 127.0.0.1:443");
        assert_eq!(asked("192.0.2.1:443"), "192.0.2.1:443");
    }
}
