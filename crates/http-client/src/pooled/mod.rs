//! A streaming HTTP/1.1 client that keeps connections open between requests.
//!
//! It is for services that receive many requests and large bodies, such as an object store. Bodies stream in both
//! directions; memory is bounded by the buffers of a connection. Timeouts count the time without progress, so a large
//! transfer may take as long as it needs.
//!
//! Invariant: a request is sent once. It is sent again on another connection only if no byte of it was written to the
//! first, and redirects are not followed; the caller decides about every other repetition ([`Delivery`]).

mod config;
mod connection;
mod error;
mod idle_pool;
mod origin;
mod proxy;
mod request_body;
mod response_body;
mod tunnel;
mod watched_stream;

#[cfg(test)]
mod tests;

use std::{error::Error, fmt, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, Version, header, uri::PathAndQuery};
use http_body::Body;
use tokio::time::timeout;

use self::{
    connection::Connection, idle_pool::IdlePool, proxy::Proxy, request_body::RequestBody, response_body::into_response,
    tunnel::open_tunnel, watched_stream::WatchedStream,
};
use super::connector::{ConnectError, Connector};

pub use self::{
    config::{PoolConfig, PoolTimeouts},
    error::{Delivery, RequestError},
    origin::{InvalidOrigin, Origin},
    proxy::{InvalidProxy, Proxies},
    response_body::ResponseBody,
};

/// An HTTP/1.1 client with a pool of connections. Clones share the pool.
#[derive(Clone)]
pub struct PooledClient {
    connector: Connector,
    plaintext_origins: Arc<[Origin]>,
    proxies: Arc<Proxies>,
    timeouts: PoolTimeouts,
    idle: Arc<IdlePool>,
}

impl PooledClient {
    /// A client without connections.
    pub fn new(config: &PoolConfig) -> Result<Self, rustls::Error> {
        Ok(Self {
            connector: Connector::new(&config.trust)?,
            plaintext_origins: config.plaintext_origins.clone().into(),
            proxies: Arc::new(config.proxies.clone()),
            timeouts: config.timeouts,
            idle: Arc::new(IdlePool::new(config.max_idle_per_origin, config.idle_timeout)),
        })
    }

    /// Sends a request and returns the response as soon as its head has arrived, whatever its status. The URI is
    /// absolute. `Host` is set from it if the request has none, and `Content-Length` from the body if its size is
    /// known.
    ///
    /// Dropping the future, or the response before the end of its body, closes the connection.
    pub async fn send<B>(&self, request: Request<B>) -> Result<Response<ResponseBody>, RequestError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let origin = Origin::from_uri(request.uri()).map_err(|_| RequestError::InvalidRequest)?;
        if origin.is_plaintext() && !self.plaintext_origins.contains(&origin) {
            return Err(RequestError::PlaintextRefused(origin));
        }
        let request = request.map(RequestBody::new);
        let request = match self.proxies.find(&origin) {
            Some(proxy) if origin.is_plaintext() => in_absolute_form(request, &origin, proxy)?,
            Some(_) | None => in_origin_form(request, &origin)?,
        };
        self.exchange(&origin, request).await
    }

    async fn exchange(
        &self,
        origin: &Origin,
        mut request: Request<RequestBody>,
    ) -> Result<Response<ResponseBody>, RequestError> {
        while let Some(connection) = self.idle.take_ready(origin).await {
            match connection.send(request).await {
                Ok(pending) => return Ok(into_response(pending, &self.idle, origin)),
                Err(failed) => request = failed.unsent.ok_or(failed.error)?,
            }
        }
        let connection = self.open(origin).await?;
        let pending = connection.send(request).await.map_err(|failed| failed.error)?;
        Ok(into_response(pending, &self.idle, origin))
    }

    async fn open(&self, origin: &Origin) -> Result<Connection, RequestError> {
        let opened = async {
            let proxy = self.proxies.find(origin);
            let first_hop = proxy.map_or(origin, |proxy| &proxy.origin);
            let stream = self.connector.connect_tcp(first_hop.host(), first_hop.port()).await;
            let (mut stream, activity) =
                WatchedStream::new(stream.map_err(|error| unreachable(error, proxy))?, self.timeouts.send);
            if origin.is_plaintext() {
                return Connection::start(stream, activity, self.timeouts).await;
            }
            if let Some(proxy) = proxy {
                open_tunnel(&mut stream, proxy, origin).await?;
            }
            let stream = self.connector.connect_tls(origin.host(), stream).await?;
            Connection::start(stream, activity, self.timeouts).await
        };
        let limit = self.timeouts.connect;
        timeout(limit, opened).await.unwrap_or_else(|_elapsed| Err(RequestError::ConnectTimedOut(limit)))
    }
}

impl fmt::Debug for PooledClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledClient").field("timeouts", &self.timeouts).finish_non_exhaustive()
    }
}

fn unreachable(error: ConnectError, proxy: Option<&Proxy>) -> RequestError {
    match (RequestError::from(error), proxy) {
        (error, Some(proxy)) => RequestError::Proxy { proxy: proxy.origin.clone(), reason: error.to_string() },
        (error, None) => error,
    }
}

/// The request with its path and query as target, which is what a server that is no proxy expects.
fn in_origin_form<B>(mut request: Request<B>, origin: &Origin) -> Result<Request<B>, RequestError> {
    let target = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(target);
    with_host(request, origin)
}

/// The request with its whole URL as target, from which a proxy learns the server.
fn in_absolute_form<B>(mut request: Request<B>, origin: &Origin, proxy: &Proxy) -> Result<Request<B>, RequestError> {
    if let Some(authorization) = &proxy.authorization {
        request.headers_mut().insert(header::PROXY_AUTHORIZATION, authorization.clone());
    }
    with_host(request, origin)
}

fn with_host<B>(mut request: Request<B>, origin: &Origin) -> Result<Request<B>, RequestError> {
    *request.version_mut() = Version::HTTP_11;
    if !request.headers().contains_key(header::HOST) {
        let host = HeaderValue::from_str(&origin.authority()).map_err(|_| RequestError::InvalidRequest)?;
        request.headers_mut().insert(header::HOST, host);
    }
    Ok(request)
}
