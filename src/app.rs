//! The composition root: configuration in, running server out.
//!
//! Process floor. Invariant: nothing is made that a later step of the start could render useless: the addresses are bound
//! before the first administrator is made, so that a password is never shown by a server that does not run.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use aws_lc_rs::rand::SystemRandom;
use axum::body::Body;
use http::{Request, header, uri};
use hyper::body::Incoming;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};
use tower::util::MapRequest;

use crate::{
    access::{Gate, UserName},
    acme::Keeper,
    api::{self, Api, Connection, Realm},
    audit::{self, Event},
    auth::{
        Authenticator, GrantStore, Grants, KeyError, Lockout, Password, PasswordChecker, SigningKeys, TokenAlgorithm,
        Tokens, Users, Workloads,
        bootstrap::first_administrator,
        hash::{Cost, NoRandomness},
        password,
        users::{EditError, LoadError},
    },
    config::{Loaded, Source},
    fetch::TrustError,
    registry::Registry,
    reload::{self, Reloader},
    server::{BindError, Peer, Server, Shutdown},
    storage::{self, Claim, FilesystemStore, Store, StoreError, found},
    tls::{self, CertResolver, ClientTrust, Fingerprint, Hostname, NameWatch, acme::Challenges},
};

/// A server that is bound and ready to serve.
pub struct App {
    server: Server,
    api: Api,
    names: Arc<NameWatch>,
    registry: Registry,
    reloader: Reloader,
    keeper: Keeper,
    signals: Signals,
    first_start: FirstStart,
    claim: Claim,
}

/// What to tell whoever started the server.
pub struct FirstStart {
    /// How clients name this registry: host and port.
    pub host: String,
    /// The certificate authority, if it is our own.
    pub authority: Option<Authority>,
    /// The administrator that was made because there was no users file.
    pub administrator: Option<(UserName, Password)>,
    /// Whether anything was made that people must be told of.
    pub is_first: bool,
}

/// Our own certificate authority.
pub struct Authority {
    /// Its certificate, which clients must trust.
    pub certificate: PathBuf,
    /// By which a person recognises it.
    pub fingerprint: Fingerprint,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

impl App {
    /// Makes what is missing, loads what is there, and binds the addresses.
    pub async fn start(loaded: Loaded, source: Source) -> Result<Self, StartError> {
        raise_file_limit();
        reload::warn_of_doubts(&loaded);
        let Loaded { config, file, .. } = loaded;
        let signals = Signals::listen().map_err(StartError::Runtime)?;
        let store = open_store(&config.storage)?;
        let certificate = load_certificates(config.tls.clone()).await?;
        let authority = own_authority(&config.tls, &certificate);
        let authority_is_new = certificate.authority_is_new;
        let resolver = Arc::new(CertResolver::new(certificate.identities()));
        reload::warn_of_uncovered_names(&config.tls.hostnames, &resolver.identities());
        let clients = ClientTrust::load(config.tls.client.as_ref(), SystemTime::now()).map_err(tls::LoadError::from)?;
        let clients = Arc::new(clients);
        let names = Arc::new(NameWatch::new(resolver.clone()));
        let server_config = tls::server_config(config.tls.minimum_version, &names, &clients);
        let server_config = server_config.map_err(StartError::Protocol)?;
        let challenges = Challenges::new().map_err(StartError::Protocol)?;
        let server = Server::bind(&config.server, &config.tls.hostnames, server_config)?.answering(challenges.clone());
        let claim = claim_store(&config.storage)?;
        let keys = Arc::new(SigningKeys::load_or_create(config.auth.token.clone(), SystemTime::now())?);
        warn_of_other_algorithm(&keys, config.auth.token.algorithm);
        let administrator = make_administrator(config.auth.htpasswd.clone()).await?;
        let users = Arc::new(Users::load(config.auth.htpasswd.clone(), SystemTime::now())?);
        let workloads = Arc::new(Workloads::new(&config.workloads)?);

        let first_start = FirstStart {
            host: host(&config.tls.hostnames, server.addresses()),
            authority,
            is_first: authority_is_new || administrator.is_some(),
            administrator,
        };
        let grants = Grants::new(GrantStore::new(store.clone()), config.auth.token.refresh_lifetime);
        let registry = Registry::new(store, config.registry.clone());
        warn_of_split_store(&registry).await;
        let gate = Arc::new(ArcSwap::from_pointee(Gate::new(config.policy.clone())));
        let realm = Arc::new(ArcSwap::from_pointee(Realm::new(&config.tls.hostnames)));
        let passwords = PasswordChecker::new(users.clone(), config.auth.legacy_hashes, password::Limits::default())?;
        let lockout = Lockout::new(config.auth.lockout_attempts);
        let tokens = Tokens::new(keys.clone(), config.auth.token.clone())?;
        let api = Api::new(api::Parts {
            registry: registry.clone(),
            gate: gate.clone(),
            authenticator: Arc::new(Authenticator::new(
                users.clone(),
                passwords,
                lockout,
                tokens,
                grants,
                workloads.clone(),
                clients.clone(),
            )),
            realm: realm.clone(),
            challenge: config.auth.challenge,
            idle_timeout: config.server.limits.idle_timeout,
            authority: {
                let resolver = resolver.clone();
                Arc::new(move || resolver.current().authority().map(tls::Certificate::pem))
            },
            is_https_for_good: !matches!(config.tls.source, tls::Source::SelfSigned { .. }),
        });
        let (changes, current) = watch::channel(config.tls.clone());
        let answers_http = config.server.redirect.is_some();
        let keeper = Keeper { resolver: resolver.clone(), challenges, answers_http, config: current };
        let reloader =
            Reloader { source, file, config, users, keys, workloads, gate, realm, resolver, clients, changes };
        Ok(Self { server, api, names, registry, reloader, keeper, signals, first_start, claim })
    }

