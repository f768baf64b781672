//! Sends single HTTP/2 frames over TLS, for input that no client library would send.
//!
//! Invariant: the client sends only what the test wrote; it neither updates windows nor answers pings by itself.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;

use crate::support::PortcullisServer;
use crate::support::wire_connection::{TlsStream, handshake, roots};

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

/// Error codes of RFC 9113, section 7.
pub(super) const NO_ERROR: u32 = 0;
pub(super) const PROTOCOL_ERROR: u32 = 1;
pub(super) const REFUSED_STREAM: u32 = 7;
pub(super) const CANCEL: u32 = 8;
pub(super) const COMPRESSION_ERROR: u32 = 9;
pub(super) const ENHANCE_YOUR_CALM: u32 = 11;

/// One frame.
#[derive(Clone, Debug)]
pub(super) struct Http2Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Http2Frame {
    pub(super) fn new(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Self {
        Self { kind, flags, stream, payload: payload.to_vec() }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[self.kind, self.flags], &self.stream.to_be_bytes()].concat();
        [head, self.payload.clone()].concat()
    }

    /// The error code of a `RST_STREAM` or GOAWAY.
    pub(super) fn error(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// A header block without Huffman coding; besides fields of the static table, all are literals (RFC 7541, appendix
/// B).
pub(super) fn block(method: &str, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = vec![0x87];
    let text = |block: &mut Vec<u8>, text: &str| {
        assert!(text.len() < 127, "longer ones would need the long form");
        block.push(u8::try_from(text.len()).unwrap());
        block.extend_from_slice(text.as_bytes());
    };
    for (index, value) in [(1, "localhost"), (2, method), (4, path)] {
        block.push(index);
        text(&mut block, value);
    }
    for (name, value) in fields {
        block.push(0);
        text(&mut block, name);
        text(&mut block, value);
    }
    block
}

/// One connection, after the preface and the client's settings.
pub(super) struct Http2Connection {
    stream: TlsStream,
    received: Vec<u8>,
}

impl Http2Connection {
    /// Connects and sends the preface with these settings (identifier and value).
    pub(super) fn open(server: &PortcullisServer, settings: &[(u16, u32)]) -> Self {
        let mut frames = Self { stream: connect(server, &server.stage.path("certs/ca.crt")), received: Vec::new() };
        let payload: Vec<u8> =
            settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
        frames.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        frames.send(&Http2Frame::new(SETTINGS, 0, 0, &payload).bytes());
        frames
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap();
    }

    /// Sends what the server accepts; an error means that it closed the connection, or reads nothing before the
    /// timeout.
    pub(super) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// The next frame, or `None` at the end of the connection; panics at the timeout.
    pub(super) fn next(&mut self) -> Option<Http2Frame> {
        loop {
            if let Some(frame) = self.take() {
                return Some(frame);
            }
            let mut piece = [0; 16 << 10];
            match self.stream.read(&mut piece) {
                Ok(0) => return None,
                Ok(count) => self.received.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("the server is silent"),
                Err(_) => return None,
            }
        }
    }

    fn take(&mut self) -> Option<Http2Frame> {
        let head = self.received.get(..9)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
        let mut frame = Http2Frame::new(head[3], head[4], stream, &[]);
        if self.received.len() < 9 + length {
            return None;
        }
        frame.payload = self.received[9..9 + length].to_vec();
        self.received.drain(..9 + length);
        Some(frame)
    }

    /// All frames until the connection ends.
    pub(super) fn rest(&mut self) -> Vec<Http2Frame> {
        std::iter::from_fn(|| self.next()).collect()
    }
}

fn connect(server: &PortcullisServer, ca: &Path) -> TlsStream {
    let mut config = ClientConfig::builder().with_root_certificates(roots(ca).unwrap()).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    handshake(TcpStream::connect(server.stage.address()).unwrap(), &Arc::new(config)).unwrap()
}
