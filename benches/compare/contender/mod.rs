//! Starts and stops the servers that are compared, all with the same certificate and users and each with its own data
//! folder.
//!
//! Invariant: a started server answers requests, negotiates the same TLS parameters as the others, and stops when its
//! value is dropped.

mod nginx;
mod portcullis;
mod registry;

use std::{
    fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode};
use tempfile::TempDir;

use crate::{
    client::{Client, basic_authorization},
    context::BenchContext,
    fixtures::{ALICE, Fixtures, User},
    process::{ResidentMemory, ServerProcess},
};

pub(crate) use portcullis::first_start;

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A configuration of servers that is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContenderKind {
    /// Portcullis with its defaults: TLS, users and registry in one process.
    Portcullis,
    /// nginx with TLS and a users file as a proxy before docker-registry without either, the setup of common manuals.
    NginxAndRegistry,
    /// docker-registry with TLS, without authentication.
    Registry,
    /// nginx with TLS and a folder of static files, without authentication.
    Static,
}

impl ContenderKind {
    /// The name in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Portcullis => "Portcullis",
            Self::NginxAndRegistry => "nginx + docker-registry",
            Self::Registry => "docker-registry with TLS, without users",
            Self::Static => "nginx, static",
        }
    }
}

/// A running server (or proxy and server) of one kind.
pub(crate) struct Contender {
    pub(crate) kind: ContenderKind,
    pub(crate) port: u16,
    /// A client with a connection of its own, for requests that are not measured.
    pub(crate) client: Client,
    /// The time from the start of the first process until all of them answer.
    pub(crate) started_in: Duration,
    data: PathBuf,
    // Declared before `folder`: fields are dropped in this order, and servers write into the folder until they end.
    processes: Vec<ServerProcess>,
    folder: TempDir,
}

impl Contender {
    /// Starts one with a new, empty data folder.
    pub(crate) fn start(context: &BenchContext, kind: ContenderKind) -> Self {
        let folder = context.new_temp_dir();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        Self::start_in(context, kind, folder, &data)
    }

    /// Starts one on an existing data folder.
    pub(crate) fn start_on(context: &BenchContext, kind: ContenderKind, data: &Path) -> Self {
        Self::start_in(context, kind, context.new_temp_dir(), data)
    }

    fn start_in(context: &BenchContext, kind: ContenderKind, folder: TempDir, data: &Path) -> Self {
        let port = free_port();
        let client = Client::new(&context.fixtures, port);
        let started = ContenderFiles { material: &context.fixtures, folder: folder.path(), data, port };
        if kind == ContenderKind::Portcullis {
            started.prepare_portcullis();
        }
        let began = Instant::now();
        let (processes, behind) = match kind {
            ContenderKind::Portcullis => (vec![started.portcullis()], None),
            ContenderKind::NginxAndRegistry => started.nginx_before_registry(),
            ContenderKind::Registry => (vec![started.registry(port, true)], None),
            ContenderKind::Static => (vec![started.nginx_static()], None),
        };
        let started_in = Duration::ZERO;
        let mut side = Self { kind, port, client, started_in, data: data.to_owned(), processes, folder };
        side.wait_until_ready(behind);
        side.started_in = began.elapsed();
        context.fixtures.check_tls_parameters(kind.name(), port);
        side
    }

    /// Waits until a request without credentials has the expected status, and the port `behind` of the proxied server
    /// accepts connections.
    fn wait_until_ready(&mut self, behind: Option<u16>) {
        let deadline = Instant::now() + START_TIMEOUT;
        let wanted = match self.kind {
            ContenderKind::Portcullis | ContenderKind::NginxAndRegistry => StatusCode::UNAUTHORIZED,
            ContenderKind::Registry | ContenderKind::Static => StatusCode::OK,
        };
        let path = if self.kind == ContenderKind::Static { "/healthz" } else { "/v2/" };
        let listens = |port: u16| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
        while !behind.is_none_or(listens) || self.client.try_get(path) != Some(wanted) {
            let alive = self.processes.iter_mut().all(ServerProcess::is_running) && Instant::now() < deadline;
            assert!(alive, "{} does not start; its log:\n{}", self.kind.name(), self.log());
            sleep(Duration::from_millis(1));
        }
    }

