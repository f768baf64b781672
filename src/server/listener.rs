//! Accepting connections, and nothing else.
//!
//! Invariant: no connection without a permit, none beyond its network's share, and no error of one connection or of the
//! moment ends the loop: only a shutdown does.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::{
    Proxies, Shutdown,
    shares::{Network, Share, Shares},
};

/// How long to wait when the process has no file descriptor or memory left for another connection.
const BACK_OFF: Duration = Duration::from_millis(200);

/// How often, at most, it is said that a network has no connections left.
const SAID_AGAIN: Duration = Duration::from_secs(60);

/// How many connections there may be, and whose.
#[derive(Clone)]
pub(super) struct Places {
    permits: Arc<Semaphore>,
    shares: Shares,
    proxies: Arc<Proxies>,
}

impl Places {
    pub(super) fn new(connections: usize, proxies: Arc<Proxies>) -> Self {
        Self { permits: Arc::new(Semaphore::new(connections)), shares: Shares::of(connections), proxies }
    }
}

/// A connection as it was accepted.
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
}

/// Accepts until the shutdown begins; each connection is a task of `tasks` and holds a permit while it lasts.
pub(super) async fn accept_loop<F>(
    listener: TcpListener,
    places: Places,
    shutdown: Shutdown,
    tasks: TaskTracker,
    serve: impl Fn(Accepted) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut said = None;
    loop {
        // The permit comes first: without one, connections wait in the backlog and not in our memory.
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
                // A trusted proxy brings everybody's connections, and sees for itself how it shares them out.
                let share = if places.proxies.trusts(accepted.peer.ip()) {
                    None
                } else {
                    let Some(share) = share(&places.shares, accepted.peer, &mut said) else { continue };
                    Some(share)
                };
                let connection = serve(accepted);
                tasks.spawn(async move {
                    connection.await;
                    drop((permit, share));
                });
            }
            Err(error) if concerns_one_connection(&error) => {
                debug!(%error, "a connection ended before it was accepted");
            }
            Err(error) => {
                warn!(%error, "cannot accept connections at the moment; is the limit of open files (ulimit -n) too low?");
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

/// A share for a new connection; without one it is closed at once, which costs nobody anything.
fn share(shares: &Shares, peer: SocketAddr, said: &mut Option<Instant>) -> Option<Share> {
    let network = Network::of(peer.ip());
    let share = shares.admit(network);
    if share.is_none() && said.is_none_or(|when: Instant| when.elapsed() >= SAID_AGAIN) {
        *said = Some(Instant::now());
        warn!(%network, "a network has as many connections as are left for all others, and gets no more; raise \
              limits.connections if it should");
    }
    share
}

async fn accept(listener: &TcpListener) -> io::Result<Accepted> {
    let (stream, peer) = listener.accept().await?;
    // Answers are small or come in large writes: waiting for more to send gains nothing.
    stream.set_nodelay(true)?;
    let local = canonical(stream.local_addr()?);
    Ok(Accepted { stream, peer: canonical(peer), local })
}

/// An IPv4 client of an IPv6 socket is an IPv4 client.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn concerns_one_connection(error: &io::Error) -> bool {
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
