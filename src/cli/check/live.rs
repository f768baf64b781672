//! `portcullis check --live`: asks the running server for `/healthz`, as an image without a shell or curl must.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

use rustls::{ClientConnection, StreamOwned, pki_types::ServerName};

use super::super::Failure;
use crate::tls;

const PATIENCE: Duration = Duration::from_secs(5);

/// Whether a server answers on the first of these addresses.
pub(super) fn check(listen: &[SocketAddr]) -> Result<(), Failure> {
    let address = listen.first().copied().map(reachable).ok_or_else(|| Failure::new("nothing to listen on", None))?;
    match ask(address) {
        Ok(status) if status.contains(" 200 ") => Ok(()),
        Ok(status) => Err(Failure::new(format!("{address} answers {:?}", status.trim()), None)),
        Err(error) => Err(Failure::new(
            format!("{address} does not answer: {error}"),
            Some("is the server running, and with the same configuration?"),
        )),
    }
}

/// Whether a server of ours has this address.
pub(super) fn answers(address: SocketAddr) -> bool {
    ask(reachable(address)).is_ok_and(|status| status.contains(" 200 "))
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

/// The status line of the answer.
fn ask(address: SocketAddr) -> io::Result<String> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // Any certificate will do. The question is whether somebody answers on this machine, no secret is sent, and the answer is
    // not used for anything but an exit code; a certificate that has expired must not make a health check restart the server.
    let config = tls::unverified_client().map_err(io::Error::other)?;
    let session = ClientConnection::new(config, ServerName::from(address.ip())).map_err(io::Error::other)?;
    let mut tls = StreamOwned::new(session, stream);
    write!(tls, "GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = [0; 64];
    let length = tls.read(&mut answer)?;
    let text = String::from_utf8_lossy(&answer[..length]);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
