//! `portcullis check --live`: asks the running server for `/healthz`, as an image without a shell or curl must.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

use rustls::{AlertDescription, ClientConnection, StreamOwned, pki_types::ServerName};

use super::super::Failure;
use crate::{config::Config, server::Proxies, tls};

const PATIENCE: Duration = Duration::from_secs(5);

/// How a proxy says that a connection is its own, in version 2 of the PROXY protocol.
const LOCAL: &[u8; 16] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// Whether a server answers on the first of its addresses.
pub(super) fn check(config: &Config) -> Result<(), Failure> {
    let address = config
        .server
        .listen
        .first()
        .copied()
        .map(reachable)
        .ok_or_else(|| Failure::new("nothing to listen on", None))?;
    match ask(address, &config.server.proxies) {
        Ok(status) if status.contains(" 200 ") => Ok(()),
        Ok(status) => Err(Failure::new(format!("{address} answers {:?}", status.trim()), None)),
        Err(error) if wants_a_certificate(&error) => Ok(()),
        Err(error) => Err(Failure::new(
            format!("{address} does not answer: {error}"),
            Some("is the server running, and with the same configuration?"),
        )),
    }
}

/// Whether a server of ours has this address.
pub(super) fn answers(address: SocketAddr, proxies: &Proxies) -> bool {
    match ask(reachable(address), proxies) {
        Ok(status) => status.contains(" 200 "),
        Err(error) => wants_a_certificate(&error),
    }
}

/// A server that listens everywhere is asked on the loopback interface.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        named @ (IpAddr::V4(_) | IpAddr::V6(_)) => named,
    };
    SocketAddr::new(ip, address.port())
}

/// Nobody but a server that lives turns us away for having no certificate, as it does with everybody.
fn wants_a_certificate(error: &io::Error) -> bool {
    let told = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(told, Some(rustls::Error::AlertReceived(AlertDescription::CertificateRequired)))
}

/// The status line of the answer.
fn ask(address: SocketAddr, proxies: &Proxies) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    if proxies.protocol && proxies.trusts(stream.local_addr()?.ip()) {
        stream.write_all(LOCAL)?;
    }
    // Any certificate will do. The question is whether somebody answers on this machine, no secret is sent, and the answer is
    // not used for anything but an exit code; a certificate that has expired must not make a health check restart the server.
    let unverified = tls::unverified_client().map_err(io::Error::other)?;
    let session = ClientConnection::new(unverified, ServerName::from(address.ip())).map_err(io::Error::other)?;
    let mut tls = StreamOwned::new(session, stream);
    write!(tls, "GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = [0; 64];
    let length = tls.read(&mut answer)?;
    let text = String::from_utf8_lossy(&answer[..length]);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
