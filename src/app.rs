//! The composition root: builds the server and all its parts from the configuration, serves, and shuts down.
//!
//! Invariant: the start creates nothing that a later step could make useless. The addresses are bound before the first
//! administrator is created, so a server that does not run never prints a password.

mod admin;
mod api_service;
mod data_dir;
mod first_start;
mod shutdown;
mod start_error;
mod startup;

use std::{io, sync::Arc};

use arc_swap::ArcSwap;
use aws_lc_rs::rand::SystemRandom;
use tokio::sync::{mpsc, watch};

use crate::{
    access::Gate,
    acme::CertificateRenewer,
    admin_socket::TokenJobs,
    api::{self, Api, TokenRealm},
    audit::{self, AuditEvent},
    auth::{
        Authenticator, BearerTokenService, Lockout, PasswordVerifier, SigningKeys, StoredTokenService, TokenStore,
        Users, WorkloadRules, password_verifier, tokens::DeviceSweep,
    },
    clock::Clock,
    config::{ConfigSource, LoadedConfig},
    registry::Registry,
    reload::{self, Reloader},
    server::{Server, Shutdown},
    storage::DataDirLock,
    tls::{self, CertResolver, ClientTrust, SniMismatchLogger, acme::Challenges},
};
use admin::LockedDataDir;
use api_service::api_service;
pub(crate) use data_dir::{data_folders, existing_store, release_store, try_lock_store};
pub(crate) use first_start::registry_host;
pub use first_start::{FirstStart, OwnCa};
use first_start::{create_administrator, own_ca};
use shutdown::{COMMIT_TIMEOUT, Signals, stop_on_signals};
pub use start_error::StartError;
use startup::{raise_file_limit, remove_obsolete_files, warn_of_algorithm_mismatch, warn_of_split_store};

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
        let Signals { terminate, interrupt, hangup } = signals;
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
        tokio::spawn(stop_on_signals(terminate, interrupt, shutdown.clone()));
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

/// Loads or creates certificates and keys. The work blocks, so it runs outside the async executor.
async fn load_certificates(config: tls::TlsConfig, clock: &Clock) -> Result<tls::LoadedIdentities, StartError> {
    let now = clock.now();
    let loading = tokio::task::spawn_blocking(move || tls::load(&config, now, &SystemRandom::new()));
    Ok(loading.await.map_err(|panic| StartError::Runtime(io::Error::other(panic)))??)
}
