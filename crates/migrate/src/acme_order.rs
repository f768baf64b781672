//! Carries over the certificates that a program orders from Let's Encrypt: `[tls.acme]` and `hostnames`.
//!
//! Invariant: a certificate is ordered for no other name than before, and `[tls.acme]` is written only where a name is
//! left to order one for.

use super::{report::Migration, toml_writer::TomlValue};
use portcullis_tls::{Hostname, acme::certifiable_name};

/// The names to order certificates for, and the key of the origin that they come from.
pub(super) struct AcmeOrder {
    key: &'static str,
    pub(super) hosts: Vec<Hostname>,
}

impl AcmeOrder {
    /// An order for the names below `key`, each with its line. Warns of names for which no certificate can be ordered.
    pub(super) fn new<'a>(
        key: &'static str,
        names: impl IntoIterator<Item = (&'a str, usize)>,
        migration: &mut Migration,
    ) -> Self {
        let mut hosts: Vec<Hostname> = Vec::new();
        for (name, line) in names {
            match name.parse::<Hostname>() {
                Ok(host) if certifiable_name(&host).is_none() => {
                    migration.warn(line, &format!("{key}: {host}: no certificate can be ordered for it; left out"));
                }
                Ok(host) if !hosts.contains(&host) => hosts.push(host),
                Ok(_) => {}
                Err(error) => migration.warn(line, &format!("{key}: {name:?}: {error}; left out")),
            }
        }
        Self { key, hosts }
    }

    /// Puts one of the names first: tokens and redirects use the first of `hostnames`.
    pub(super) fn move_to_front(&mut self, host: &Hostname) {
        self.hosts.sort_by_key(|name| name != host);
    }

    /// Writes `hostnames` and `[tls.acme]` with this directory URL and contact address; warns of what it leaves out.
    pub(super) fn write_settings(self, directory: &str, contact: Option<&str>, line: usize, migration: &mut Migration) {
        let Self { key, hosts } = self;
        if hosts.is_empty() {
            let advice = "it names no host to order a certificate for; write `hostnames` and [tls.acme]";
            return migration.warn(line, &format!("{key}: {advice}"));
        }
        migration.set("", "hostnames", TomlValue::list(hosts), line, key);
        let is_https = directory.strip_prefix("https://").is_some_and(|rest| {
            rest.starts_with(|letter: char| letter.is_ascii_alphanumeric() || letter == '[')
                && rest.len() < 1024
                && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:/?=&%[]".contains(&byte))
        });
        if is_https {
            migration.set("tls.acme", "directory", TomlValue::text(directory), line, key);
        } else {
            let advice = "the directory must be an https URL; set tls.acme.directory";
            migration.warn(line, &format!("{key}: {advice}"));
            migration.set("tls.acme", "challenge", TomlValue::text("any"), line, key);
        }
        match contact {
            Some(mail) if is_mail_address(mail) => {
                migration.set("tls.acme", "contact", TomlValue::list([mail]), line, key);
            }
            Some(mail) => migration.warn(line, &format!("{key}: {mail:?} is not a mail address; set tls.acme.contact")),
            None => {}
        }
        migration
            .note(line, &format!("{key}: a new account and a new certificate are made, in the folder tls.acme.folder"));
    }
}

/// Whether `tls.acme.contact` accepts the text as a mail address.
fn is_mail_address(text: &str) -> bool {
    let is_atom = |part: &str, more: &[u8]| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
    };
    text.len() <= 254
        && text.split_once('@').is_some_and(|(user, host)| {
            is_atom(user, b"!#$%&'*+-/=^_`{|}~.") && is_atom(host, b"-.") && host.contains('.')
        })
}
