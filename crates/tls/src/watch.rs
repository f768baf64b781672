//! Logs each server name (SNI) that clients request and no certificate covers, once, because clients report only a
//! certificate error.
//!
//! Invariant: the number of recorded names is bounded, and clients cannot make the log repeat itself.

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{CertResolver, Hostname};

/// Maximum number of logged names; a client can send any name.
const MOST: usize = 64;

/// A certificate resolver that also examines the requested server names.
pub struct NameWatch {
    resolver: Arc<CertResolver>,
    told: Mutex<HashSet<Hostname>>,
}

impl NameWatch {
    /// Wraps a resolver.
    #[must_use]
    pub fn new(resolver: Arc<CertResolver>) -> Self {
        Self { resolver, told: Mutex::default() }
    }

    /// Logs a server name if it is valid, no certificate covers it, and it has not been logged before.
    pub fn look_at(&self, name: &str) {
        let Ok(name) = name.parse::<Hostname>() else { return };
        if self.resolver.identities().iter().any(|identity| identity.covers(&name)) {
            return;
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < MOST && told.insert(name.clone()) {
            let hint = format!(
                "if clients should use it, add {name} to hostnames, and to the certificate if you bring your own"
            );
            tracing::warn!(%name, hint, "a client requested a host name that no certificate covers");
            if told.len() == MOST {
                tracing::warn!("further host names that no certificate covers are not logged");
            }
        }
    }
}

impl ResolvesServerCert for NameWatch {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some(name) = hello.server_name() {
            self.look_at(name);
        }
        self.resolver.resolve(hello)
    }
}

// rustls requires Debug of a resolver.
impl fmt::Debug for NameWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NameWatch").finish_non_exhaustive()
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
        let made = crate::ensure(folder.path(), &names, SystemTime::now(), &SystemRandom::new()).unwrap();
        let watch = NameWatch::new(Arc::new(CertResolver::new(made.identity)));
        let told = || watch.told.lock().unwrap().len();
        for name in ["registry.test", "REGISTRY.test", "localhost", "127.0.0.1", "::1", "", "no name", "a\nb.test"] {
            watch.look_at(name);
        }
        assert_eq!(told(), 0);
        for name in ["other.test", "OTHER.test", "192.0.2.1"] {
            watch.look_at(name);
        }
        assert_eq!(told(), 2);
        (0..1000).for_each(|number| watch.look_at(&format!("n{number}.test")));
        assert_eq!(told(), MOST);
    }
}
