//! Connections that wait for their next request.
//!
//! Invariant: no more than `max_per_origin` connections wait for each origin. A connection that the server has closed,
//! or that has waited for too long, is not handed out.

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Origin, connection::Connection};

/// Unused connections by origin.
pub(super) struct IdlePool {
    max_per_origin: usize,
    timeout: Duration,
    /// The newest at the end.
    connections: Mutex<HashMap<Origin, Vec<IdleConnection>>>,
}

struct IdleConnection {
    connection: Connection,
    since: Instant,
}

impl IdlePool {
    pub(super) fn new(max_per_origin: usize, timeout: Duration) -> Self {
        Self { max_per_origin, timeout, connections: Mutex::default() }
    }

    /// Keeps a connection for the next request. If there are too many, the oldest closes. Connections of other origins
    /// that have waited for too long close as well, so that none is kept for an origin that is not used any more.
    pub(super) fn put(&self, origin: Origin, connection: Connection) {
        let now = Instant::now();
        let mut connections = self.connections.lock();
        connections.retain(|_, idle| {
            idle.retain(|idle| self.is_usable(idle, now));
            !idle.is_empty()
        });
        if self.max_per_origin == 0 {
            return;
        }
        let idle = connections.entry(origin).or_default();
        if idle.len() >= self.max_per_origin {
            idle.remove(0);
        }
        idle.push(IdleConnection { connection, since: now });
    }

    /// A connection that can take a request, the one that was used last: the server is least likely to be closing it.
    pub(super) async fn take_ready(&self, origin: &Origin) -> Option<Connection> {
        loop {
            let mut connection = self.take(origin)?;
            if connection.is_ready().await {
                return Some(connection);
            }
        }
    }

    fn take(&self, origin: &Origin) -> Option<Connection> {
        let now = Instant::now();
        let mut connections = self.connections.lock();
        let idle = connections.get_mut(origin)?;
        while let Some(newest) = idle.pop() {
            if self.is_usable(&newest, now) {
                return Some(newest.connection);
            }
        }
        None
    }

    /// How many connections wait for an origin.
    #[cfg(test)]
    pub(super) fn len(&self, origin: &Origin) -> usize {
        self.connections.lock().get(origin).map_or(0, Vec::len)
    }

    /// How many of them are not known to be closed.
    #[cfg(test)]
    pub(super) fn open_count(&self, origin: &Origin) -> usize {
        let connections = self.connections.lock();
        let waiting = connections.get(origin).into_iter().flatten();
        waiting.filter(|idle| !idle.connection.is_closed()).count()
    }

    fn is_usable(&self, idle: &IdleConnection, now: Instant) -> bool {
        !idle.connection.is_closed() && now.duration_since(idle.since) < self.timeout
    }
}
