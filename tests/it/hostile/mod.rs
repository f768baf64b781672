//! Tests malicious peers, and runs the programs with which auditors look for weaknesses.
//!
//! No peer can make the server wait, reserve memory or work without bound; a peer that tries loses its connection,
//! and other clients are served meanwhile.

mod http2_client;
mod http2_floods;
mod idle_connections;
mod scanners;
mod slow_clients;
mod tls_session;
