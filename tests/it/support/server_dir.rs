//! Lays out the directory of one server, and starts the program in it.
//!
//! The files can be changed before and after the start: to a configuration of the test's own, to broken files, to a
//! full disk. `with_…` prepares a server in one expression; the methods without it change the files of a running one.
//!
//! Invariant: the server reads only its directory and the variables that a test set; no flag overrides them.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::daemon::Daemon;
use super::portcullis_server::{ALICE, BINARY, PortcullisServer, TestUser, portcullis_command};
use super::registry_test_name::{self, RegistryTestName};
use super::{ToolCommand, free_port};

/// The timeout for a start: the first one generates keys, one after a kill or on the data of another program syncs the
/// file system, and the machine may be busy with other tests.
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// A directory and an address for one server. Clones share the directory; the last one removes it.
#[derive(Clone)]
pub(crate) struct ServerDir {
    folder: Arc<TempDir>,
    address: SocketAddr,
    /// A data directory elsewhere.
    data: Option<PathBuf>,
    environment: Vec<(String, String)>,
}

impl ServerDir {
    /// A directory for a server on 127.0.0.1 with the user [`ALICE`].
    pub(crate) fn new() -> Self {
        Self::without_files().with_users(&[ALICE])
    }

    /// A directory as on a fresh machine: no users, no certificates.
    pub(crate) fn without_files() -> Self {
        Self::listening(SocketAddr::from((Ipv4Addr::LOCALHOST, free_port::free())))
    }

    /// A directory for a server on `[::1]`, the address of [`registry_test_name::REGISTRY`], with the user [`ALICE`].
    pub(crate) fn on_registry_name(_held: &RegistryTestName) -> Self {
        Self::listening(SocketAddr::from((Ipv6Addr::LOCALHOST, free_port::free()))).with_users(&[ALICE])
    }

    fn listening(address: SocketAddr) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        Self { folder, address, data: None, environment: Vec::new() }.with_configuration("")
    }

    /// The same directory with another configuration; see [`Self::configure`].
    pub(crate) fn with_configuration(self, text: &str) -> Self {
        self.configure(text);
        self
    }

    /// The same directory with other users; see [`Self::users`].
    pub(crate) fn with_users(self, users: &[TestUser]) -> Self {
        self.users(users);
        self
    }

    /// The same directory with a users file of this text.
    pub(crate) fn with_users_file(self, text: &str) -> Self {
        self.write("htpasswd", text);
        self
    }

    /// The same directory, with an environment variable for the program.
    pub(crate) fn with_env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// The same directory, with the data in another one.
    pub(crate) fn with_data(mut self, root: &Path) -> Self {
        self.data = Some(root.to_owned());
        self.with_env("PORTCULLIS_STORAGE__FILESYSTEM__ROOT", root.to_str().unwrap())
    }

    /// Replaces the configuration: the listen address, followed by `text`, which begins with tables.
    pub(crate) fn configure(&self, text: &str) {
        let hostnames = ["localhost", registry_test_name::REGISTRY, "127.0.0.1", "::1"];
        let whole = format!("listen = [\"{}\"]\nhostnames = {hostnames:?}\n{text}\n", self.address);
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

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.data.clone().unwrap_or_else(|| self.path("data"))
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The command `portcullis serve` in the directory, for tests that change it before the start.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(BINARY);
        command.current_dir(self.folder()).arg("serve").envs(self.environment.iter().cloned());
        command
    }

    /// A call of the program in the directory, and with the variables of the server, that ends by itself.
    pub(crate) fn portcullis_command(&self) -> ToolCommand {
        let command = portcullis_command().folder(self.folder());
        self.environment.iter().fold(command, |command, (name, value)| command.env(name, value))
    }

    /// Starts the server and waits until it accepts connections.
    pub(crate) fn start(&self) -> PortcullisServer {
        self.start_as(self.command())
    }

    /// Starts the server with a command of the test's own and waits until it accepts connections.
    pub(crate) fn start_as(&self, command: Command) -> PortcullisServer {
        let (mut daemon, log) = (Daemon::start(command, self.path("log")), self.path("log"));
        // The address is bound before everything is ready, and the banner is written afterwards.
        let is_welcome =
            || fs::read_to_string(&log).is_ok_and(|said| said.contains("Sign in:") || said.contains("serving"));
        daemon.wait_until(START_TIMEOUT, || is_welcome() && TcpStream::connect(self.address).is_ok());
        PortcullisServer { daemon, stage: self.clone() }
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