    /// What to tell whoever started the server.
    #[must_use]
    pub fn first_start(&self) -> &FirstStart {
        &self.first_start
    }

    /// Serves until the process is asked to stop, then lets running transfers end.
    pub async fn serve(self) {
        let Self { server, api, names, registry, reloader, keeper, signals, first_start, claim } = self;
        let Signals { mut terminate, mut interrupt, hangup } = signals;
        drop(first_start);
        tracing::info!(addresses = ?server.addresses(), "serving");
        audit::record(&Event::Started { version: env!("CARGO_PKG_VERSION") });
        let shutdown = Shutdown::new();
        let watching = tokio::spawn(async move {
            let users = reloader.users.clone().watch(Users::INTERVAL);
            let keys = reloader.keys.clone().watch(SigningKeys::INTERVAL);
            tokio::join!(users, keys, reloader.watch(hangup), keeper.keep())
        });
        let tending = tokio::spawn(registry.clone().tend());
        let stopping = shutdown.clone();
        tokio::spawn(async move {
            let mut asked = async || {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            };
            asked().await;
            tracing::info!("stopping: no new requests, running transfers may end");
            stopping.begin();
            asked().await;
            tracing::info!("asked again: running transfers are cut off");
            stopping.insist();
        });
        let drained = server.run(service(api, names), shutdown).await;
        watching.abort();
        // A collection can stop anywhere: each step leaves a registry that is whole.
        tending.abort();
        if drained.cut > 0 {
            tracing::warn!(connections = drained.cut, "cut off transfers that did not end in time");
        }
        // Commits whose client is gone end in moments; a disk that hangs must not keep the process for ever.
        if tokio::time::timeout(SETTLE, registry.settle()).await.is_err() {
            tracing::warn!("gave up waiting for the store");
        }
        drop(claim);
        tracing::info!("stopped");
        audit::record(&Event::Stopped);
    }
}

/// How long a commit may take after its client was cut off.
const SETTLE: Duration = Duration::from_secs(10);

/// The API as a service of hyper's bodies: what the server knows of a connection becomes what the API may know.
fn service(
    api: Api,
    names: Arc<NameWatch>,
) -> impl tower::Service<
    Request<Incoming>,
    Response = axum::response::Response,
    Error = std::convert::Infallible,
    Future: Send,
> + Clone
+ Send
+ Sync
+ 'static {
    MapRequest::new(api::router(api), move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        let peer = request.extensions().get::<Peer>();
        if let Some(peer) = peer {
            let asked =
                peer.forwarded_host.as_deref().and_then(|host| host.parse().ok()).or_else(|| authority(&request));
            if let Some(asked) = asked {
                names.look_at(asked.host());
            }
            let certificate = peer.tls.certificate.clone();
            let forwarded_host = peer.forwarded_host.clone();
            let connection = Connection { peer: peer.address, local: peer.local, forwarded_host, certificate };
            request.extensions_mut().insert(connection);
        }
        request
    })
}

