//! Names that clients ask for and no certificate of ours has: told once each, because their clients will only say "certificate".
//!
//! Invariant: whatever clients send, what is remembered is bounded, and nobody makes the log repeat itself.

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

/// How many names are told of; anybody can ask for any.
const MOST: usize = 64;

/// Answers handshakes as the resolver does, and looks at the names in them.
pub struct NameWatch {
    resolver: Arc<CertResolver>,
    told: Mutex<HashSet<Hostname>>,
}

impl NameWatch {
    /// Looks at what this resolver is asked for.
    #[must_use]
    pub fn new(resolver: Arc<CertResolver>) -> Self {
        Self { resolver, told: Mutex::default() }
    }

    /// Tells of a name, if it is one, no certificate has it, and it was not told of.
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
            tracing::warn!(%name, hint, "a client asked for a name that no certificate of ours has");
            if told.len() == MOST {
                tracing::warn!("further names that no certificate of ours has are not told of");
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

// rustls demands Debug of a resolver.
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
        let made = crate::tls::ensure(folder.path(), &names, SystemTime::now(), &SystemRandom::new()).unwrap();
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
