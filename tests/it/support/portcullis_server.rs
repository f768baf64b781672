//! Runs `portcullis serve` with ports, keys and directories of its own.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tempfile::TempDir;

use super::daemon::Daemon;
use super::wire_connection::WireConnection;
use super::{ToolCommand, free_port, registry_test_name};

/// The timeout for a start: the first one generates keys, one on data of another program syncs the file system, and the
/// machine may be busy with other tests.
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// The path of the program under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_portcullis");

/// A user who may sign in.
pub(crate) struct TestUser {
    /// The name in the users file.
    pub(crate) name: &'static str,
    /// The password in clear text.
    pub(crate) password: &'static str,
}

/// The user that [`PortcullisSetup::new`] creates.
pub(crate) const ALICE: TestUser = TestUser { name: "alice", password: "wonderland and back" };

/// A second user.
pub(crate) const BOB: TestUser = TestUser { name: "bob", password: "builder of things" };

/// The parameters of a server.
pub(crate) struct PortcullisSetup {
    listen: SocketAddr,
    users_file: Option<String>,
    configuration: Option<String>,
    environment: Vec<(String, String)>,
    data: Option<PathBuf>,
}

impl PortcullisSetup {
    /// A server on 127.0.0.1 with the user [`ALICE`].
    pub(crate) fn new() -> Self {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port::free()));
        let setup = Self { listen, users_file: None, configuration: None, environment: Vec::new(), data: None };
        setup.users(&[ALICE])
    }

    /// Listens on `[::1]`, the address of [`name::REGISTRY`].
    pub(crate) fn on_registry_name(mut self, _held: &registry_test_name::RegistryTestName) -> Self {
        self.listen = SocketAddr::from((Ipv6Addr::LOCALHOST, free_port::free()));
        self
    }

    /// Replaces the users, hashing passwords with the lowest bcrypt cost that is accepted.
    pub(crate) fn users(self, users: &[TestUser]) -> Self {
        let line = |user: &TestUser| format!("{}:{}\n", user.name, bcrypt::hash(user.password, 5).unwrap());
        self.users_file(users.iter().map(line).collect())
    }

    /// Replaces the users file by this text.
    pub(crate) fn users_file(mut self, text: String) -> Self {
        self.users_file = Some(text);
        self
    }

    /// Starts without a users file, as on a fresh machine.
    pub(crate) fn without_users_file(mut self) -> Self {
        self.users_file = None;
        self
    }

    /// Adds a configuration file, for settings that have no flag or variable.
    pub(crate) fn configuration(mut self, text: &str) -> Self {
        self.configuration = Some(text.to_owned());
        self
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Uses an existing data directory.
    pub(crate) fn data(mut self, root: &Path) -> Self {
        self.data = Some(root.to_owned());
        self
    }

    /// Starts the server and waits until it completes a TLS handshake with a certificate issued by its CA.
    pub(crate) fn start(self) -> PortcullisServer {
        let folder = tempfile::tempdir().unwrap();
        if let Some(text) = &self.users_file {
            fs::write(folder.path().join("htpasswd"), text).unwrap();
        }
        if let Some(text) = &self.configuration {
            fs::write(folder.path().join("portcullis.toml"), text).unwrap();
        }
        self.start_in(folder)
    }

    fn start_in(self, folder: TempDir) -> PortcullisServer {
        let daemon = Daemon::start(self.command(folder.path()), folder.path().join("log"));
        let mut portcullis = PortcullisServer { daemon, setup: self, folder };
        let (address, ca) = (portcullis.setup.listen, portcullis.ca());
        portcullis.daemon.wait_until(START_TIMEOUT, || completes_handshake(address, &ca));
        portcullis
    }

    fn command(&self, folder: &Path) -> Command {
        let mut command = Command::new(BINARY);
        // In its own directory, so that neither a configuration file nor a certificate of the checkout is found.
        command.current_dir(folder).arg("serve").arg("--data").arg(self.root(folder));
        command.arg("--htpasswd").arg(folder.join("htpasswd")).arg("--certs").arg(folder.join("certs"));
        command.arg("--listen").arg(self.listen.to_string());
        for hostname in ["localhost", registry_test_name::REGISTRY, "127.0.0.1", "::1"] {
            command.arg("--hostname").arg(hostname);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn root(&self, folder: &Path) -> PathBuf {
        self.data.clone().unwrap_or_else(|| folder.join("data"))
    }
}

/// A running server; dropping it ends it.
pub(crate) struct PortcullisServer {
    // Before `folder`: fields are dropped in this order, and the server writes into the folder until it ends.
    daemon: Daemon,
    setup: PortcullisSetup,
    folder: TempDir,
}

impl PortcullisServer {
    /// Starts a server as [`PortcullisSetup::new`] describes it.
    pub(crate) fn start() -> Self {
        PortcullisSetup::new().start()
    }

    /// The port that it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.setup.listen.port()
    }

    /// The host and port `localhost:PORT`, for image references.
    pub(crate) fn localhost_address(&self) -> String {
        format!("localhost:{}", self.port())
    }

    /// The host and port `registry.test:PORT`, for a server that listens on the address of that name.
    pub(crate) fn registry_test_address(&self) -> String {
        format!("{}:{}", registry_test_name::REGISTRY, self.port())
    }

    /// A new connection.
    pub(crate) fn connect(&self) -> WireConnection {
        WireConnection::open(self.setup.listen, &self.ca()).unwrap()
    }

    /// The CA that clients must trust.
    pub(crate) fn ca(&self) -> PathBuf {
        self.certs().join("ca.crt")
    }

    /// The directory of certificates and keys.
    pub(crate) fn certs(&self) -> PathBuf {
        self.folder.path().join("certs")
    }

    /// A directory with only the CA certificate, for `--cert-dir`: podman and skopeo refuse one with stray keys.
    pub(crate) fn ca_dir(&self) -> PathBuf {
        let folder = self.folder.path().join("trust");
        fs::create_dir_all(&folder).unwrap();
        fs::copy(self.ca(), folder.join("ca.crt")).unwrap();
        folder
    }

    /// The users file.
    pub(crate) fn users(&self) -> PathBuf {
        self.folder.path().join("htpasswd")
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.setup.root(self.folder.path())
    }

    /// The output of the server so far, of both streams.
    pub(crate) fn log(&self) -> String {
        self.daemon.log()
    }

    /// Stops the server, asserting success, and starts it again with the same directories, port and users.
    pub(crate) fn restart(self) -> Self {
        self.restart_after(|| {})
    }

    /// Restarts like [`Self::restart`], and calls `meanwhile` while no server runs.
    pub(crate) fn restart_after(mut self, meanwhile: impl FnOnce()) -> Self {
        let status = self.daemon.stop();
        assert!(status.success(), "SIGTERM should end the server well, not with {status}; its log:\n{}", self.log());
        let Self { setup, folder, .. } = self;
        meanwhile();
        setup.start_in(folder)
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
    let Ok(certificate) = CertificateDer::from_pem_file(ca) else { return false };
    let mut roots = RootCertStore::empty();
    if roots.add(certificate).is_err() {
        return false;
    }
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