/// The host that a request asks for, as HTTP/2 or HTTP/1.1 says it.
fn authority<B>(request: &Request<B>) -> Option<uri::Authority> {
    let named = || request.headers().get(header::HOST)?.to_str().ok()?.parse().ok();
    request.uri().authority().cloned().or_else(named)
}

/// Keeps other servers, and commands that change the data, off the store for as long as this one runs.
fn claim_store(config: &storage::Config) -> Result<Claim, StartError> {
    let storage::Config::Filesystem { root } = config;
    try_claim(config)?.ok_or_else(|| StartError::Claimed(root.clone()))
}

/// Likewise, for whoever can do something else if another one has the store.
pub(crate) fn try_claim(config: &storage::Config) -> Result<Option<Claim>, StoreError> {
    let storage::Config::Filesystem { root } = config;
    storage::claim(root).map_err(|error| StoreError::from_io(error, format!("claim {}", root.display())))
}

/// The store that the configuration names; made, if it is not there.
fn open_store(config: &storage::Config) -> Result<Arc<dyn Store>, StoreError> {
    match config {
        storage::Config::Filesystem { root } => Ok(Arc::new(FilesystemStore::open(root)?)),
    }
}

/// Likewise, for commands that work on what is there: a folder that a typing error names must not be made.
pub(crate) fn existing_store(config: &storage::Config) -> Result<Arc<dyn Store>, StartError> {
    match config {
        storage::Config::Filesystem { root } => {
            let opened = found(FilesystemStore::existing(root))?;
            Ok(Arc::new(opened.ok_or_else(|| StartError::NoStore(root.clone()))?))
        }
    }
}

/// Everything that is there can be pulled; `/readyz` and `portcullis check` say the same of it.
async fn warn_of_split_store(registry: &Registry) {
    if let Err(error) = registry.probe().await
        && error.is_split_store()
    {
        tracing::error!(hint = "keep the whole data folder on one file system", "nothing can be pushed: {error}");
    }
}

fn own_authority(config: &tls::Config, loaded: &tls::Loaded) -> Option<Authority> {
    match &config.source {
        tls::Source::Files { .. } | tls::Source::Acme(_) => None,
        tls::Source::SelfSigned { directory } => {
            let fingerprint = loaded.identity.authority_fingerprint()?;
            // From the root on, because the line that names it is pasted into another terminal than this one.
            let certificate = directory.join("ca.crt");
            let certificate = std::path::absolute(&certificate).unwrap_or(certificate);
            Some(Authority { certificate, fingerprint })
        }
    }
}

/// What a key file holds decides; the setting is for the next key.
fn warn_of_other_algorithm(keys: &SigningKeys, wanted: TokenAlgorithm) {
    let found = keys.current().signer().algorithm();
    if found != wanted {
        tracing::warn!(
            key = found.as_str(),
            setting = wanted.as_str(),
            hint = "portcullis token rotate",
            "the token key is of another algorithm than auth.token.algorithm, and signs with its own"
        );
    }
}

