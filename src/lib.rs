//! Portcullis: an OCI registry and gateway that terminates TLS, authenticates users and enforces access rules.
//!
//! The central design: a request becomes an [`Endpoint`](api::Endpoint), its caller becomes a
//! [`Subject`](access::Subject), the [`Gate`](access::Gate) turns the two into an [`Authorized`](access::Authorized)
//! proof, and only such a proof opens a [`Repository`](registry::Repository).
//!
//! The modules form layers, and imports point down only (`tests/it/architecture` reads every `use crate::…` and
//! contains the allowed imports):
//!
//! | layer | modules | responsibility |
//! |---|---|---|
//! | process | [`cli`] [`app`] `reload` `acme` [`config`] | command line, start, reload, ACME, configuration |
//! | process | `admin_socket` | requests of commands to the running server |
//! | process | [`migrate`] [`selftest`] [`server`] [`telemetry`] | migration, self-test, sockets and shutdown, logs |
//! | surface | [`api`] | the HTTP API; no other module uses axum's types |
//! | engines | [`registry`] [`auth`] | the registry engine; authentication |
//! | mechanisms | [`storage`] [`access`] [`audit`] | durable files, access rules, audit events |
//! | mechanisms | [`clock`] | the time; `main` makes the one clock of the process |
//! | mechanisms | [`tls`] [`http_client`] [`file_watch`] | certificates, HTTP client, changes of files |
//! | vocabulary | [`oci`] [`text`] | the types of the OCI specifications, parsed once; text for people; no I/O |
//!
//! # The path of a request
//!
//! 1. [`server`] accepts a connection and completes the handshake with the current certificate of
//!    [`tls::CertResolver`].
//! 2. [`api`] assigns a request id and parses method, raw path and query into an [`Endpoint`](api::Endpoint).
//! 3. [`auth::Authenticator`] turns the `Authorization` header into a [`Subject`](access::Subject): a user with a
//!    verified password or token, or an anonymous caller.
//! 4. [`Gate::authorize`](access::Gate::authorize) checks the subject against the [`Policy`](access::Policy) and the
//!    restriction of its credential, and returns an [`Authorized`](access::Authorized) or a
//!    [`Denied`](access::Denied).
//! 5. [`Registry::open`](registry::Registry::open) takes that proof and returns a
//!    [`Repository`](registry::Repository), whose type determines the permitted operations.
//! 6. The engine reads and writes objects in a [`Store`](storage::Store), and [`api`] streams the response.
//!
//! # General rules
//!
//! A type with private fields has one parser, and its values need no second validation. A check returns a proof, which
//! the checked operation requires as an argument. Enums are matched without `_`. Secrets have no `Debug`. Time and
//! randomness are arguments.
//!
//! The crate is a library so that its own tests and its one binary can use it. Its public interface is the command
//! line, the configuration, HTTP and the disk layout; the Rust items may change in any release.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make their values from the system's clocks"))]

mod admin_socket;
pub mod api;
pub mod app;
pub mod cli;
mod reload;

#[doc(inline)]
pub use portcullis_access::{self as access, audit};
pub use portcullis_acme as acme;
pub use portcullis_auth as auth;
pub use portcullis_clock as clock;
pub use portcullis_config as config;
pub use portcullis_file_watch as file_watch;
pub use portcullis_http_client as http_client;
pub use portcullis_migrate as migrate;
pub use portcullis_oci as oci;
pub use portcullis_registry as registry;
pub use portcullis_selftest as selftest;
pub use portcullis_server as server;
pub use portcullis_storage as storage;
pub use portcullis_telemetry as telemetry;
pub use portcullis_text as text;
pub use portcullis_tls as tls;
