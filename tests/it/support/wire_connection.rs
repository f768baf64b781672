//! Sends HTTP/1.1 over TLS without a client library, for invalid requests and for clients that disconnect early.
//!
//! Invariant: the client sends only what the test wrote, and repairs nothing.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

/// The timeout of reads and writes: so long that only a broken server misses it.
const IO_TIMEOUT: Duration = Duration::from_secs(60);

/// A TLS stream of a client.
pub(crate) type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// One connection.
pub(crate) struct WireConnection {
    stream: TlsStream,
    received: Vec<u8>,
}

impl WireConnection {
    /// Connects, and checks that the server proves to be `localhost` with a certificate issued by `ca`.
    pub(crate) fn open(address: SocketAddr, ca: &Path) -> io::Result<Self> {
        Self::open_after(b"", address, ca)
    }

    /// Connects and sends `preamble` before the handshake, as proxies do.
    pub(crate) fn open_after(preamble: &[u8], address: SocketAddr, ca: &Path) -> io::Result<Self> {
        let config = ClientConfig::builder().with_root_certificates(roots(ca)?).with_no_client_auth();
        let mut socket = TcpStream::connect(address)?;
        socket.write_all(preamble)?;
        Ok(Self { stream: handshake(socket, &Arc::new(config))?, received: Vec::new() })
    }

    /// Sends exactly these bytes.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap();
    }

    /// Sends exactly these bytes; an error if the server has closed the connection.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// The response to a request with this method.
    pub(crate) fn response_to(&mut self, method: &str) -> WireResponse {
        self.try_response_to(method).expect("an answer, not the end of the connection")
    }

    /// The response to a request with this method; `None` if the connection ends before it is complete.
    pub(crate) fn try_response_to(&mut self, method: &str) -> Option<WireResponse> {
        let end = loop {
            if let Some(at) = self.received.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.receive()?;
        };
        let head: Vec<u8> = self.received.drain(..end).collect();
        let mut answer = WireResponse::parse_head(std::str::from_utf8(&head).unwrap());
        if method == "HEAD" || matches!(answer.status, 100 | 204 | 304) {
            return Some(answer);
        }
        let length: usize =
            answer.header("content-length").expect("the response has a Content-Length").parse().unwrap();
        while self.received.len() < length {
            self.receive()?;
        }
        answer.body = self.received.drain(..length).collect();
        Some(answer)
    }

    /// Everything received, once there are at least `length` bytes; `None` if the connection ends before.
    pub(crate) fn read_some(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.received.len() < length {
            self.receive()?;
        }
        Some(std::mem::take(&mut self.received))
    }

    /// Receives some bytes; `None` at the end of the connection. Panics at the timeout, which is no end.
    fn receive(&mut self) -> Option<()> {
        let mut piece = vec![0; 64 << 10];
        let count = match self.stream.read(&mut piece) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("nothing arrived in {IO_TIMEOUT:?}"),
            Err(_) => 0,
        };
        self.received.extend_from_slice(&piece[..count]);
        (count > 0).then_some(())
    }

    /// Whether the server closes the connection without sending another byte.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.receive().is_none() && self.received.is_empty()
    }

    /// Disconnects without reading a response, after everything that was sent has arrived.
    pub(crate) fn disconnect(mut self) {
        self.stream.sock.shutdown(Shutdown::Write).unwrap();
        while self.receive().is_some() {}
    }

    /// Disconnects with a TCP reset (`SO_LINGER` of zero), as after a broken cable.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream.sock).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// The trust of a client in this CA and no other.
pub(crate) fn roots(ca: &Path) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(ca).map_err(io::Error::other)?;
    roots.add(certificate).map_err(io::Error::other)?;
    Ok(roots)
}

/// Completes the handshake with a server that must prove to be `localhost`.
pub(crate) fn handshake(socket: TcpStream, config: &Arc<ClientConfig>) -> io::Result<TlsStream> {
    socket.set_read_timeout(Some(IO_TIMEOUT))?;
    socket.set_write_timeout(Some(IO_TIMEOUT))?;
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let connection = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// A request with `Host`, these header lines, and a `Content-Length` if the method may have a body.
pub(crate) fn request(method: &str, path: &str, header: &[&str], body: &[u8]) -> Vec<u8> {
    let mut lines: Vec<String> = header.iter().map(|line| (*line).to_owned()).collect();
    if !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH") {
        lines.push(format!("Content-Length: {}", body.len()));
    }
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    [head(method, path, &lines).as_bytes(), body].concat()
}

/// The head of a request with `Host` and these header lines only.
pub(crate) fn head(method: &str, path: &str, header: &[&str]) -> String {
    let lines: String = header.iter().flat_map(|line| [*line, "\r\n"]).collect();
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n")
}

/// A response.
#[derive(Debug)]
pub(crate) struct WireResponse {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl WireResponse {
    fn parse_head(head: &str) -> Self {
        let mut lines = head.split("\r\n").filter(|line| !line.is_empty());
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let pair =
            |line: &str| line.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
        Self { status, headers: lines.filter_map(pair).collect(), body: Vec::new() }
    }

    /// A header by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The value of the `Location` header.
    pub(crate) fn location(&self) -> &str {
        self.header("location").unwrap_or_else(|| panic!("there should be a Location: {self}"))
    }

    /// The offset after `Range: 0-N`; an empty upload reports `0-0`, like one of one byte.
    pub(crate) fn range_offset(&self) -> usize {
        let range = self.header("range").unwrap_or_else(|| panic!("there should be a Range: {self}"));
        let last: usize = range.strip_prefix("0-").unwrap().parse().unwrap();
        if last == 0 { 0 } else { last + 1 }
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    /// Asserts a status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self}");
        self
    }

    /// Asserts an error of this status and code in the registry's error format.
    #[track_caller]
    pub(crate) fn expect_error(self, status: u16, code: &str) -> Self {
        let answer = self.expect(status);
        assert_eq!(answer.header("content-type"), Some("application/json"), "{answer}");
        assert!(answer.header("x-request-id").is_some(), "{answer}");
        let document = answer.json();
        let error = &document["errors"][0];
        assert_eq!(error["code"].as_str(), Some(code), "{answer}");
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{answer}");
        answer
    }

    /// Asserts an error below `/v2/`, where every response also has the API version header.
    #[track_caller]
    pub(crate) fn expect_registry_error(self, status: u16, code: &str) -> Self {
        let answer = self.expect_error(status, code);
        assert_eq!(answer.header("docker-distribution-api-version"), Some("registry/2.0"), "{answer}");
        answer
    }
}

impl std::fmt::Display for WireResponse {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { status, headers, body } = self;
        write!(formatter, "{status}\n{headers:#?}\n{}", String::from_utf8_lossy(&body[..body.len().min(2000)]))
    }
}
