//! Certificates and the rules by which we speak TLS.

mod config;
mod hostname;

pub use config::{Config, MinimumVersion, Source};
pub use hostname::{DnsName, Hostname, InvalidHostname};
