//! Describes who sent a request and to which host: the facts that the request itself does not carry or that are parsed
//! once for all of its readers.

use std::net::IpAddr;

use http::{HeaderMap, Uri, header, uri::Authority};

use crate::auth::ClientChain;

/// The client of a request, the host that it requested, and the client certificate of its connection.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// The address of the client.
    pub peer: IpAddr,
    /// The local port that accepted the connection.
    pub local_port: u16,
    /// The host that the client requested.
    pub requested_host: RequestedHost,
    /// The certificate chain that the client presented in the TLS handshake.
    pub certificate: Option<ClientChain>,
}

/// The host that a client requested, perhaps with a port. The client chose it freely.
#[derive(Clone, Debug, Default)]
pub struct RequestedHost {
    /// The host that the client requested from a trusted proxy.
    forwarded: Option<Authority>,
    /// The host in the request as it arrived: in the URI (HTTP/2), or in the `Host` header (HTTP/1.1).
    named: Option<Authority>,
}

impl RequestedHost {
    /// Parses the host that a trusted proxy forwarded, if one did, and the host in the URI or the headers of a request.
    /// A host that is malformed counts as absent.
    #[must_use]
    pub fn parse(forwarded: Option<&str>, uri: &Uri, headers: &HeaderMap) -> Self {
        let host_header = || headers.get(header::HOST)?.to_str().ok()?.parse().ok();
        Self {
            forwarded: forwarded.and_then(|host| host.parse().ok()),
            named: uri.authority().cloned().or_else(host_header),
        }
    }

    /// The requested host without its port; `None` if the request names none.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.authorities().next().map(Authority::host)
    }

    /// The hosts that the request names. The one that a proxy forwarded comes first.
    pub(super) fn authorities(&self) -> impl Iterator<Item = &Authority> {
        self.forwarded.iter().chain(&self.named)
    }
}
