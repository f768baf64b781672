//! The composition root: builds the server and all its parts from the configuration, serves, and shuts down.
//!
//! Invariant: the start creates nothing that a later step could make useless. The addresses are bound before the first
//! administrator is created, so a server that does not run never prints a password.

mod admin;
mod data_dir;

use std::{convert::Infallible, error::Error, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use aws_lc_rs::rand::SystemRandom;
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
};
use tower::{Service, util::MapRequest};

use crate::{
    access::{Gate, UserName},
    acme::CertificateRenewer,
    admin_socket::TokenJobs,
    api::{self, Api, ConnectionInfo, RequestedHost, TokenRealm},
    audit::{self, AuditEvent},
    auth::{
        Authenticator, BearerTokenService, KeyError, Lockout, Password, PasswordVerifier, SigningKeys,
        StoredTokenService, TokenAlgorithm, TokenStore, Users, WorkloadRules,
        passwords::hash::{BcryptCost, NoRandomness},
        passwords::password_verifier,
        tokens::DeviceSweep,
        users::first_administrator::create_first_administrator,
        users::{EditError, UsersFileError},
    },
    clock::Clock,
    config::{ConfigSource, LoadedConfig},
    http_client::TrustedRootsError,
    registry::Registry,
    reload::{self, Reloader},
    server::{BindError, Peer, Server, Shutdown},
    storage::{DataDirLock, StoreError},
    tls::{self, CertResolver, ClientTrust, Fingerprint, Hostname, SniMismatchLogger, acme::Challenges},
};
use admin::LockedDataDir;
pub(crate) use data_dir::{data_folders, existing_store, release_store, try_lock_store};

/// A server with bound addresses, ready to serve.
pub struct App {
    server: Server,
    api: Api,
    names: Arc<SniMismatchLogger>,
    registry: Registry,
    reloader: Reloader,
    keeper: CertificateRenewer,
    device_sweep: DeviceSweep,
    signals: Signals,
    first_start: FirstStart,
    data_dir: LockedDataDir,
    jobs: TokenJobs,
}

/// The facts that the first-start banner shows to the operator.
pub struct FirstStart {
    /// The host with the port, as clients address this registry in image names.
    pub host: String,
    /// The certificate authority (CA), if the server created its own.
    pub authority: Option<OwnCa>,
    /// The administrator account, if the server created it because there was no users file.
    pub administrator: Option<(UserName, Password)>,
    /// Whether the start created anything that the operator has to know.
    pub is_first: bool,
}

