//! Accepts TCP connections within the connection limits.
//!
//! Invariant: every connection has a permit, and none exceeds its subnet's share. An error of one connection, or a
//! temporary error, does not end the loop; only a shutdown does.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use portcullis_net::Subnet;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::Instant,
};
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::{
    Shutdown, TrustedProxies,
    connection_limits::{ConnectionLimits, SubnetPermit},
};

/// Delay before the next accept when the process lacks a file descriptor or memory for another connection.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(200);

/// Minimum interval between two log messages about subnets that have reached their share.
const LIMIT_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The limits on connections: a total, and a share for each subnet.
#[derive(Clone)]
pub(super) struct AcceptLimits {
    permits: Arc<Semaphore>,
    shares: ConnectionLimits,
    proxies: Arc<TrustedProxies>,
}

impl AcceptLimits {
    pub(super) fn new(connections: usize, proxies: Arc<TrustedProxies>) -> Self {
        Self { permits: Arc::new(Semaphore::new(connections)), shares: ConnectionLimits::new(connections), proxies }
    }
}

/// An accepted connection and its addresses.
pub(super) struct AcceptedConnection {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
}

/// Accepts connections until the shutdown begins. Each connection is a task of `tasks` and holds a permit until it
/// ends.
pub(super) async fn accept_loop<F>(
    listener: TcpListener,
    places: AcceptLimits,
    shutdown: Shutdown,
    tasks: TaskTracker,
    serve: impl Fn(AcceptedConnection) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut last_logged = None;
    loop {
        // The permit comes first: without one, connections wait in the kernel's backlog and not in this process's
        // memory.
        let next = async {
            let permit = Arc::clone(&places.permits).acquire_owned().await;
            (permit, accept(&listener).await)
        };
        let (permit, accepted) = tokio::select! {
            next = next => next,
            () = shutdown.begun() => return,
        };
        match accepted {
            Ok(accepted) => {
                // All connections through a trusted proxy have its address; the proxy itself must share them out
                // fairly.
                let share = if places.proxies.trusts(accepted.peer.ip()) {
                    None
                } else {
                    let Some(share) = acquire_subnet_permit(&places.shares, accepted.peer, &mut last_logged) else {
                        continue;
                    };
                    Some(share)
                };
                let connection = serve(accepted);
                tasks.spawn(async move {
                    connection.await;
                    drop((permit, share));
                });
            }
            Err(error) if is_per_connection_error(&error) => {
                debug!(%error, "a connection ended before it was accepted");
            }
            Err(error) => {
                warn!(%error, "cannot accept connections at the moment; is the limit of open files (ulimit -n) too low?");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
}

/// Acquires a share for a new connection. Without a share, the caller closes the connection at once.
fn acquire_subnet_permit(
    shares: &ConnectionLimits,
    peer: SocketAddr,
    last_logged: &mut Option<Instant>,
) -> Option<SubnetPermit> {
    let network = Subnet::of_subscriber(peer.ip());
    let share = shares.acquire(network);
    if share.is_none() && last_logged.is_none_or(|when: Instant| when.elapsed() >= LIMIT_LOG_INTERVAL) {
        *last_logged = Some(Instant::now());
        warn!(%network, "a subnet has as many connections as are left for all others, and gets no more; raise \
              limits.connections if it needs more");
    }
    share
}

async fn accept(listener: &TcpListener) -> io::Result<AcceptedConnection> {
    let (stream, peer) = listener.accept().await?;
    // Responses are small or are sent in large writes, so waiting for more data (Nagle's algorithm) gains nothing.
    stream.set_nodelay(true)?;
    let local = to_canonical(stream.local_addr()?);
    Ok(AcceptedConnection { stream, peer: to_canonical(peer), local })
}

/// Converts an IPv4-mapped IPv6 address to IPv4.
fn to_canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn is_per_connection_error(error: &io::Error) -> bool {
    let kinds = [
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::ConnectionRefused,
        io::ErrorKind::NotConnected,
        io::ErrorKind::InvalidInput, // set_nodelay on a socket that the peer has already reset
        io::ErrorKind::Interrupted,
    ];
    kinds.contains(&error.kind())
}
