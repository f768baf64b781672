//! The plain HTTP listener that only sends clients to HTTPS.
//!
//! Invariant: it never looks at credentials, never reads a body and never serves anything but, while an ACME directory
//! validates our names, the answer to its question.

use std::sync::Arc;

use tokio::time::timeout;
use tracing::debug;

use super::{
    Limits, Proxies,
    listener::Accepted,
    plain::{self, Port},
    proxy,
};
use crate::tls::{Hostname, acme::Challenges};

/// Connections at a time. They last milliseconds, and they have permits of their own, so that a flood of them takes
/// nothing from the clients that speak TLS.
pub(super) const CONNECTIONS: usize = 64;

/// Answers one connection.
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
        debug!(%peer, "a client of the redirecting port went away or spoke no HTTP");
    }
}
