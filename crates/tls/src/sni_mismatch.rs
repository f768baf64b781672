//! Logs each server name (SNI) that clients request and no certificate covers, once, because clients report only a
//! certificate error.
//!
//! Invariant: the number of recorded names is bounded, and clients cannot make the log repeat itself.

use std::{collections::HashSet, fmt, sync::Arc};

use parking_lot::Mutex;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{CertResolver, Hostname};

/// Maximum number of logged names; a client can send any name.
const MAX_LOGGED_NAMES: usize = 64;

/// A certificate resolver that also examines the requested server names.
pub struct SniMismatchLogger {
    resolver: Arc<CertResolver>,
    logged: Mutex<HashSet<Hostname>>,
}

impl SniMismatchLogger {
    /// Wraps a resolver.
    #[must_use]
    pub fn new(resolver: Arc<CertResolver>) -> Self {
        Self { resolver, logged: Mutex::default() }
    }

    /// Logs a server name if it is valid, no certificate covers it, and it has not been logged before.
    pub fn log_if_unknown(&self, name: &str) {
        let Ok(name) = name.parse::<Hostname>() else { return };
        if self.resolver.identities().iter().any(|identity| identity.covers(&name)) {
            return;
        }
        let mut logged = self.logged.lock();
        if logged.len() < MAX_LOGGED_NAMES && logged.insert(name.clone()) {
            let hint = format!(
                "if clients should use it, add {name} to hostnames, and to the certificate if you bring your own"
            );
            tracing::warn!(%name, hint, "a client requested a host name that no certificate covers");
            if logged.len() == MAX_LOGGED_NAMES {
                tracing::warn!("further host names that no certificate covers are not logged");
            }
        }
    }
}

impl ResolvesServerCert for SniMismatchLogger {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some(name) = hello.server_name() {
            self.log_if_unknown(name);
        }
        self.resolver.resolve(hello)
    }
}

// rustls requires Debug of a resolver.
impl fmt::Debug for SniMismatchLogger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SniMismatchLogger").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use aws_lc_rs::rand::SystemRandom;

    use super::*;

    #[test]
    fn foreign_names_are_remembered_once_and_not_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let names = Hostname::defaults(Some("registry.test"));
        let made = crate::load_or_create(folder.path(), &names, SystemTime::now(), &SystemRandom::new()).unwrap();
        let watch = SniMismatchLogger::new(Arc::new(CertResolver::new(made.identity)));
        let told = || watch.logged.lock().len();
        for name in ["registry.test", "REGISTRY.test", "localhost", "127.0.0.1", "::1", "", "no name", "a\nb.test"] {
            watch.log_if_unknown(name);
        }
        assert_eq!(told(), 0);
        for name in ["other.test", "OTHER.test", "192.0.2.1"] {
            watch.log_if_unknown(name);
        }
        assert_eq!(told(), 2);
        (0..1000).for_each(|number| watch.log_if_unknown(&format!("n{number}.test")));
        assert_eq!(told(), MAX_LOGGED_NAMES);
    }
}
