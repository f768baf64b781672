//! Certificates and the rules by which we speak TLS.
//!
//! First floor, a mechanism: imports nothing of ours, knows rustls and files but neither sockets nor HTTP. The one
//! invariant: an [`Identity`] exists only if its certificate and key belong together and were valid, for a server and for
//! names, when it was loaded; only an `Identity` reaches a handshake.
//!
//! ```text
//! Config ──load──▶ Identity ──CertResolver::new / replace──▶ CertResolver ──server_config──▶ rustls::ServerConfig
//! ```

mod authority;
mod certificate;
mod config;
mod error;
mod files;
mod hostname;
mod identity;
mod issue;
mod policy;
mod resolver;
mod source;

use std::time::SystemTime;

use aws_lc_rs::rand::SecureRandom;

pub use authority::ensure;
pub use certificate::Fingerprint;
pub use config::{Config, MinimumVersion, Source};
pub use error::{AuthorityError, LoadError, SourceError};
pub use hostname::{DnsName, Hostname, InvalidHostname};
pub use identity::{Identity, Loaded};
pub use policy::server_config;
pub use resolver::CertResolver;
pub use source::load_files;

/// The identity that the configuration asks for: read from the operator's files, or made where it is missing.
///
/// Calling it again is cheap and harmless, and is how a self-made certificate is renewed while the server runs.
pub fn load(config: &Config, now: SystemTime, random: &dyn SecureRandom) -> Result<Loaded, LoadError> {
    match &config.source {
        Source::SelfSigned { directory } => Ok(ensure(directory, &config.hostnames, now, random)?),
        Source::Files { certificate, key } => Ok(Loaded {
            identity: load_files(certificate, key, now)?,
            authority_is_new: false,
            certificate_is_new: false,
        }),
    }
}
