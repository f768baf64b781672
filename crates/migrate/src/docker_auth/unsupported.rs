//! Lists the keys of `docker_auth` that are not carried over, each with its reason.

use super::super::unsupported_keys::{KeyTable, differs, missing_setting, not_needed};

/// Keys of backends that may sign in users who are not in the file.
pub(super) const EXTERNAL_USER_KEYS: [&str; 9] = [
    "google_auth",
    "github_auth",
    "gitlab_auth",
    "oidc_auth",
    "ldap_auth",
    "mongo_auth",
    "xorm_auth",
    "ext_auth",
    "plugin_authn",
];

const PROXY_ADVICE: &str = "name the networks of your proxies in trusted_proxies; X-Forwarded-For or Forwarded is read from \
                       these alone";
const SIGN_IN_SETTINGS: &[&str] = &["auth.oidc", "auth.openid", "auth.oauth", "auth.sso"];

/// Every key of `docker_auth`: carried over or unsupported.
pub(in super::super) static KEYS: KeyTable = KeyTable {
    carried: &[
        "server.certificate",
        "server.key",
        "server.letsencrypt",
        "server.tls_min_version",
        "token.issuer",
        "token.expiration",
        "users",
        "acl",
    ],
    unsupported: &[
        not_needed(
            "server.addr",
            "docker_auth's own address; the token endpoint is on the registry's now, so set `listen` to that",
        ),
        missing_setting("server.net", &["unix_socket", "listen_unix"], "only TCP is served"),
        not_needed("server.path_prefix", "the token endpoint is /token, and clients are sent there"),
        differs("server.real_ip_header", PROXY_ADVICE),
        differs("server.real_ip_pos", PROXY_ADVICE),
        not_needed("server.hsts", "not needed: plain HTTP is never served"),
        not_needed("server.tls_curve_preferences", "not needed: only secure ones are enabled"),
        not_needed("server.tls_cipher_suites", "not needed: only secure ones are enabled"),
        not_needed(
            "token.certificate",
            "not needed: tokens are signed with a key that is made on first start, and verified here",
        ),
        not_needed(
            "token.key",
            "not needed: tokens are signed with a key that is made on first start, and verified here",
        ),
        not_needed(
            "token.disable_legacy_key_id",
            "not needed: tokens are verified here; for other registries there is auth.token.key_id",
        ),
        missing_setting(
            "google_auth",
            SIGN_IN_SETTINGS,
            "no sign-in by Google; create users with `portcullis user add`",
        ),
        missing_setting(
            "github_auth",
            SIGN_IN_SETTINGS,
            "no sign-in by GitHub; create users with `portcullis user add`",
        ),
        missing_setting(
            "gitlab_auth",
            SIGN_IN_SETTINGS,
            "no sign-in by GitLab; create users with `portcullis user add`",
        ),
        missing_setting(
            "oidc_auth",
            SIGN_IN_SETTINGS,
            "no sign-in of people by OpenID Connect; create users with `portcullis user add`, and for CI jobs [[auth.workload]]",
        ),
        missing_setting("ldap_auth", &["auth.ldap", "ldap"], "no LDAP; create users with `portcullis user add`"),
        missing_setting(
            "mongo_auth",
            &["auth.mongo", "auth.database"],
            "no MongoDB; create users with `portcullis user add`",
        ),
        missing_setting(
            "xorm_auth",
            &["auth.sql", "auth.database"],
            "no database; create users with `portcullis user add`",
        ),
        missing_setting(
            "ext_auth",
            &["auth.external", "auth.command", "auth.program"],
            "no external programs are run; create users with `portcullis user add`",
        ),
        missing_setting(
            "plugin_authn",
            &["auth.plugin", "plugins"],
            "no plugins; create users with `portcullis user add`",
        ),
        missing_setting(
            "acl_mongo",
            &["access.mongo", "access.database"],
            "its rules are not in this file; write them as [[access]]",
        ),
        missing_setting(
            "acl_xorm",
            &["access.sql", "access.database"],
            "its rules are not in this file; write them as [[access]]",
        ),
        missing_setting(
            "ext_authz",
            &["access.external", "access.command", "access.program"],
            "no external programs are run; write its rules as [[access]]",
        ),
        missing_setting("plugin_authz", &["access.plugin", "plugins"], "no plugins; write its rules as [[access]]"),
        missing_setting("casbin_authz", &["access.casbin"], "its rules are not in this file; write them as [[access]]"),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_of_other_users_is_reported() {
        for key in EXTERNAL_USER_KEYS {
            assert!(KEYS.unsupported.iter().any(|row| row.key == key), "{key}");
        }
    }
}