    /// The URL of `path` on this server.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    /// The `Authorization` header with which [`ALICE`] uses `scope`: a new token or her password, as a client would
    /// send it.
    pub(crate) fn authorization(&self, scope: &str) -> Option<String> {
        self.authorization_of(&ALICE, scope)
    }

    /// The `Authorization` header with which `user` uses `scope`; `None` for a server without authentication.
    pub(crate) fn authorization_of(&self, user: &User, scope: &str) -> Option<String> {
        match self.kind {
            ContenderKind::Portcullis => Some(self.client.bearer_authorization(user, scope)),
            ContenderKind::NginxAndRegistry => Some(basic_authorization(user)),
            ContenderKind::Registry | ContenderKind::Static => None,
        }
    }

    /// The processor time of all its processes so far, in seconds.
    pub(crate) fn processor_time(&self) -> f64 {
        self.processes.iter().map(ServerProcess::processor_time).sum()
    }

    /// The resident memory of all its processes.
    pub(crate) fn memory(&self) -> ResidentMemory {
        let each = self.processes.iter().map(ServerProcess::memory);
        each.fold(ResidentMemory { now: 0.0, peak: 0.0 }, |sum, one| ResidentMemory {
            now: sum.now + one.now,
            peak: sum.peak + one.peak,
        })
    }

    /// The ids of the processes that the benchmark started, without their children.
    pub(crate) fn process_ids(&self) -> Vec<u32> {
        self.processes.iter().map(ServerProcess::id).collect()
    }

    /// The path of a blob, in the layout that Portcullis and docker-registry share.
    pub(crate) fn blob_path(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap();
        self.registry_root().join(format!("blobs/sha256/{}/{hex}/data", &hex[..2]))
    }

    /// Deletes a repository and these blobs of it directly on disk, so that the disk does not fill.
    pub(crate) fn delete_files(&self, repository: &str, digests: &[String]) {
        for digest in digests {
            fs::remove_dir_all(self.blob_path(digest).parent().unwrap()).unwrap();
        }
        fs::remove_dir_all(self.registry_root().join("repositories").join(repository)).unwrap();
    }

    /// Copies a file into the served folder; only for [`ContenderKind::Static`].
    pub(crate) fn add_file(&self, name: &str, file: &Path) {
        fs::copy(file, self.data.join(name)).unwrap();
    }

    /// Sends a GET request and returns the body; panics unless the status is 200.
    pub(crate) fn fetch(&self, path: &str, authorization: Option<&str>) -> Vec<u8> {
        let answer = self.client.send(Method::GET, path, authorization, None, Vec::new());
        assert_eq!(answer.status, StatusCode::OK, "{path} of {}", self.kind.name());
        answer.body
    }

    fn registry_root(&self) -> PathBuf {
        self.data.join("docker/registry/v2")
    }

    fn log(&self) -> String {
        let logs = fs::read_dir(self.folder.path()).unwrap().flatten().map(|entry| entry.path());
        let logs = logs.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
        logs.map(|path| fs::read_to_string(path).unwrap_or_default()).collect()
    }
}

/// The parameters with which the processes of one server are started.
struct ContenderFiles<'a> {
    material: &'a Fixtures,
    folder: &'a Path,
    data: &'a Path,
    port: u16,
}

impl ContenderFiles<'_> {
    fn nginx_before_registry(&self) -> (Vec<ServerProcess>, Option<u16>) {
        let behind = free_port();
        (vec![self.registry(behind, false), self.nginx_proxy(behind)], Some(behind))
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}
