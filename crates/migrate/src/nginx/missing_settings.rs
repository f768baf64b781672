//! Lists the directives of nginx that Portcullis has no setting for.
//!
//! Remarks are made from these rows, so that a remark never denies a setting that exists. Invariant: each row names the
//! setting that would carry its directive over, and a test fails as soon as that setting exists.

/// A directive or key that cannot be carried over.
#[derive(Debug)]
pub(super) struct MissingSetting {
    /// The directive, or the key with dots between its levels; a `*` at its end means every name that begins so.
    pub(super) name: &'static str,
    /// The path of the setting that would carry it over, and does not exist.
    pub(super) setting: &'static str,
    /// What Portcullis does instead, and what the user can do.
    alternative: &'static str,
}

impl MissingSetting {
    const fn new(name: &'static str, setting: &'static str, instead: &'static str) -> Self {
        Self { name, setting, alternative: instead }
    }

    fn is_about(&self, name: &str) -> bool {
        self.name.strip_suffix('*').map_or(self.name == name, |start| name.starts_with(start))
    }

    /// The text for a remark, with the name of the missing setting.
    pub(super) fn reason(&self) -> String {
        format!("{} (there is no setting {})", self.alternative, self.setting)
    }
}

/// All rows; the first match is used.
const ROWS: &[MissingSetting] = &[
    MissingSetting::new(
        "limit_req*",
        "limits.requests",
        "the rate of requests is not limited; wrong passwords delay further attempts, and limits.connections bounds the rest",
    ),
    MissingSetting::new("limit_conn*", "limits.per_address", "limits.connections bounds all connections together"),
    MissingSetting::new("limit_rate*", "limits.rate", "the speed of a transfer is not limited"),
    MissingSetting::new("allow", "access.addresses", "access rules have no condition on the client's address"),
    MissingSetting::new("deny", "access.addresses", "access rules have no condition on the client's address"),
    MissingSetting::new("auth_request*", "auth.request", "no other server is asked whether a request is allowed"),
    MissingSetting::new(
        "auth_jwt*",
        "auth.jwt",
        "tokens of other issuers are taken from CI jobs only, by [[auth.workload]]",
    ),
    MissingSetting::new(
        "ssl_verify_depth",
        "tls.client.depth",
        "chains of client certificates may have any usual length",
    ),
    MissingSetting::new(
        "ssl_ocsp*",
        "tls.client.ocsp",
        "OCSP responders are not asked about client certificates; tls.client.crl is read",
    ),
    MissingSetting::new("ssl_stapling*", "tls.stapling", "no OCSP response is sent with the certificate"),
    MissingSetting::new(
        "ssl_password_file",
        "tls.files.passphrase",
        "keys with a passphrase are not read; remove it with `openssl pkey -in KEY -out NEW`",
    ),
    MissingSetting::new("http3*", "http3", "HTTP/3 is not served; clients of registries do not use it"),
    MissingSetting::new("quic*", "http3", "HTTP/3 is not served; clients of registries do not use it"),
    MissingSetting::new("rewrite", "rewrite", "paths are not rewritten; the registry is at /v2/"),
];

/// The first row about this directive.
pub(super) fn find_row(name: &str) -> Option<&'static MissingSetting> {
    ROWS.iter().find(|row| row.is_about(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_config as config;

    /// The words of a name that are long enough to mean something, in the singular.
    fn words(name: &str) -> Vec<&str> {
        name.split('_').filter(|word| word.len() > 2).map(|word| word.strip_suffix('s').unwrap_or(word)).collect()
    }

    fn split(path: &str) -> (&str, &str) {
        path.rsplit_once('.').unwrap_or(("", path))
    }

    /// Whether a configuration key is the setting that is reported as missing, is below it, or has a similar name.
    fn carries(key: &str, setting: &str) -> bool {
        let ((table, name), (our_table, our_name)) = (split(setting), split(key));
        let is_below = key.strip_prefix(setting).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        is_below || (table == our_table && words(name).iter().any(|word| words(our_name).contains(word)))
    }

    #[test]
    fn no_setting_exists_that_a_migration_says_does_not() {
        for row in ROWS {
            let known = config::setting_paths().into_iter().find(|key| carries(key, row.setting));
            assert_eq!(known, None, "{} can be carried over now: remove its row, set it", row.name);
        }
    }

    #[test]
    fn a_setting_is_recognised_by_its_table_and_a_word_of_its_name() {
        for (key, setting) in [
            ("tls.acme.directory", "tls.acme"),
            ("limits.request_rate", "limits.requests"),
            ("http3", "http3"),
            ("tls.client.crl", "tls.client.crls"),
        ] {
            assert!(carries(key, setting), "{key} {setting}");
        }
        for (key, setting) in
            [("limits.connections", "limits.rate"), ("auth.token.key", "tls.key"), ("tls.acme.ca", "tls.ca")]
        {
            assert!(!carries(key, setting), "{key} {setting}");
        }
    }
}
