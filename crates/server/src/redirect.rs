//! The plain HTTP listener that redirects clients to HTTPS.
//!
//! Invariant: it does not read credentials or bodies, and serves nothing except the response to an ACME HTTP-01
//! challenge while a validation is running.

use std::sync::Arc;

use tokio::time::timeout;
use tracing::debug;

use super::{
    Limits, Proxies,
    listener::Accepted,
    plain::{self, Port},
    proxy,
};
use portcullis_tls::{Hostname, acme::Challenges};

/// Maximum number of concurrent connections. They last milliseconds and have their own permits, so a flood of them does
/// not reduce the number of TLS connections.
pub(super) const CONNECTIONS: usize = 64;

/// Answers one connection with a redirect or an ACME challenge response.
pub(super) async fn serve(
    accepted: Accepted,
    hostnames: Arc<[Hostname]>,
    proxies: Arc<Proxies>,
    tls_port: u16,
    challenges: Option<Arc<Challenges>>,
    limits: Limits,
) {
    let peer = accepted.peer;
    let answered = timeout(limits.handshake_timeout, async move {
        let Accepted { mut stream, .. } = proxy::receive(accepted, &proxies).await?;
        let head = plain::read_head(&mut stream).await?;
        if let Some(answer) = challenges.zip(head.challenge()).and_then(|(answers, token)| answers.http(token)) {
            return plain::answer(stream, &plain::proven(&answer)).await.ok();
        }
        let url = plain::https_url(&head, &hostnames, Port::Fixed(tls_port));
        plain::answer(stream, &plain::redirected(&url)).await.ok()
    });
    if !matches!(answered.await, Ok(Some(()))) {
        debug!(%peer, "redirect port: the client sent no HTTP request, closed the connection or timed out");
    }
}
