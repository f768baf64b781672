//! The plain HTTP listener that redirects clients to HTTPS.
//!
//! Invariant: it does not read credentials or bodies, and serves nothing except the response to an ACME HTTP-01
//! challenge while a validation is running.

use std::sync::Arc;

use tokio::time::timeout;
use tracing::debug;

use super::{
    ServerLimits, TrustedProxies,
    listener::AcceptedConnection,
    plaintext_http::{self, RedirectPort},
    proxy_protocol,
};
use portcullis_tls::{Hostname, acme::Challenges};

/// Maximum number of concurrent connections. They last milliseconds and have their own permits, so a flood of them does
/// not reduce the number of TLS connections.
pub(super) const MAX_CONNECTIONS: usize = 64;

/// Answers one connection with a redirect or an ACME challenge response.
pub(super) async fn serve(
    accepted: AcceptedConnection,
    hostnames: Arc<[Hostname]>,
    proxies: Arc<TrustedProxies>,
    tls_port: u16,
    challenges: Option<Arc<Challenges>>,
    limits: ServerLimits,
) {
    let peer = accepted.peer;
    let answered = timeout(limits.handshake_timeout, async move {
        let AcceptedConnection { mut stream, .. } = proxy_protocol::receive(accepted, &proxies).await?;
        let head = plaintext_http::read_head(&mut stream).await?;
        if let Some(answer) =
            challenges.zip(head.acme_token()).and_then(|(answers, token)| answers.http_response(token))
        {
            return plaintext_http::send_and_close(stream, &plaintext_http::challenge_response(&answer)).await.ok();
        }
        let url = plaintext_http::https_url(&head, &hostnames, RedirectPort::Fixed(tls_port));
        plaintext_http::send_and_close(stream, &plaintext_http::redirect_response(&url)).await.ok()
    });
    if !matches!(answered.await, Ok(Some(()))) {
        debug!(%peer, "redirect port: the client sent no HTTP request, closed the connection or timed out");
    }
}
