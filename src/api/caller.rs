//! Who is at the other end: the connection, and the subject that its credentials name.

use std::{
    net::{IpAddr, SocketAddr},
    time::SystemTime,
};

use http::{HeaderMap, header};

use super::state::Api;
use crate::{
    access::Subject,
    auth::{AuthenticationError, Credentials},
};

/// What the listener knows of a connection; it puts one into the extensions of every request.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// The other end.
    pub peer: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
}

/// Reads the credentials of a request and checks them. No `Authorization` header is an anonymous subject; one that does
/// not hold is an error, never an anonymous subject. Docker searches with an empty name and an empty password where nobody
/// signed in; where a caller may be anonymous without a token, `takes_blank` takes that for no credentials.
pub(super) async fn identify(
    api: &Api,
    headers: &HeaderMap,
    takes_blank: bool,
    peer: IpAddr,
) -> Result<Subject, AuthenticationError> {
    let header = headers.get(header::AUTHORIZATION);
    let credentials = header.map(|value| Credentials::parse(value.as_bytes())).transpose()?;
    let credentials = credentials.filter(|credentials| !(takes_blank && credentials.is_blank()));
    api.authenticator().subject(credentials, peer, SystemTime::now()).await
}
