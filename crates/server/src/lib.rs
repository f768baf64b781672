//! The TLS server: listens on sockets, performs handshakes, serves HTTP connections and drains them on shutdown.
//!
//! It imports [`net`](portcullis_net) and [`tls`](portcullis_tls) only, and is independent of the service that it
//! serves.
//!
//! Invariant: a client cannot hold a connection without using it. Every wait for a client has a deadline, counted from
//! the last progress and never from the start of a transfer.
//!
//! ```text
//! bind ─▶ listener (permit, share) ─▶ proxy ─▶ handshake ─┬─ TLS ─▶ connection (HTTP/1, HTTP/2) ─▶ the service
//!                                                         └─ plain HTTP ─▶ an error response
//! redirect listener (permit of its own) ────▶ 308 to https
//! ```

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make their values from the system's clocks"))]

mod bind;
mod config;
mod connection;
mod connection_limits;
mod forwarded_headers;
mod h2_flow_control;
mod handshake;
mod https_redirect;
mod idle;
mod lingering_close;
mod listener;
mod peer;
mod plaintext_http;
mod proxy_protocol;
mod shutdown;
#[cfg(test)]
mod tests;
mod trusted_proxies;
mod write_timeout;

use std::{convert::Infallible, error::Error, net::SocketAddr, sync::Arc};

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::{net::TcpListener, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service;

pub use bind::{BindError, bind_errors};
pub use config::{HttpServerConfig, ServerLimits};
pub use peer::{Peer, TlsInfo};
pub use shutdown::{DrainResult, Shutdown};
pub use trusted_proxies::TrustedProxies;

use connection::ConnectionContext;
use h2_flow_control::WindowBudget;
use listener::{AcceptLimits, accept_loop};
use portcullis_tls::{Hostname, RustlsConfigs, acme::Challenges};

/// A server that listens on its addresses; [`run`](Server::run) starts serving.
pub struct Server {
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    redirect: Option<TcpListener>,
    hostnames: Arc<[Hostname]>,
    tls: Arc<RustlsConfigs>,
    challenges: Option<Arc<Challenges>>,
    limits: ServerLimits,
    proxies: Arc<TrustedProxies>,
}

impl Server {
    /// Listens on every configured address, or on none. Must be called within a tokio runtime.
    ///
    /// `hostnames` are the names that responses may send clients to, the preferred one first.
    pub fn bind(config: &HttpServerConfig, hostnames: &[Hostname], tls: RustlsConfigs) -> Result<Self, BindError> {
        let listeners = bind::bind_all(&config.listen)?;
        let redirect = config.redirect.map(bind::bind).transpose()?;
        let addresses =
            listeners.iter().zip(&config.listen).map(|(listener, wanted)| bound_address(listener, *wanted)).collect();
        Ok(Self {
            listeners,
            addresses,
            redirect,
            hostnames: hostnames.into(),
            proxies: Arc::new(config.trusted_proxies.clone()),
            tls: Arc::new(tls),
            challenges: None,
            limits: config.limits,
        })
    }

    /// Also answers validation requests of an ACME directory while a validation is running.
    #[must_use]
    pub fn with_acme_challenges(self, challenges: Arc<Challenges>) -> Self {
        Self { challenges: Some(challenges), ..self }
    }

    /// Returns the addresses that serve HTTPS, with the ports that the system chose where the configured port is 0.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves until the shutdown begins and running requests have finished, or the drain timeout is over.
    ///
    /// Each request carries a [`Peer`] as an extension. This server sets no deadline for reading a request's body,
    /// because only the service can determine whether it is waiting for the client or is busy itself. The service must
    /// apply [`ServerLimits::idle_timeout`].
    pub async fn run<S, B>(self, service: S, shutdown: Shutdown) -> DrainResult
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let Self { listeners, addresses, redirect, hostnames, tls, challenges, limits, proxies } = self;
        let (connections, loops) = (TaskTracker::new(), TaskTracker::new());
        if let (Some(listener), Some(tls_address)) = (redirect, addresses.first()) {
            let (hostnames, port, challenges) = (Arc::clone(&hostnames), tls_address.port(), challenges.clone());
            let proxies = Arc::clone(&proxies);
            let places = AcceptLimits::new(https_redirect::MAX_CONNECTIONS, Arc::clone(&proxies));
            // The shutdown does not wait for these connections: they carry nothing that could be lost.
            loops.spawn(accept_loop(listener, places, shutdown.clone(), TaskTracker::new(), move |accepted| {
                https_redirect::serve(
                    accepted,
                    Arc::clone(&hostnames),
                    Arc::clone(&proxies),
                    port,
                    challenges.clone(),
                    limits,
                )
            }));
        }
        let (cut, windows) = (CancellationToken::new(), WindowBudget::new());
        let shared = ConnectionContext {
            tls,
            challenges,
            hostnames,
            proxies: Arc::clone(&proxies),
            limits,
            windows,
            service,
            shutdown: shutdown.clone(),
            abort: cut.clone(),
        };
        let (shared, places) = (Arc::new(shared), AcceptLimits::new(limits.connections, proxies));
        for listener in listeners {
            let shared = Arc::clone(&shared);
            let serve = move |accepted| connection::serve(accepted, Arc::clone(&shared));
            loops.spawn(accept_loop(listener, places.clone(), shutdown.clone(), connections.clone(), serve));
        }

        shutdown.begun().await;
        loops.close();
        loops.wait().await;
        drain(&connections, &cut, &shutdown, limits).await
    }
}

async fn drain(
    connections: &TaskTracker,
    cut: &CancellationToken,
    shutdown: &Shutdown,
    limits: ServerLimits,
) -> DrainResult {
    connections.close();
    tokio::select! {
        () = connections.wait() => return DrainResult { dropped: 0 },
        () = sleep(limits.drain_timeout) => {}
        () = shutdown.forced() => {}
    }
    let left = connections.len();
    cut.cancel();
    connections.wait().await;
    DrainResult { dropped: left }
}

fn bound_address(listener: &TcpListener, wanted: SocketAddr) -> SocketAddr {
    // A bound socket has a local address; if the system fails to return it, the configured one is used.
    listener.local_addr().unwrap_or(wanted)
}
