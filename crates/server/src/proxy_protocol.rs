//! Reads the PROXY protocol header, versions 1 and 2, in which a load balancer sends the client's address.
//!
//! Invariant: a header is accepted from a trusted proxy only, and is read to its last byte and no further: the bytes
//! that follow belong to the client. Reading one takes bounded memory; the caller sets the deadline.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tracing::{debug, warn};

use super::{TrustedProxies, listener::AcceptedConnection};

/// Signature of version 2; version 1 begins with [`SIGNATURE_V1`].
const SIGNATURE_V2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const SIGNATURE_V1: &[u8; 6] = b"PROXY ";

/// Maximum length of a version 1 line in bytes, including its line end.
const MAX_V1_LINE_LEN: usize = 107;

/// Maximum length in bytes after the 16 bytes of a version 2 header: addresses, and extensions, which are ignored.
const MAX_V2_BLOCK_LEN: usize = 4096;

/// The origin of a connection according to its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProxiedOrigin {
    /// The proxy's own connection (a health check), or one whose client the header does not name.
    ProxyItself,
    /// Address of the client, and the address that it connected to.
    Client { peer: SocketAddr, local: SocketAddr },
}

/// Reads the header and returns the connection with the client's addresses. Returns `None` if the connection must be
/// closed, which has been logged.
pub(super) async fn receive(mut accepted: AcceptedConnection, proxies: &TrustedProxies) -> Option<AcceptedConnection> {
    if !proxies.uses_proxy_protocol || !proxies.trusts(accepted.peer.ip()) {
        return Some(accepted);
    }
    match read_header(&mut accepted.stream).await {
        Ok(ProxiedOrigin::ProxyItself) => Some(accepted),
        Ok(ProxiedOrigin::Client { peer, local }) => Some(AcceptedConnection { peer, local, ..accepted }),
        Err(ProxyHeaderError::Closed) => {
            debug!(proxy = %accepted.peer, "a proxy closed the connection before a PROXY header");
            None
        }
        Err(error) => {
            warn!(proxy = %accepted.peer, %error, "connection closed: a trusted proxy must begin with a PROXY header");
            None
        }
    }
}

/// Whether a connection that begins with these bytes begins with a PROXY header.
pub(super) fn is_header(beginning: &[u8]) -> bool {
    beginning.starts_with(SIGNATURE_V1) || beginning.starts_with(SIGNATURE_V2)
}

/// Number of bytes that [`is_header`] needs.
pub(super) const DETECTION_LEN: usize = SIGNATURE_V2.len();

async fn read_header(stream: &mut (impl AsyncRead + Unpin)) -> Result<ProxiedOrigin, ProxyHeaderError> {
    // The shortest header of either version is longer than this.
    let mut beginning = [0; DETECTION_LEN];
    if stream.read(&mut beginning[..1]).await? == 0 {
        return Err(ProxyHeaderError::Closed);
    }
    stream.read_exact(&mut beginning[1..]).await?;
    if beginning == *SIGNATURE_V2 {
        let mut fixed = [0; 4];
        stream.read_exact(&mut fixed).await?;
        let length = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
        if length > MAX_V2_BLOCK_LEN {
            return Err(ProxyHeaderError::TooLong);
        }
        let mut block = vec![0; length];
        stream.read_exact(&mut block).await?;
        return parse_v2(fixed[0], fixed[1], &block);
    }
    if !beginning.starts_with(SIGNATURE_V1) {
        return Err(ProxyHeaderError::Missing);
    }
    let mut line = beginning.to_vec();
    // Read byte by byte: the bytes after the line belong to the client.
    while !line.ends_with(b"\n") {
        if line.len() == MAX_V1_LINE_LEN {
            return Err(ProxyHeaderError::TooLong);
        }
        line.push(stream.read_u8().await?);
    }
    parse_v1(&line)
}

fn parse_v1(line: &[u8]) -> Result<ProxiedOrigin, ProxyHeaderError> {
    let line = line.strip_suffix(b"\r\n").and_then(|line| std::str::from_utf8(line).ok());
    let line = line.ok_or(ProxyHeaderError::Malformed)?;
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        // The rest of the line is to be ignored.
        ["PROXY", "UNKNOWN", ..] => Ok(ProxiedOrigin::ProxyItself),
        ["PROXY", family @ ("TCP4" | "TCP6"), peer, local, peer_port, local_port] => {
            let address = |text: &str| {
                let address: Option<IpAddr> = text.parse().ok();
                address.filter(|address| address.is_ipv4() == (family == "TCP4")).ok_or(ProxyHeaderError::Malformed)
            };
            Ok(client_origin(address(peer)?, parse_port(peer_port)?, address(local)?, parse_port(local_port)?))
        }
        _ => Err(ProxyHeaderError::Malformed),
    }
}

fn parse_port(text: &str) -> Result<u16, ProxyHeaderError> {
    // `parse` alone would accept a sign.
    let number = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    number.ok_or(ProxyHeaderError::Malformed)
}

fn parse_v2(version_and_command: u8, family: u8, block: &[u8]) -> Result<ProxiedOrigin, ProxyHeaderError> {
    match (version_and_command, family) {
        (0x21, 0x11) => {
            let (peer, local, ports) = addresses::<4>(block)?;
            Ok(client_origin(Ipv4Addr::from(peer).into(), ports.0, Ipv4Addr::from(local).into(), ports.1))
        }
        (0x21, 0x21) => {
            let (peer, local, ports) = addresses::<16>(block)?;
            Ok(client_origin(Ipv6Addr::from(peer).into(), ports.0, Ipv6Addr::from(local).into(), ports.1))
        }
        // LOCAL, with any addresses; or an unspecified family, datagrams, and Unix sockets.
        (0x20, _) | (0x21, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => Ok(ProxiedOrigin::ProxyItself),
        _ => Err(ProxyHeaderError::Malformed),
    }
}

type Addresses<const N: usize> = ([u8; N], [u8; N], (u16, u16));

/// Parses two addresses and two ports, the client's first; extensions may follow.
fn addresses<const N: usize>(block: &[u8]) -> Result<Addresses<N>, ProxyHeaderError> {
    let (peer, rest) = block.split_first_chunk::<N>().ok_or(ProxyHeaderError::Malformed)?;
    let (local, rest) = rest.split_first_chunk::<N>().ok_or(ProxyHeaderError::Malformed)?;
    let (&[a, b, c, d], _) = rest.split_first_chunk::<4>().ok_or(ProxyHeaderError::Malformed)?;
    Ok((*peer, *local, (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))))
}

fn client_origin(peer: IpAddr, peer_port: u16, local: IpAddr, local_port: u16) -> ProxiedOrigin {
    ProxiedOrigin::Client {
        peer: SocketAddr::new(peer.to_canonical(), peer_port),
        local: SocketAddr::new(local.to_canonical(), local_port),
    }
}

/// Why a header could not be read.
#[derive(Debug, thiserror::Error)]
enum ProxyHeaderError {
    #[error("the connection was closed before the header")]
    Closed,
    #[error("the header is missing")]
    Missing,
    #[error("the header is malformed")]
    Malformed,
    #[error("the header is too long")]
    TooLong,
    #[error(transparent)]
    Read(#[from] io::Error),
}

#[cfg(test)]
mod tests;
