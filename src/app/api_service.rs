//! Adapts the API to the server: each request with what the server has found out about its connection.

use std::{convert::Infallible, error::Error, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use tower::{Service, util::MapRequest};

use crate::{
    api::{self, Api, ConnectionInfo, RequestedHost},
    server::Peer,
    tls::SniMismatchLogger,
};

/// Adapts the API to the server: passes it each request with what the server has found out about the connection.
pub(super) fn api_service(
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