/// The certificate authority that the server created for itself.
pub struct OwnCa {
    /// The path of its certificate, which clients must trust.
    pub certificate: PathBuf,
    /// The fingerprint by which a person verifies the certificate.
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
    /// Creates missing files, loads existing ones, and binds the addresses.
    pub async fn start(loaded: LoadedConfig, source: ConfigSource, clock: Clock) -> Result<Self, StartError> {
        raise_file_limit();
        reload::log_config_warnings(&loaded);
        let LoadedConfig { config, file, .. } = loaded;
        let signals = Signals::listen().map_err(StartError::Runtime)?;
        let store = data_dir::open_store(&config.storage, &clock)?;
        let certificate = load_certificates(config.tls.clone(), &clock).await?;
        let authority = own_ca(&config.tls, &certificate);
        let authority_is_new = certificate.authority_is_new;
        let resolver = Arc::new(CertResolver::new(certificate.identities()));
        reload::warn_of_uncovered_names(&config.tls.hostnames, &resolver.identities());
        let clients = ClientTrust::load(config.tls.client.as_ref(), clock.now()).map_err(tls::LoadError::from)?;
        let clients = Arc::new(clients);
        let names = Arc::new(SniMismatchLogger::new(resolver.clone()));
        let server_config = tls::server_config(config.tls.minimum_version, &names, &clients);
        let server_config = server_config.map_err(StartError::Protocol)?;
        let challenges = Challenges::new().map_err(StartError::Protocol)?;
        let server = Server::bind(&config.server, &config.tls.hostnames, server_config)?
            .with_acme_challenges(challenges.clone());
        let data_dir = LockedDataDir::lock(config.storage.clone()).await?;
        let keys = Arc::new(SigningKeys::load_or_create(config.auth.token.clone(), clock.now())?);
        warn_of_algorithm_mismatch(&keys, config.auth.token.algorithm);
        let administrator = create_administrator(config.auth.htpasswd.clone()).await?;
        let users = Arc::new(Users::load(config.auth.htpasswd.clone(), clock.now())?);
        let workloads = Arc::new(WorkloadRules::new(&config.workloads)?);

        let first_start = FirstStart {
            host: registry_host(&config.tls.hostnames, server.addresses()),
            authority,
            is_first: authority_is_new || administrator.is_some(),
            administrator,
        };
        let (token_store, refresh_lifetime) = (TokenStore::new(store.clone()), config.auth.token.refresh_lifetime);
        let device_sweep = DeviceSweep::new(token_store.clone(), refresh_lifetime, clock.clone());
        let stored_tokens = Arc::new(StoredTokenService::new(token_store, refresh_lifetime, clock.clone()));
        let jobs = TokenJobs::new(stored_tokens.clone(), users.clone(), config.auth.legacy_hashes, clock.clone());
        let registry = Registry::new(store, config.registry.clone(), clock.clone());
        warn_of_split_store(&registry).await;
        remove_obsolete_files(&registry).await;
        let gate = Arc::new(ArcSwap::from_pointee(Gate::new(config.policy.clone())));
        let realm = Arc::new(ArcSwap::from_pointee(TokenRealm::new(&config.tls.hostnames)));
        let passwords = PasswordVerifier::new(
            users.clone(),
            config.auth.legacy_hashes,
            password_verifier::HashingLimits::default(),
            clock.clone(),
        )?;
        let lockout = Lockout::new(config.auth.lockout_attempts);
        let tokens = BearerTokenService::new(keys.clone(), config.auth.token.clone(), clock.clone())?;
        let api = Api::new(api::ApiComponents {
            registry: registry.clone(),
            gate: gate.clone(),
            authenticator: Arc::new(Authenticator::new(
                users.clone(),
                passwords,
                lockout,
                tokens,
                stored_tokens,
                workloads.clone(),
                clients.clone(),
                clock.clone(),
            )),
            realm: realm.clone(),
            challenge: config.auth.challenge,
            idle_timeout: config.server.limits.idle_timeout,
            ca_certificate: {
                let resolver = resolver.clone();
                Arc::new(move || resolver.current().authority().map(tls::Certificate::pem))
            },
            sends_hsts: !matches!(config.tls.source, tls::CertificateSource::SelfSigned { .. }),
            clock: clock.clone(),
        });
        let (changes, current) = watch::channel(config.tls.clone());
        let answers_http = config.server.redirect.is_some();
        let keeper = CertificateRenewer {
            resolver: resolver.clone(),
            challenges,
            answers_http,
            config: current,
            clock: clock.clone(),
        };
        let reloader = Reloader {
            source,
            file,
            config,
            users,
            keys,
            workloads,
            gate,
            realm,
            resolver,
            clients,
            changes,
            clock: clock.clone(),
        };
        Ok(Self { server, api, names, registry, reloader, keeper, device_sweep, signals, first_start, data_dir, jobs })
    }

    /// The facts that the first-start banner shows to the operator.
    #[must_use]
    pub fn first_start(&self) -> &FirstStart {
        &self.first_start
    }