/// Reading files, and making keys where there are none, has no business on the executor.
async fn load_certificates(config: tls::Config) -> Result<tls::Loaded, StartError> {
    let loading = tokio::task::spawn_blocking(move || tls::load(&config, SystemTime::now(), &SystemRandom::new()));
    Ok(loading.await.map_err(|panic| StartError::Runtime(io::Error::other(panic)))??)
}

/// Hashing a password takes a while and has no business on the executor.
async fn make_administrator(path: PathBuf) -> Result<Option<(UserName, Password)>, StartError> {
    let made = tokio::task::spawn_blocking(move || first_administrator(&path, Cost::DEFAULT, &SystemRandom::new()));
    let made = made.await.map_err(|panic| StartError::Runtime(io::Error::other(panic)))?;
    Ok(made?)
}

/// How the names of our images begin. Docker takes a first component that has neither a dot nor a port for an account on
/// Docker Hub, so a machine that is called `harbour` is `harbour:443`, although `https` implies the port.
pub(crate) fn host(hostnames: &[Hostname], addresses: &[SocketAddr]) -> String {
    let port = addresses.first().map_or(443, SocketAddr::port);
    let host = hostnames.first().map_or_else(|| "localhost".to_owned(), |name| name.authority(port));
    if host == "localhost" || host.contains(['.', ':']) { host } else { format!("{host}:{port}") }
}

/// Every connection and every open blob is a file descriptor; the soft limit of 1024 is a courtesy to programs from the
/// time of `select`. If it cannot be raised, the server works with what it has.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The operating system gives no threads, timers or signals.
    #[error("the runtime cannot start")]
    Runtime(#[source] io::Error),
    /// The data folder cannot be used.
    #[error("data folder: {0}")]
    Store(#[from] StoreError),
    /// There is no data folder to work on.
    #[error("there is no data folder {}", .0.display())]
    NoStore(PathBuf),
    /// Another server, or a command that works on the data, has the data folder.
    #[error("data folder {}: another portcullis is using it", .0.display())]
    Claimed(PathBuf),
    /// There is no certificate to serve with.
    #[error(transparent)]
    Certificate(#[from] tls::LoadError),
    /// The TLS library refuses its configuration.
    #[error("TLS cannot be set up: {0}")]
    Protocol(rustls::Error),
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// There is no key to sign tokens with.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// What vouches for the issuer of a workload's tokens cannot be used.
    #[error("auth.workload: {0}")]
    Workload(#[from] TrustError),
    /// The users file cannot be made.
    #[error(transparent)]
    Administrator(#[from] EditError),
    /// The users file cannot be read.
    #[error(transparent)]
    Users(#[from] LoadError),
    /// The system has no randomness.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

impl StartError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Runtime(_) | Self::Protocol(_) | Self::Randomness(_) => None,
            Self::Store(_) => Some("name a folder that this user can write with --data DIR".to_owned()),
            Self::NoStore(_) => {
                Some("name the folder with --data DIR, or the configuration that does with --config FILE".to_owned())
            }
            Self::Claimed(_) => Some(
                "stop the other server or wait for the other command, or name another folder with --data DIR"
                    .to_owned(),
            ),
            Self::Certificate(error) => Some(error.hint()),
            Self::Bind(error) => Some(error.hint()),
            Self::Key(error) => Some(error.hint().to_owned()),
            Self::Workload(error) => Some(error.hint().to_owned()),
            Self::Administrator(error) => Some(error.hint().to_owned()),
            Self::Users(error) => Some(error.hint().to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_does_not_take_the_name_that_we_greet_with_for_an_account_on_docker_hub() {
        let greeted = |name: &str, port| host(&[name.parse().unwrap()], &[SocketAddr::from(([0, 0, 0, 0], port))]);
        assert_eq!(greeted("harbour", 443), "harbour:443");
        assert_eq!(greeted("harbour", 8443), "harbour:8443");
        assert_eq!(greeted("registry.example.com", 443), "registry.example.com");
        assert_eq!(greeted("localhost", 443), "localhost");
    }
}
