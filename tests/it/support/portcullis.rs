//! A running `portcullis serve` on ports, keys and folders of its own.

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
use super::{Tool, name, port};

/// The first start makes keys; a machine that is busy with other tests may need a while for that.
const STARTING: Duration = Duration::from_secs(20);

/// The path of the program under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_portcullis");

/// Somebody who may sign in.
pub(crate) struct User {
    /// As in the users file.
    pub(crate) name: &'static str,
    /// In clear text, which only tests have.
    pub(crate) password: &'static str,
}

/// Whom [`Setup::new`] lets in.
pub(crate) const ALICE: User = User { name: "alice", password: "wonderland and back" };

/// The other one.
pub(crate) const BOB: User = User { name: "bob", password: "builder of things" };

/// What a server is started with.
pub(crate) struct Setup {
    listen: SocketAddr,
    users_file: Option<String>,
    configuration: Option<String>,
    environment: Vec<(String, String)>,
    data: Option<PathBuf>,
}

impl Setup {
    /// A server on 127.0.0.1 that knows [`ALICE`].
    pub(crate) fn new() -> Self {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port::free()));
        let setup = Self { listen, users_file: None, configuration: None, environment: Vec::new(), data: None };
        setup.users(&[ALICE])
    }

    /// Listens on `[::1]`, where [`name::REGISTRY`] leads.
    pub(crate) fn on_registry_name(mut self, _held: &name::Name) -> Self {
        self.listen = SocketAddr::from((Ipv6Addr::LOCALHOST, port::free()));
        self
    }

    /// Exactly these users, with the cheapest bcrypt that still is one.
    pub(crate) fn users(self, users: &[User]) -> Self {
        let line = |user: &User| format!("{}:{}\n", user.name, bcrypt::hash(user.password, 5).unwrap());
        self.users_file(users.iter().map(line).collect())
    }

    /// A users file word for word.
    pub(crate) fn users_file(mut self, text: String) -> Self {
        self.users_file = Some(text);
        self
    }

    /// No users file, as on a fresh machine.
    pub(crate) fn without_users_file(mut self) -> Self {
        self.users_file = None;
        self
    }

    /// A configuration file, for what flags and variables cannot say.
    pub(crate) fn configuration(mut self, text: &str) -> Self {
        self.configuration = Some(text.to_owned());
        self
    }

    /// Sets a variable.
    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Takes over a data root that somebody else made.
    pub(crate) fn data(mut self, root: &Path) -> Self {
        self.data = Some(root.to_owned());
        self
    }

    /// Starts the server and waits until it finishes a TLS handshake with a certificate that its own CA vouches for.
    pub(crate) fn start(self) -> Portcullis {
        let folder = tempfile::tempdir().unwrap();
        if let Some(text) = &self.users_file {
            fs::write(folder.path().join("htpasswd"), text).unwrap();
        }
        if let Some(text) = &self.configuration {
            fs::write(folder.path().join("portcullis.toml"), text).unwrap();
        }
        self.start_in(folder)
    }

    fn start_in(self, folder: TempDir) -> Portcullis {
        let daemon = Daemon::start(self.command(folder.path()), folder.path().join("log"));
        let mut portcullis = Portcullis { daemon, setup: self, folder };
        let (address, ca) = (portcullis.setup.listen, portcullis.ca());
        portcullis.daemon.wait_until(STARTING, || finishes_a_handshake(address, &ca));
        portcullis
    }

    fn command(&self, folder: &Path) -> Command {
        let mut command = Command::new(BINARY);
        // In its own folder, so that neither a configuration file nor a certificate of the checkout is found.
        command.current_dir(folder).arg("serve").arg("--data").arg(self.root(folder));
        command.arg("--htpasswd").arg(folder.join("htpasswd")).arg("--certs").arg(folder.join("certs"));
        command.arg("--listen").arg(self.listen.to_string());
        for hostname in ["localhost", name::REGISTRY, "127.0.0.1", "::1"] {
            command.arg("--hostname").arg(hostname);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn root(&self, folder: &Path) -> PathBuf {
        self.data.clone().unwrap_or_else(|| folder.join("data"))
    }
}

/// A server that answers; dropping it ends it.
pub(crate) struct Portcullis {
    // Before `folder`: fields are dropped in this order, and the server writes into the folder until it ends.
    daemon: Daemon,
    setup: Setup,
    folder: TempDir,
}

impl Portcullis {
    /// A server as [`Setup::new`] describes it.
    pub(crate) fn start() -> Self {
        Setup::new().start()
    }

    /// The port that it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.setup.listen.port()
    }

    /// `localhost:PORT`, the beginning of image references.
    pub(crate) fn local(&self) -> String {
        format!("localhost:{}", self.port())
    }

    /// `registry.test:PORT`, likewise, for a server that listens where the name leads.
    pub(crate) fn named(&self) -> String {
        format!("{}:{}", name::REGISTRY, self.port())
    }

    /// The CA that clients must trust.
    pub(crate) fn ca(&self) -> PathBuf {
        self.certs().join("ca.crt")
    }

    /// The folder of certificates and keys.
    pub(crate) fn certs(&self) -> PathBuf {
        self.folder.path().join("certs")
    }

    /// A folder that holds the CA and nothing else, for `--cert-dir`: podman and skopeo refuse one with stray keys.
    pub(crate) fn trust(&self) -> PathBuf {
        let folder = self.folder.path().join("trust");
        fs::create_dir_all(&folder).unwrap();
        fs::copy(self.ca(), folder.join("ca.crt")).unwrap();
        folder
    }

    /// The users file.
    pub(crate) fn users(&self) -> PathBuf {
        self.folder.path().join("htpasswd")
    }

    /// The data root.
    pub(crate) fn data(&self) -> PathBuf {
        self.setup.root(self.folder.path())
    }

    /// What the server has said so far, on both streams.
    pub(crate) fn log(&self) -> String {
        self.daemon.log()
    }

    /// Stops the server, which must end well, and starts it again with the same folders, port and users.
    pub(crate) fn restart(self) -> Self {
        self.restart_after(|| {})
    }

    /// Likewise, with something done while no server runs.
    pub(crate) fn restart_after(mut self, meanwhile: impl FnOnce()) -> Self {
        let status = self.daemon.stop();
        assert!(status.success(), "SIGTERM should end the server well, not with {status}; it said:\n{}", self.log());
        let Self { setup, folder, .. } = self;
        meanwhile();
        setup.start_in(folder)
    }
}