    /// Serves until the process receives SIGTERM or SIGINT, then lets running transfers finish. Returns the lock of the
    /// data folder if all commits have ended. The caller releases it as clean after the runtime has ended, which waits
    /// for operations of tasks that were cut off.
    pub async fn serve(self) -> Option<DataDirLock> {
        let Self { server, api, names, registry, reloader, keeper, device_sweep, signals, first_start, data_dir, jobs } =
            self;
        let clock = reloader.clock.clone();
        let Signals { mut terminate, mut interrupt, hangup } = signals;
        drop(first_start);
        tracing::info!(addresses = ?server.addresses(), "serving");
        audit::record(&AuditEvent::Started { version: env!("CARGO_PKG_VERSION") });
        let shutdown = Shutdown::new();
        let (reloads, reload_requests) = mpsc::channel(1);
        let (admin, lock) = data_dir.serve(registry.clone(), reloads, jobs, clock.clone());
        // A task of its own, so that a failure of the sweep does not end the reloads.
        let sweeping = tokio::spawn(device_sweep.run(reloader.users.clone()));
        let watching = tokio::spawn(async move {
            let users = reloader.users.clone().watch(Users::POLL_INTERVAL, clock.clone());
            let keys = reloader.keys.clone().watch(SigningKeys::POLL_INTERVAL, clock);
            tokio::join!(users, keys, reloader.run(hangup, reload_requests), keeper.run())
        });
        let tending = tokio::spawn(registry.clone().collect_periodically());
        let stopping = shutdown.clone();
        tokio::spawn(async move {
            let mut asked = async || {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            };
            asked().await;
            tracing::info!("stopping: no new requests, running transfers may finish");
            stopping.begin();
            asked().await;
            tracing::info!("second signal: cutting off running transfers");
            stopping.force();
        });
        let drained = server.run(api_service(api, names), shutdown).await;
        admin.stop().await;
        watching.abort();
        sweeping.abort();
        // Garbage collection can stop at any point: each step leaves a consistent registry.
        tending.abort();
        if drained.dropped > 0 {
            tracing::warn!(connections = drained.dropped, "cut off transfers that did not finish in time");
        }
        // A commit whose client has disconnected finishes within moments. A hanging disk must not delay the exit
        // further.
        let is_finished = tokio::time::timeout(COMMIT_TIMEOUT, registry.wait_for_tasks()).await.is_ok();
        if !is_finished {
            tracing::warn!("gave up waiting for the store to finish its commits");
        }
        tracing::info!("stopped");
        audit::record(&AuditEvent::Stopped);
        // A request of a command that did not end has the lock, too; then the folder is not clean.
        Arc::into_inner(lock).filter(|_| is_finished)
    }
}

/// The time limit for commits that are still running after the last connection is closed.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Adapts the API to the server: passes it each request with what the server has found out about the connection.
fn api_service(
    api: Api,
    names: Arc<SniMismatchLogger>,
) -> impl Service<
    Request<Incoming>,
    Response = Response<impl Body<Data = Bytes, Error: Error + Send + Sync> + Send + 'static>,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send
+ Sync
+ 'static {
    MapRequest::new(api::service(api), move |mut request: Request<Incoming>| {
        let peer = request.extensions_mut().remove::<Peer>().expect("the server adds it to every request");
        let requested_host = RequestedHost::parse(peer.forwarded_host.as_deref(), request.uri(), request.headers());
        if let Some(host) = requested_host.host() {
            names.log_if_unknown(host);
        }
        let connection = ConnectionInfo {
            peer: peer.address.ip(),
            local_port: peer.local.port(),
            requested_host,
            certificate: peer.tls.certificate,
        };
        (connection, request)
    })
}

/// Logs an error if the data folder spans several file systems. The server starts all the same, because pulls work;
/// `/readyz` and `portcullis check` report the same error.
async fn warn_of_split_store(registry: &Registry) {
    if let Err(error) = registry.probe().await
        && error.is_split_store()
    {
        tracing::error!(hint = "keep the whole data folder on one file system", "nothing can be pushed: {error}");
    }
}

/// Removes the files of earlier versions. The server starts all the same if that fails.
async fn remove_obsolete_files(registry: &Registry) {
    if let Err(error) = registry.remove_obsolete_files().await {
        tracing::warn!(%error, "the files of an earlier version are not removed");
    }
}

fn own_ca(config: &tls::TlsConfig, loaded: &tls::LoadedIdentities) -> Option<OwnCa> {
    match &config.source {
        tls::CertificateSource::Files { .. } | tls::CertificateSource::Acme(_) => None,
        tls::CertificateSource::SelfSigned { directory } => {
            let fingerprint = loaded.identity.authority_fingerprint()?;
            // The path is absolute, because the user pastes the line with it into another terminal.
            let certificate = directory.join("ca.crt");
            let certificate = std::path::absolute(&certificate).unwrap_or(certificate);
            Some(OwnCa { certificate, fingerprint })
        }
    }
}

