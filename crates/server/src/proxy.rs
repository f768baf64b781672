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

use super::{Proxies, listener::Accepted};

/// Signature of version 2; version 1 begins with [`WORD`].
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const WORD: &[u8; 6] = b"PROXY ";

/// Maximum length of a version 1 line in bytes, including its line end.
const LONGEST_LINE: usize = 107;

/// Maximum length in bytes after the 16 bytes of a version 2 header: addresses, and extensions, which are ignored.
const LONGEST_BLOCK: usize = 4096;

/// The origin of a connection according to its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// The proxy's own connection (a health check), or one whose client the header does not name.
    Itself,
    /// Address of the client, and the address that it connected to.
    Client { peer: SocketAddr, local: SocketAddr },
}

/// Reads the header and returns the connection with the client's addresses. Returns `None` if the connection must be
/// closed, which has been logged.
pub(super) async fn receive(mut accepted: Accepted, proxies: &Proxies) -> Option<Accepted> {
    if !proxies.protocol || !proxies.trusts(accepted.peer.ip()) {
        return Some(accepted);
    }
    match read(&mut accepted.stream).await {
        Ok(Origin::Itself) => Some(accepted),
        Ok(Origin::Client { peer, local }) => Some(Accepted { peer, local, ..accepted }),
        Err(Unreadable::Left) => {
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
    beginning.starts_with(WORD) || beginning.starts_with(SIGNATURE)
}

/// Number of bytes that [`is_header`] needs.
pub(super) const TELLING: usize = SIGNATURE.len();

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Origin, Unreadable> {
    // The shortest header of either version is longer than this.
    let mut beginning = [0; TELLING];
    if stream.read(&mut beginning[..1]).await? == 0 {
        return Err(Unreadable::Left);
    }
    stream.read_exact(&mut beginning[1..]).await?;
    if beginning == *SIGNATURE {
        let mut fixed = [0; 4];
        stream.read_exact(&mut fixed).await?;
        let length = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
        if length > LONGEST_BLOCK {
            return Err(Unreadable::TooLong);
        }
        let mut block = vec![0; length];
        stream.read_exact(&mut block).await?;
        return version_2(fixed[0], fixed[1], &block);
    }
    if !beginning.starts_with(WORD) {
        return Err(Unreadable::Missing);
    }
    let mut line = beginning.to_vec();
    // Read byte by byte: the bytes after the line belong to the client.
    while !line.ends_with(b"\n") {
        if line.len() == LONGEST_LINE {
            return Err(Unreadable::TooLong);
        }
        line.push(stream.read_u8().await?);
    }
    version_1(&line)
}

fn version_1(line: &[u8]) -> Result<Origin, Unreadable> {
    let line = line.strip_suffix(b"\r\n").and_then(|line| std::str::from_utf8(line).ok());
    let line = line.ok_or(Unreadable::Damaged)?;
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        // The rest of the line is to be ignored.
        ["PROXY", "UNKNOWN", ..] => Ok(Origin::Itself),
        ["PROXY", family @ ("TCP4" | "TCP6"), peer, local, peer_port, local_port] => {
            let address = |text: &str| {
                let address: Option<IpAddr> = text.parse().ok();
                address.filter(|address| address.is_ipv4() == (family == "TCP4")).ok_or(Unreadable::Damaged)
            };
            Ok(client(address(peer)?, port(peer_port)?, address(local)?, port(local_port)?))
        }
        _ => Err(Unreadable::Damaged),
    }
}

fn port(text: &str) -> Result<u16, Unreadable> {
    // `parse` alone would accept a sign.
    let number = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    number.ok_or(Unreadable::Damaged)
}

fn version_2(version_and_command: u8, family: u8, block: &[u8]) -> Result<Origin, Unreadable> {
    match (version_and_command, family) {
        (0x21, 0x11) => {
            let (peer, local, ports) = addresses::<4>(block)?;
            Ok(client(Ipv4Addr::from(peer).into(), ports.0, Ipv4Addr::from(local).into(), ports.1))
        }
        (0x21, 0x21) => {
            let (peer, local, ports) = addresses::<16>(block)?;
            Ok(client(Ipv6Addr::from(peer).into(), ports.0, Ipv6Addr::from(local).into(), ports.1))
        }
        // LOCAL, with any addresses; or an unspecified family, datagrams, and Unix sockets.
        (0x20, _) | (0x21, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => Ok(Origin::Itself),
        _ => Err(Unreadable::Damaged),
    }
}

type Addresses<const N: usize> = ([u8; N], [u8; N], (u16, u16));

/// Parses two addresses and two ports, the client's first; extensions may follow.
fn addresses<const N: usize>(block: &[u8]) -> Result<Addresses<N>, Unreadable> {
    let (peer, rest) = block.split_first_chunk::<N>().ok_or(Unreadable::Damaged)?;
    let (local, rest) = rest.split_first_chunk::<N>().ok_or(Unreadable::Damaged)?;
    let (&[a, b, c, d], _) = rest.split_first_chunk::<4>().ok_or(Unreadable::Damaged)?;
    Ok((*peer, *local, (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))))
}

fn client(peer: IpAddr, peer_port: u16, local: IpAddr, local_port: u16) -> Origin {
    Origin::Client {
        peer: SocketAddr::new(peer.to_canonical(), peer_port),
        local: SocketAddr::new(local.to_canonical(), local_port),
    }
}

/// Why a header could not be read.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error("the connection was closed before the header")]
    Left,
    #[error("the header is missing")]
    Missing,
    #[error("the header is malformed")]
    Damaged,
    #[error("the header is too long")]
    TooLong,
    #[error(transparent)]
    Read(#[from] io::Error),
}

#[cfg(test)]
mod tests;
