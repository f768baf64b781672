//! Who is at the other end: the connection, and the subject that its credentials name.

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

/// What the listener knows of a connection; it puts one into the extensions of every request.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The other end.
    pub peer: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
    /// The host, perhaps with a port, that a trusted proxy was asked for.
    pub forwarded_host: Option<Arc<str>>,
    /// The certificate that the other end showed.
    pub certificate: Option<ClientChain>,
}

/// Reads the credentials of a request and checks them. No `Authorization` header is whom the connection's certificate signs in,
/// or else an anonymous subject; one that does
/// not hold is an error, never an anonymous subject. Docker searches with an empty name and an empty password where nobody
/// signed in; where a caller may be anonymous without a token, `takes_blank` takes that for no credentials.
pub(super) async fn identify(
    api: &Api,
    headers: &HeaderMap,
    takes_blank: bool,
    certificate: Option<&ClientChain>,
    peer: IpAddr,
    now: SystemTime,
) -> Result<Subject, AuthenticationError> {
    let credentials = credentials(headers)?.filter(|credentials| !(takes_blank && credentials.is_blank()));
    api.authenticator().subject(credentials, certificate, peer, now).await
}

/// What a request shows, believed by nobody yet.
pub(super) fn credentials(headers: &HeaderMap) -> Result<Option<Credentials>, InvalidCredentials> {
    headers.get(header::AUTHORIZATION).map(|value| Credentials::parse(value.as_bytes())).transpose()
}
