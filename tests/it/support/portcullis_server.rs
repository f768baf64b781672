//! A running server, and what else concerns the program under test.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::daemon::Daemon;
use super::server_dir::basic_authorization;
use super::wire_connection::{WireConnection, WireResponse, request, roots};
use super::{ServerDir, ToolCommand, eventually, registry_test_name};

/// The path of the program under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_portcullis");

/// A user who may sign in.
pub(crate) struct TestUser {
    /// The name in the users file.
    pub(crate) name: &'static str,
    /// The password in clear text.
    pub(crate) password: &'static str,
}

/// The user that [`ServerDir::new`] creates.
pub(crate) const ALICE: TestUser = TestUser { name: "alice", password: "wonderland and back" };

/// A second user.
pub(crate) const BOB: TestUser = TestUser { name: "bob", password: "builder of things" };

/// A server that accepts connections; dropping it ends it.
pub(crate) struct PortcullisServer {
    // Before `stage`: fields are dropped in this order, and the server writes into the directory until it ends.
    pub(crate) daemon: Daemon,
    pub(crate) stage: ServerDir,
}

impl PortcullisServer {
    /// Starts a server as [`ServerDir::new`] describes it.
    pub(crate) fn start() -> Self {
        ServerDir::new().start()
    }

    /// The port that it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.stage.port()
    }

    /// The host and port `localhost:PORT`, for image references.
    pub(crate) fn localhost_address(&self) -> String {
        format!("localhost:{}", self.port())
    }

    /// The host and port `registry.test:PORT`, for a server that listens on the address of that name.
    pub(crate) fn registry_test_address(&self) -> String {
        format!("{}:{}", registry_test_name::REGISTRY, self.port())
    }

    /// The CA that clients must trust.
    pub(crate) fn ca(&self) -> PathBuf {
        self.certs().join("ca.crt")
    }

    /// The directory of certificates and keys.
    pub(crate) fn certs(&self) -> PathBuf {
        self.stage.path("certs")
    }

    /// A directory with only the CA certificate, for `--cert-dir`: podman and skopeo refuse one with stray keys.
    pub(crate) fn ca_dir(&self) -> PathBuf {
        let folder = self.stage.path("trust");
        fs::create_dir_all(&folder).unwrap();
        fs::copy(self.ca(), folder.join("ca.crt")).unwrap();
        folder
    }

    /// The users file.
    pub(crate) fn users(&self) -> PathBuf {
        self.stage.path("htpasswd")
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.stage.data()
    }

    /// The output of the server so far, of both streams.
    pub(crate) fn log(&self) -> String {
        self.daemon.log()
    }

    /// Asserts that the log contains these words, now or soon.
    pub(crate) fn assert_log_contains(&self, words: &str) {
        let is_said = eventually(Duration::from_secs(60), || self.log().contains(words));
        assert!(is_said, "the log should contain {words:?}:\n{}", self.log());
    }

    /// A new connection.
    pub(crate) fn connect(&self) -> WireConnection {
        WireConnection::open(self.stage.address(), &self.ca()).unwrap()
    }

    /// Sends one request on a new connection, with these header lines besides `Host` and `Content-Length`.
    pub(crate) fn request(&self, method: &str, path: &str, header: &[&str], body: &[u8]) -> WireResponse {
        let mut wire = self.connect();
        wire.send(&request(method, path, header, body));
        wire.response_to(method)
    }

    /// Sends one request on a new connection, signed in as [`ALICE`].
    pub(crate) fn request_as_alice(&self, method: &str, path: &str, header: &[&str], body: &[u8]) -> WireResponse {
        let authorization = basic_authorization(&ALICE);
        self.request(method, path, &[&[authorization.as_str()], header].concat(), body)
    }

    /// Sends a GET to a server whose certificate was issued by `ca`.
    pub(crate) fn get_with_ca(&self, ca: &Path, path: &str) -> WireResponse {
        let mut wire = WireConnection::open(self.stage.address(), ca).unwrap();
        wire.send(&request("GET", path, &[&basic_authorization(&ALICE)], b""));
        wire.response_to("GET")
    }

    /// Asserts that a server whose certificate was issued by `ca` still answers.
    pub(crate) fn assert_serving_with_ca(&self, ca: &Path) {
        self.get_with_ca(ca, "/v2/").expect(200);
    }

    /// Asserts that the server still answers and still accepts [`ALICE`].
    pub(crate) fn assert_serving(&self) {
        self.request_as_alice("GET", "/v2/", &[], b"").expect(200);
    }

    /// Stops the server, asserting success, and starts it again with the same directories, port and users.
    pub(crate) fn restart(self) -> Self {
        self.restart_after(|| {})
    }

    /// Restarts like [`Self::restart`], and calls `meanwhile` while no server runs.
    pub(crate) fn restart_after(mut self, meanwhile: impl FnOnce()) -> Self {
        let status = self.daemon.stop();
        assert!(status.success(), "SIGTERM should end the server well, not with {status}; its log:\n{}", self.log());
        meanwhile();
        self.stage.start()
    }
}

/// A call of the program under test that ends by itself.
pub(crate) fn portcullis_command() -> ToolCommand {
    ToolCommand::from_path(Path::new(BINARY))
}

/// The password that the first start shows: the first word of at least 16 letters, digits, `-` or `_` on the line that
/// contains "password" or on the one after it.
pub(crate) fn first_password(log: &str) -> Option<&str> {
    let lines: Vec<&str> = log.lines().collect();
    let index = lines.iter().position(|line| line.to_lowercase().contains("password"))?;
    let fits = |character: char| character.is_ascii_alphanumeric() || character == '-' || character == '_';
    let mut words = lines[index..].iter().take(2).flat_map(|line| line.split_whitespace());
    words.find(|word| word.len() >= 16 && word.chars().all(fits))
}

/// Whether a server at `address` proves to be `registry.test` with a certificate issued by `ca`.
pub(crate) fn completes_handshake(address: SocketAddr, ca: &Path) -> bool {
    let Ok(roots) = roots(ca) else { return false };
    let Ok(mut socket) = TcpStream::connect(address) else { return false };
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let server = ServerName::try_from(registry_test_name::REGISTRY).unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), server).unwrap();
    while connection.is_handshaking() {
        if connection.complete_io(&mut socket).is_err() {
            return false;
        }
    }
    true
}
