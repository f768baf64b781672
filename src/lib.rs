//! Portcullis: a gate in front of a harbour of container images.
//!
//! One sentence holds the house together: a request becomes an [`Endpoint`](api::Endpoint), a caller becomes a
//! [`Subject`](access::Subject), the [`Gate`](access::Gate) turns the two into an
//! [`Authorized`](access::Authorized) proof, and only that opens a [`Repository`](registry::Repository).
//!
//! The modules are floors, and imports point down only (`tests/it/architecture.rs` reads every `use crate::…` and
//! holds the table):
//!
//! | floor | modules | what lives there |
//! |---|---|---|
//! | process | [`cli`] [`app`] `reload` [`config`] [`server`] [`telemetry`] | arguments in, exit code out; sockets, signals, logs |
//! | surface | [`api`] | HTTP in, HTTP out: the only user of axum's types |
//! | engines | [`registry`] [`auth`] | what a registry does; who is asking |
//! | mechanisms | [`storage`] [`access`] [`tls`] | bytes that survive; who may; certificates |
//! | vocabulary | [`oci`] | the specification's nouns, parsed once; no I/O |

pub mod access;
pub mod api;
pub mod app;
pub mod auth;
pub mod cli;
pub mod config;
pub mod oci;
pub mod registry;
mod reload;
pub mod server;
pub mod storage;
pub mod telemetry;
pub mod tls;
