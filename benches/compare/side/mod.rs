//! The sides of the comparison: servers with the same certificate, the same users and a data folder of their own.
//!
//! One invariant: a side that exists answers requests, negotiates what all others negotiate, and ends when it is dropped.

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
    client::{Client, basic},
    context::Context,
    material::{ALICE, Material, User},
    process::{Memory, Process},
};

pub(crate) use portcullis::first_start;

const PATIENCE: Duration = Duration::from_secs(60);

/// What is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// TLS, users and registry in one, with its defaults.
    Portcullis,
    /// nginx with TLS and a users file, before docker-registry without either: what people copy from manuals.
    NginxAndRegistry,
    /// docker-registry with TLS, for everybody.
    Registry,
    /// nginx with TLS and a folder of files, for everybody.
    Static,
}

impl Kind {
    /// As the report calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Portcullis => "Portcullis",
            Self::NginxAndRegistry => "nginx + docker-registry",
            Self::Registry => "docker-registry with TLS, without users",
            Self::Static => "nginx, static",
        }
    }
}

/// A running side.
pub(crate) struct Side {
    pub(crate) kind: Kind,
    pub(crate) port: u16,
    /// A connection that is kept, for what is not measured.
    pub(crate) client: Client,
    /// From the first process's start to the first answer on all of them.
    pub(crate) started_in: Duration,
    data: PathBuf,
    // Before `folder`: fields are dropped in this order, and servers write into the folder until they end.
    processes: Vec<Process>,
    folder: TempDir,
}

impl Side {
    /// One with a data folder of its own, empty.
    pub(crate) fn start(context: &Context, kind: Kind) -> Self {
        let folder = context.folder();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        Self::start_in(context, kind, folder, &data)
    }

    /// One that serves what is there already.
    pub(crate) fn start_on(context: &Context, kind: Kind, data: &Path) -> Self {
        Self::start_in(context, kind, context.folder(), data)
    }

    fn start_in(context: &Context, kind: Kind, folder: TempDir, data: &Path) -> Self {
        let port = free_port();
        let client = Client::new(&context.material, port);
        let started = Started { material: &context.material, folder: folder.path(), data, port };
        if kind == Kind::Portcullis {
            started.prepare_portcullis();
        }
        let began = Instant::now();
        let (processes, behind) = match kind {
            Kind::Portcullis => (vec![started.portcullis()], None),
            Kind::NginxAndRegistry => started.nginx_before_registry(),
            Kind::Registry => (vec![started.registry(port, true)], None),
            Kind::Static => (vec![started.nginx_static()], None),
        };
        let started_in = Duration::ZERO;
        let mut side = Self { kind, port, client, started_in, data: data.to_owned(), processes, folder };
        side.wait(behind);
        side.started_in = began.elapsed();
        context.material.check_what_is_negotiated(kind.name(), port);
        side
    }

    /// Until a request without credentials is answered as it should be, and whoever stands behind listens.
    fn wait(&mut self, behind: Option<u16>) {
        let deadline = Instant::now() + PATIENCE;
        let wanted = match self.kind {
            Kind::Portcullis | Kind::NginxAndRegistry => StatusCode::UNAUTHORIZED,
            Kind::Registry | Kind::Static => StatusCode::OK,
        };
        let path = if self.kind == Kind::Static { "/healthz" } else { "/v2/" };
        let listens = |port: u16| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
        while !behind.is_none_or(listens) || self.client.try_get(path) != Some(wanted) {
            let alive = self.processes.iter_mut().all(Process::lives) && Instant::now() < deadline;
            assert!(alive, "{} does not start; it said:\n{}", self.kind.name(), self.log());
            sleep(Duration::from_millis(1));
        }
    }

    /// `https://localhost:PORT` and this path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    /// The value of the header that lets [`ALICE`] do this here, as a client would send it: a fresh token, or her password.
    pub(crate) fn authorization(&self, scope: &str) -> Option<String> {
        self.authorization_of(&ALICE, scope)
    }

    /// Likewise, for anybody.
    pub(crate) fn authorization_of(&self, user: &User, scope: &str) -> Option<String> {
        match self.kind {
            Kind::Portcullis => Some(self.client.token(user, scope)),
            Kind::NginxAndRegistry => Some(basic(user)),
            Kind::Registry | Kind::Static => None,
        }
    }

    /// Processor time of all its processes so far, in seconds.
    pub(crate) fn processor_time(&self) -> f64 {
        self.processes.iter().map(Process::processor_time).sum()
    }

    /// Memory of all its processes.
    pub(crate) fn memory(&self) -> Memory {
        let each = self.processes.iter().map(Process::memory);
        each.fold(Memory { now: 0.0, peak: 0.0 }, |sum, one| Memory {
            now: sum.now + one.now,
            peak: sum.peak + one.peak,
        })
    }

    /// The ids of the processes that were started; not of those that these started.
    pub(crate) fn process_ids(&self) -> Vec<u32> {
        self.processes.iter().map(Process::id).collect()
    }

    /// Where a blob lies in the layout that Portcullis and docker-registry share.
    pub(crate) fn blob_path(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap();
        self.registry_root().join(format!("blobs/sha256/{}/{hex}/data", &hex[..2]))
    }

    /// Removes a repository and blobs that no other has, so that the disk does not fill; the server is not asked.
    pub(crate) fn forget(&self, repository: &str, digests: &[String]) {
        for digest in digests {
            fs::remove_dir_all(self.blob_path(digest).parent().unwrap()).unwrap();
        }
        fs::remove_dir_all(self.registry_root().join("repositories").join(repository)).unwrap();
    }

    /// Offers a file under this name; only for [`Kind::Static`].
    pub(crate) fn offer(&self, name: &str, file: &Path) {
        fs::copy(file, self.data.join(name)).unwrap();
    }

    /// Asks without a body and insists on 200.
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

/// What the processes of one side are started with.
struct Started<'a> {
    material: &'a Material,
    folder: &'a Path,
    data: &'a Path,
    port: u16,
}

impl Started<'_> {
    fn nginx_before_registry(&self) -> (Vec<Process>, Option<u16>) {
        let behind = free_port();
        (vec![self.registry(behind, false), self.nginx_proxy(behind)], Some(behind))
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}
