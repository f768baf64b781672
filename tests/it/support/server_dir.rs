//! Prepares a directory for one server, whose files a test can change before and after the start.
//!
//! [`super::PortcullisSetup`] starts a server with a valid setup; a [`ServerDir`] starts the others: with a
//! configuration of its own, with broken files, on a full disk, as an unprivileged user.
//!
//! Invariant: the server reads only files of its directory; no flag overrides them.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::daemon::Daemon;
use super::portcullis_server::{ALICE, BINARY, TestUser, portcullis_command};
use super::wire_connection::{WireConnection, WireResponse, request};
use super::{ToolCommand, free_port};

/// The timeout for a start: the first one generates keys, one after a kill syncs the file system, and the machine may
/// be busy with other tests.
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// A directory and a port for one server.
pub(crate) struct ServerDir {
    folder: TempDir,
    port: u16,
}

impl ServerDir {
    /// A stage for a server on 127.0.0.1 with the user [`ALICE`].
    pub(crate) fn new() -> Self {
        let stage = Self::without_files();
        stage.users(&[ALICE]);
        stage
    }

    /// A stage as on a fresh machine: no users, no certificates.
    pub(crate) fn without_files() -> Self {
        let stage = Self { folder: tempfile::tempdir().unwrap(), port: free_port::free() };
        stage.configure("");
        stage
    }

    /// Replaces the configuration: the listen address, followed by `text`, which begins with tables.
    pub(crate) fn configure(&self, text: &str) {
        let hostnames = r#"["localhost", "registry.test", "127.0.0.1", "::1"]"#;
        let whole = format!("listen = [\"{}\"]\nhostnames = {hostnames}\n{text}\n", self.address());
        self.write("portcullis.toml", &whole);
    }

    /// Replaces the users file, with the lowest bcrypt cost that is accepted.
    pub(crate) fn users(&self, users: &[TestUser]) {
        let line = |user: &TestUser| format!("{}:{}\n", user.name, bcrypt::hash(user.password, 4).unwrap());
        self.write("htpasswd", &users.iter().map(line).collect::<String>());
    }

    /// Writes a file in the directory atomically, as editors do.
    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let (path, temporary) = (self.path(name), self.path(&format!("{name}.being-written")));
        fs::write(&temporary, content).unwrap();
        fs::rename(&temporary, &path).unwrap();
        path
    }

    /// A path in the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The directory itself.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// The command `portcullis serve` in the directory, for tests that change it before the start.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(BINARY);
        command.current_dir(self.folder()).arg("serve");
        command
    }

    /// A call of the program in the directory that ends by itself.
    pub(crate) fn portcullis_command(&self) -> ToolCommand {
        portcullis_command().folder(self.folder())
    }

    /// Starts the server and waits until it accepts connections.
    pub(crate) fn start(&self) -> RunningServer<'_> {
        self.start_as(self.command())
    }

    /// Starts the server with a command of the test's own and waits until it accepts connections.
    pub(crate) fn start_as(&self, command: Command) -> RunningServer<'_> {
        let (mut daemon, log) = (Daemon::start(command, self.path("log")), self.path("log"));
        // The address is bound before everything is ready, and the banner is written afterwards.
        let is_welcome =
            || fs::read_to_string(&log).is_ok_and(|said| said.contains("Sign in:") || said.contains("serving"));
        daemon.wait_until(START_TIMEOUT, || is_welcome() && TcpStream::connect(self.address()).is_ok());
        RunningServer { daemon, stage: self }
    }
}

/// A server that accepts connections; dropping it ends it.
pub(crate) struct RunningServer<'a> {
    pub(crate) daemon: Daemon,
    pub(crate) stage: &'a ServerDir,
}

impl RunningServer<'_> {
    /// The output of the server so far.
    pub(crate) fn log(&self) -> String {
        self.daemon.log()
    }

    /// Asserts that the log contains these words, now or soon.
    pub(crate) fn assert_log_contains(&self, words: &str) {
        let is_said = super::eventually(Duration::from_secs(5), || self.log().contains(words));
        assert!(is_said, "the log should contain {words:?}:\n{}", self.log());
    }

    /// A new connection.
    pub(crate) fn connect(&self) -> WireConnection {
        WireConnection::open(self.stage.address(), &self.stage.path("certs/ca.crt")).unwrap()
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
}

/// The `Authorization` header line with a user's password.
pub(crate) fn basic_authorization(user: &TestUser) -> String {
    basic(&format!("{}:{}", user.name, user.password))
}

/// The `Authorization` header line for any text in the place of name and password.
pub(crate) fn basic(text: &str) -> String {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    format!("Authorization: Basic {}", BASE64_STANDARD.encode(text))
}
