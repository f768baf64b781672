//! Tests clients that disconnect without waiting for the response.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
    sync::Arc,
    time::Duration,
};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use sha2::{Digest as _, Sha256};

use crate::support::{
    PortcullisServer, eventually,
    portcullis_server::{ALICE, TestUser},
};

/// An HTTP/1.1 connection over TLS without a client library, because no library disconnects as abruptly.
pub(crate) struct RawTlsClient(StreamOwned<ClientConnection, TcpStream>);

/// The text of a response.
pub(crate) struct ResponseText(String);

impl TestUser {
    pub(crate) fn header(&self) -> String {
        let basic = BASE64_STANDARD.encode(format!("{}:{}", self.name, self.password));
        format!("Host: localhost\r\nConnection: close\r\nAuthorization: Basic {basic}\r\n")
    }
}

impl ResponseText {
    pub(crate) fn status(&self) -> u16 {
        self.0.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    fn location(&self) -> String {
        let line = self.0.lines().find_map(|line| line.strip_prefix("location: "));
        line.unwrap_or_else(|| panic!("no Location in {}", self.0)).to_owned()
    }
}

impl RawTlsClient {
    pub(crate) fn connect(server: &PortcullisServer) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(server.ca()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let session = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
        Self(StreamOwned::new(session, TcpStream::connect(("127.0.0.1", server.port())).unwrap()))
    }

    /// Sends a request, whose head lacks only its length and the empty line, without waiting for a response.
    fn send(&mut self, head: &str, body: &[u8]) {
        write!(self.0, "{head}Content-Length: {}\r\n\r\n", body.len()).unwrap();
        self.0.write_all(body).unwrap();
        self.0.flush().unwrap();
    }

    /// Shuts down the sending side. Closing the socket would lose bytes that the server has not read yet: unread
    /// session tickets make the kernel reset the connection.
    fn hang_up(&self) {
        self.0.sock.shutdown(Shutdown::Write).unwrap();
    }

    /// Sends a request and reads to the end of the connection.
    pub(crate) fn ask(mut self, head: &str, body: &[u8]) -> ResponseText {
        self.send(head, body);
        let mut answer = Vec::new();
        // The server may close without a TLS close_notify after its response.
        let _ = self.0.read_to_end(&mut answer);
        ResponseText(String::from_utf8_lossy(&answer).into_owned())
    }
}

#[test]
fn a_blob_whose_client_hangs_up_after_the_last_byte_is_committed_all_the_same() {
    let server = PortcullisServer::start();
    let header = ALICE.header();
    let begun = RawTlsClient::connect(&server).ask(&format!("POST /v2/a/blobs/uploads/ HTTP/1.1\r\n{header}"), b"");
    // Large enough that hashing and syncing are not finished when the client disconnects.
    let blob = vec![7; 64 << 20];
    let digest: String = Sha256::digest(&blob).iter().flat_map(|byte| [byte >> 4, byte & 15]).map(hex).collect();
    let mut client = RawTlsClient::connect(&server);
    client.send(&format!("PUT {}?digest=sha256:{digest} HTTP/1.1\r\n{header}", begun.location()), &blob);
    client.hang_up();
    let head = format!("HEAD /v2/a/blobs/sha256:{digest} HTTP/1.1\r\n{header}");
    let is_there = || RawTlsClient::connect(&server).ask(&head, b"").status() == 200;
    assert!(eventually(Duration::from_secs(20), is_there), "{}", server.log());
}

#[test]
fn a_request_whose_client_does_not_wait_for_the_answer_has_its_line_in_the_log() {
    let server = PortcullisServer::start();
    let header = ALICE.header();
    let begun = RawTlsClient::connect(&server).ask(&format!("POST /v2/a/blobs/uploads/ HTTP/1.1\r\n{header}"), b"");
    let mut client = RawTlsClient::connect(&server);
    client.send(
        &format!("PUT {}?digest=sha256:{} HTTP/1.1\r\n{header}", begun.location(), "0".repeat(64)),
        &vec![7; 64 << 20],
    );
    client.hang_up();
    let logged = || server.log().lines().any(|line| line.contains("method=PUT"));
    assert!(eventually(Duration::from_secs(20), logged), "{}", server.log());
}

fn hex(nibble: u8) -> char {
    char::from_digit(nibble.into(), 16).unwrap()
}