/// A call of the program under test that ends by itself.
pub(crate) fn cli() -> Tool {
    Tool::at(Path::new(BINARY))
}

/// The password that the first start shows: the first word of at least 16 letters, digits, `-` or `_` on the line that
/// says "password" or on the one after it.
pub(crate) fn first_password(log: &str) -> Option<&str> {
    let lines: Vec<&str> = log.lines().collect();
    let index = lines.iter().position(|line| line.to_lowercase().contains("password"))?;
    let fits = |character: char| character.is_ascii_alphanumeric() || character == '-' || character == '_';
    let mut words = lines[index..].iter().take(2).flat_map(|line| line.split_whitespace());
    words.find(|word| word.len() >= 16 && word.chars().all(fits))
}

/// Whether somebody at `address` proves to be `registry.test` with a certificate of `ca`.
pub(crate) fn finishes_a_handshake(address: SocketAddr, ca: &Path) -> bool {
    let Ok(certificate) = CertificateDer::from_pem_file(ca) else { return false };
    let mut roots = RootCertStore::empty();
    if roots.add(certificate).is_err() {
        return false;
    }
    let Ok(mut socket) = TcpStream::connect(address) else { return false };
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let server = ServerName::try_from(name::REGISTRY).unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), server).unwrap();
    while connection.is_handshaking() {
        if connection.complete_io(&mut socket).is_err() {
            return false;
        }
    }
    true
}
