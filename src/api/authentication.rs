//! Describes the connection of a request, and authenticates the request by its credentials.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::SystemTime,
};

use http::{HeaderMap, header};

use super::state::Api;
use crate::{
    access::Subject,
    auth::{AuthenticationError, ClientChain, Credentials, credentials::InvalidCredentials},
};

/// The addresses and the client certificate of a connection. The listener adds one to the extensions of every request.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// The address of the client.
    pub peer: SocketAddr,
    /// The local address that accepted the connection.
    pub local: SocketAddr,
    /// The host, perhaps with a port, that a client requested from a trusted proxy, as the proxy forwards it.
    pub forwarded_host: Option<Arc<str>>,
    /// The certificate chain that the client presented in the TLS handshake.
    pub certificate: Option<ClientChain>,
}

/// Reads the credentials of a request and verifies them.
///
/// A request without an `Authorization` header gets the user that the connection's client certificate authenticates, or
/// else an anonymous subject. Invalid credentials are an error and never become an anonymous subject. Docker's search
/// sends an empty user name with an empty password when the user has not logged in; with `takes_blank` such credentials
/// count as none, for endpoints that allow anonymous callers without a token.
pub(super) async fn authenticate(
    api: &Api,
    headers: &HeaderMap,
    accepts_blank: bool,
    certificate: Option<&ClientChain>,
    peer: IpAddr,
    now: SystemTime,
) -> Result<Subject, AuthenticationError> {
    let credentials = parse_credentials(headers)?.filter(|credentials| !(accepts_blank && credentials.is_blank()));
    api.authenticator().authenticate(credentials, certificate, peer, now).await
}

/// Parses the `Authorization` header; the credentials are not verified.
pub(super) fn parse_credentials(headers: &HeaderMap) -> Result<Option<Credentials>, InvalidCredentials> {
    headers.get(header::AUTHORIZATION).map(|value| Credentials::parse(value.as_bytes())).transpose()
}