/// Warns if the key has another algorithm than the setting: the algorithm of the existing key applies, and the setting
/// is for the next key.
fn warn_of_algorithm_mismatch(keys: &SigningKeys, wanted: TokenAlgorithm) {
    let found = keys.current().signer().algorithm();
    if found != wanted {
        tracing::warn!(
            key = found.as_str(),
            setting = wanted.as_str(),
            hint = "portcullis token rotate",
            "the token key has another algorithm than auth.token.algorithm; tokens are signed with the algorithm of the key"
        );
    }
}

/// Loads or creates certificates and keys. The work blocks, so it runs outside the async executor.
async fn load_certificates(config: tls::TlsConfig, clock: &Clock) -> Result<tls::LoadedIdentities, StartError> {
    let now = clock.now();
    let loading = tokio::task::spawn_blocking(move || tls::load(&config, now, &SystemRandom::new()));
    Ok(loading.await.map_err(|panic| StartError::Runtime(io::Error::other(panic)))??)
}

/// Creates the first administrator if there is no users file. Hashing the password blocks, so it runs outside the async
/// executor.
async fn create_administrator(path: PathBuf) -> Result<Option<(UserName, Password)>, StartError> {
    let made = tokio::task::spawn_blocking(move || {
        create_first_administrator(&path, BcryptCost::DEFAULT, &SystemRandom::new())
    });
    let made = made.await.map_err(|panic| StartError::Runtime(io::Error::other(panic)))?;
    Ok(made?)
}

/// The host that image names of this registry begin with. Docker takes a first component with neither a dot nor a port
/// for an account on Docker Hub, so a machine `buildhost` becomes `buildhost:443`, although `https` implies the port.
pub(crate) fn registry_host(hostnames: &[Hostname], addresses: &[SocketAddr]) -> String {
    let port = addresses.first().map_or(443, SocketAddr::port);
    let host = hostnames.first().map_or_else(|| "localhost".to_owned(), |name| name.authority(port));
    if host == "localhost" || host.contains(['.', ':']) { host } else { format!("{host}:{port}") }
}

/// Raises the soft limit of open files to the hard limit: every connection and every open blob needs a file descriptor,
/// and the usual soft limit of 1024 exists only for programs that use `select`. If the limit cannot be raised, the
/// server continues with the lower one.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::debug!(%error, "cannot raise the limit of open files");
    }
}

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The operating system provides no threads, timers or signals.
    #[error("the runtime cannot start")]
    Runtime(#[source] io::Error),
    /// The data folder cannot be used.
    #[error("data folder: {0}")]
    Store(#[from] StoreError),
    /// The data folder does not exist.
    #[error("there is no data folder {}", .0.display())]
    NoStore(PathBuf),
    /// Another server, or a command that changes the data, has locked the data folder.
    #[error("data folder {}: another portcullis is using it", .0.display())]
    Locked(PathBuf),
    /// The server certificate cannot be loaded or created.
    #[error(transparent)]
    Certificate(#[from] tls::LoadError),
    /// The TLS library rejects its configuration.
    #[error("TLS cannot be set up: {0}")]
    Protocol(rustls::Error),
    /// An address cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The key that signs tokens cannot be loaded or created.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The trusted CA certificates for the issuer of workload tokens cannot be used.
    #[error("auth.workload: {0}")]
    Workload(#[from] TrustedRootsError),
    /// The users file cannot be created.
    #[error(transparent)]
    Administrator(#[from] EditError),
    /// The users file cannot be read.
    #[error(transparent)]
    Users(#[from] UsersFileError),
    /// The operating system provides no random numbers.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

impl StartError {
    /// Advice for the operator on how to fix the error, if there is any.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Runtime(_) | Self::Protocol(_) | Self::Randomness(_) => None,
            Self::Store(_) => Some("name a folder that this user can write with --data DIR".to_owned()),
            Self::NoStore(_) => {
                Some("pass the data folder with --data DIR, or a configuration file with --config FILE".to_owned())
            }
            Self::Locked(_) => Some(
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
        let greeted =
            |name: &str, port| registry_host(&[name.parse().unwrap()], &[SocketAddr::from(([0, 0, 0, 0], port))]);
        assert_eq!(greeted("buildhost", 443), "buildhost:443");
        assert_eq!(greeted("buildhost", 8443), "buildhost:8443");
        assert_eq!(greeted("registry.example.com", 443), "registry.example.com");
        assert_eq!(greeted("localhost", 443), "localhost");
    }
}
