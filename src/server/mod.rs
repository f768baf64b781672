//! Sockets: listening, handshakes, HTTP connections, and stopping without cutting anybody off.
//!
//! Process floor: imports [`tls`](crate::tls) only and knows nothing of what the service behind it does. The one
//! invariant: nobody can hold a connection for nothing. Every wait for a client has a deadline, counted from the last
//! thing that moved and never from the beginning of a transfer.
//!
//! ```text
//! bind ─▶ listener (permit, share) ─▶ proxy (whose connection) ─▶ handshake ─┬─ TLS ─▶ connection (HTTP/1, HTTP/2) ─▶ the service
//!                                                                           └─ plain HTTP ─▶ an answer in words
//! redirect listener (permit of its own) ────▶ 308 to https
//! ```

mod activity;
mod bind;
mod config;
mod connection;
mod farewell;
mod forwarded;
mod handshake;
mod listener;
mod peer;
mod plain;
mod proxies;
mod proxy;
mod redirect;
mod shares;
mod shutdown;
mod stall;
#[cfg(test)]
mod tests;
mod windows;

use std::{convert::Infallible, error::Error, net::SocketAddr, sync::Arc};

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::{net::TcpListener, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service;

pub use bind::{BindError, refused};
pub use config::{Config, Limits};
pub use peer::{Agreed, Peer};
pub use proxies::{InvalidNetwork, Network, Proxies};
pub use shutdown::{Drained, Shutdown};

use crate::tls::{Hostname, Protocols, acme::Challenges};
use connection::Shared;
use listener::{Places, accept_loop};
use windows::Windows;

/// A server that has its addresses and waits for [`run`](Server::run).
pub struct Server {
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    redirect: Option<TcpListener>,
    hostnames: Arc<[Hostname]>,
    tls: Arc<Protocols>,
    challenges: Option<Arc<Challenges>>,
    limits: Limits,
    proxies: Arc<Proxies>,
}

impl Server {
    /// Listens on every configured address, or on none. Must be called within a tokio runtime.
    ///
    /// `hostnames` are the names that answers may send clients to, the preferred one first.
    pub fn bind(config: &Config, hostnames: &[Hostname], tls: Protocols) -> Result<Self, BindError> {
        let listeners = bind::bind_all(&config.listen)?;
        let redirect = config.redirect.map(bind::bind).transpose()?;
        let addresses =
            listeners.iter().zip(&config.listen).map(|(listener, wanted)| actual(listener, *wanted)).collect();
        Ok(Self {
            listeners,
            addresses,
            redirect,
            hostnames: hostnames.into(),
            proxies: Arc::new(config.proxies.clone()),
            tls: Arc::new(tls),
            challenges: None,
            limits: config.limits,
        })
    }

    /// Also answers validations of an ACME directory, while there are any.
    #[must_use]
    pub fn answering(self, challenges: Arc<Challenges>) -> Self {
        Self { challenges: Some(challenges), ..self }
    }

    /// The addresses that speak HTTPS, with the ports that the system chose where the configuration said 0.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves until the shutdown begins and running requests are done, or the drain timeout is over.
    ///
    /// Each request carries a [`Peer`] as an extension. Reading a request's body has no deadline here: only the service
    /// knows whether it is waiting for the client or for itself. It is given [`Limits::idle_timeout`] to apply.
    pub async fn run<S, B>(self, service: S, shutdown: Shutdown) -> Drained
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
            let places = Places::new(redirect::CONNECTIONS, Arc::clone(&proxies));
            // Nobody waits for these: they carry nothing that could be lost.
            loops.spawn(accept_loop(listener, places, shutdown.clone(), TaskTracker::new(), move |accepted| {
                redirect::serve(
                    accepted,
                    Arc::clone(&hostnames),
                    Arc::clone(&proxies),
                    port,
                    challenges.clone(),
                    limits,
                )
            }));
        }
        let (cut, windows) = (CancellationToken::new(), Windows::new());
        let shared = Shared {
            tls,
            challenges,
            hostnames,
            proxies: Arc::clone(&proxies),
            limits,
            windows,
            service,
            shutdown: shutdown.clone(),
            cut: cut.clone(),
        };
        let (shared, places) = (Arc::new(shared), Places::new(limits.connections, proxies));
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

async fn drain(connections: &TaskTracker, cut: &CancellationToken, shutdown: &Shutdown, limits: Limits) -> Drained {
    connections.close();
    tokio::select! {
        () = connections.wait() => return Drained { cut: 0 },
        () = sleep(limits.drain_timeout) => {}
        () = shutdown.insisted() => {}
    }
    let left = connections.len();
    cut.cancel();
    connections.wait().await;
    Drained { cut: left }
}

fn actual(listener: &TcpListener, wanted: SocketAddr) -> SocketAddr {
    // A bound socket knows its address; if the system will not say, what was asked for is the best answer.
    listener.local_addr().unwrap_or(wanted)
}
