//! Serves one connection: handshake, HTTP/1 or HTTP/2, idle checks and shutdown.
//!
//! Invariant: every phase limits waiting time and memory, and no phase limits the duration of a transfer that makes
//! progress.

use std::{convert::Infallible, error::Error, pin::Pin, sync::Arc, time::Duration};

use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, service::Service as HyperService};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt};
use tracing::debug;

use super::{
    Peer, ServerLimits, Shutdown, TlsInfo, TrustedProxies,
    h2_flow_control::{WindowBudget, WindowGrant},
    handshake::{self, HandshakeContext, TlsConnection},
    idle::{ActivityBody, ConnectionActivity, IdleAction},
    listener::AcceptedConnection,
};
use portcullis_tls::{Hostname, RustlsConfigs, acme::Challenges};

/// Maximum length in bytes of a request's header: tokens with many scopes are long, and no other header is.
const MAX_HEADER_LIST_LEN: u32 = 32 * 1024;
const MAX_HEADER_FIELDS: usize = 100;
/// Size of HTTP/1's read buffer in bytes; it limits the header and the length of one read of an upload.
const HTTP1_BUFFER_LEN: usize = 64 * 1024;
/// Maximum number of concurrent HTTP/2 streams. Docker runs three transfers at a time, containerd and skopeo six; a
/// proxy may bundle its clients.
const MAX_CONCURRENT_STREAMS: u32 = 128;
/// Maximum frame size in bytes; larger than HTTP/2's default of 16 KiB, for fewer frames per layer.
const MAX_FRAME_LEN: u32 = 64 * 1024;
/// Maximum number of buffered bytes per response that the client has not received.
const SEND_BUFFER_LEN: usize = 256 * 1024;
/// Maximum number of requests that the client reset before the server handled them, and of malformed requests that the
/// server reset. Beyond either, the server closes the connection ("rapid reset" attacks and their mirror image). The
/// libraries have such limits of their own; set here, they cannot change unnoticed.
const MAX_PENDING_RESET_STREAMS: usize = 20;
const MAX_LOCAL_RESET_STREAMS: usize = 1024;

/// State that all connections share.
pub(super) struct ConnectionContext<S> {
    pub(super) tls: Arc<RustlsConfigs>,
    pub(super) challenges: Option<Arc<Challenges>>,
    pub(super) hostnames: Arc<[Hostname]>,
    pub(super) proxies: Arc<TrustedProxies>,
    pub(super) limits: ServerLimits,
    pub(super) windows: WindowBudget,
    pub(super) service: S,
    pub(super) shutdown: Shutdown,
    /// Cancelled when the drain timeout is over.
    pub(super) abort: CancellationToken,
}

/// Serves one connection to its end.
pub(super) async fn serve<S, B>(accepted: AcceptedConnection, shared: Arc<ConnectionContext<S>>)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let reception = HandshakeContext {
        tls: &shared.tls,
        challenges: shared.challenges.as_deref(),
        hostnames: &shared.hostnames,
        proxies: &shared.proxies,
        handshake_timeout: shared.limits.handshake_timeout,
        idle_timeout: shared.limits.idle_timeout,
    };
    let secured = tokio::select! {
        secured = handshake::accept_tls(accepted, &reception) => secured,
        // No request has been received yet, so none can be lost.
        () = shared.shutdown.begun() => return,
    };
    let Some(TlsConnection { stream: secured, peer: address, local }) = secured else { return };

    let peer = Peer { address, local, forwarded_host: None, tls: TlsInfo::from_connection(secured.get_ref().1) };
    let activity = ConnectionActivity::new();
    let service = ConnectionService {
        service: shared.service.clone(),
        proxies: Arc::clone(&shared.proxies),
        peer,
        activity: activity.clone(),
    };
    let is_http2 = secured.get_ref().1.alpn_protocol() == Some(b"h2");
    let window = shared.windows.grant();
    let builder = http_builder(is_http2, shared.limits, &window);
    let connection = builder.serve_connection(TokioIo::new(secured), service);
    tokio::pin!(connection);

    let idle_timeout = shared.limits.idle_timeout;
    let mut check = idle_check_interval(idle_timeout);
    let mut draining = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    debug!(peer = %address, %error, "connection ended early");
                }
                return;
            }
            () = shared.shutdown.begun(), if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = check.tick() => match activity.idle_action(idle_timeout) {
                IdleAction::Keep => {}
                IdleAction::Close => connection.as_mut().graceful_shutdown(),
                IdleAction::Abort => {
                    debug!(peer = %address, "connection dropped: the client stopped reading, or did not close the connection");
                    return;
                }
            },
            () = shared.abort.cancelled() => return,
        }
    }
}

/// Returns the interval between idle checks: a quarter of the idle timeout, which is the accuracy of that timeout.
fn idle_check_interval(idle_timeout: Duration) -> Interval {
    let period = (idle_timeout / 4).max(Duration::from_millis(1));
    let mut checks = interval_at(Instant::now() + period, period);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    checks
}

fn http_builder(is_http2: bool, limits: ServerLimits, window: &WindowGrant) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(MAX_HEADER_FIELDS)
        .max_buf_size(HTTP1_BUFFER_LEN);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .max_pending_accept_reset_streams(MAX_PENDING_RESET_STREAMS)
        .max_local_error_reset_streams(MAX_LOCAL_RESET_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST_LEN)
        .initial_stream_window_size(window.stream())
        .initial_connection_window_size(window.connection())
        .max_frame_size(MAX_FRAME_LEN)
        .max_send_buf_size(SEND_BUFFER_LEN)
        .keep_alive_interval(limits.idle_timeout / 3)
        .keep_alive_timeout(limits.idle_timeout / 3);
    // ALPN has selected the protocol. The builder's detection from the first bytes has no deadline.
    if is_http2 { builder.http2_only() } else { builder.http1_only() }
}

/// The service of one connection: adds the [`Peer`] to requests and tracks the progress of responses.
struct ConnectionService<S> {
    service: S,
    proxies: Arc<TrustedProxies>,
    peer: Peer,
    activity: ConnectionActivity,
}

impl<S, B> HyperService<Request<Incoming>> for ConnectionService<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
{
    type Response = Response<ActivityBody<B>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let peer = self.peer.clone().with_forwarded(request.headers(), &self.proxies);
        request.extensions_mut().insert(peer);
        let exchange = self.activity.begin_exchange();
        let response = self.service.clone().oneshot(request);
        Box::pin(async move { Ok(response.await?.map(|body| ActivityBody::new(body, exchange))) })
    }
}
