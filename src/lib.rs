//! Portcullis: a gate in front of a harbour of container images.
//!
//! One sentence holds the house together: a request becomes an [`Endpoint`](api::Endpoint), a caller becomes a
//! [`Subject`](access::Subject), the [`Gate`](access::Gate) turns the two into an
//! [`Authorized`](access::Authorized) proof, and only that opens a [`Repository`](registry::Repository).
//!
//! The modules are floors, and imports point down only (`tests/it/architecture` reads every `use crate::…` and
//! holds the table):
//!
//! | floor | modules | what lives there |
//! |---|---|---|
//! | process | [`cli`] [`app`] `reload` `acme` [`config`] [`migrate`] [`selftest`] [`server`] [`telemetry`] | arguments in, exit code out; sockets, signals, logs |
//! | surface | [`api`] | HTTP in, HTTP out: the only user of axum's types |
//! | engines | [`registry`] [`auth`] | what a registry does; who is asking |
//! | mechanisms | [`storage`] [`access`] [`audit`] [`tls`] [`fetch`] | bytes that survive; who may; who did; certificates; asking other servers |
//! | vocabulary | [`oci`] | the specification's nouns, parsed once; no I/O |
//!
//! # The path of a request
//!
//! 1. [`server`] accepts a connection and finishes the handshake with the certificate that
//!    [`tls::CertResolver`] holds at that moment.
//! 2. [`api`] gives the request an id and reads its line as an [`Endpoint`](api::Endpoint): method, raw path, query.
//! 3. [`auth::Authenticator`] turns its `Authorization` header into a [`Subject`](access::Subject): a password that was
//!    checked, a token that was verified, or nobody.
//! 4. [`Gate::authorize`](access::Gate::authorize) holds the subject against the [`Policy`](access::Policy) and what its token
//!    reaches, and gives an [`Authorized`](access::Authorized) or a [`Denied`](access::Denied).
//! 5. [`Registry::open`](registry::Registry::open) takes that proof for a [`Repository`](registry::Repository), whose type says
//!    what can be done to it.
//! 6. The engine finds its objects in a [`Store`](storage::Store), and [`api`] streams the answer.
//!
//! # What holds everywhere
//!
//! Types with private fields have one parser, and a value of them needs no second check. A check returns a proof that the deed
//! demands. Enums are matched without `_`. Secrets have no `Debug`. Time and randomness are arguments.
//!
//! The crate is a library so that its own tests, and its one binary, can use it. Its interface is the command line, the
//! configuration, HTTP and the disk; the Rust items may change in any release.

pub mod access;
mod acme;
pub mod api;
pub mod app;
pub mod audit;
pub mod auth;
pub mod cli;
pub mod config;
pub mod fetch;
pub mod migrate;
pub mod oci;
pub mod registry;
mod reload;
pub mod selftest;
pub mod server;
pub mod storage;
pub mod telemetry;
pub mod tls;
