//! Converts the registry's authentication and its restrictions on pushing and deleting to access rules.
//!
//! Invariant: rules are opened only by what the file itself says; a token server's rules are unknown, so they open
//! nothing.

use super::{
    super::{
        access_entries::{AccessEntry, Mapping},
        report::Migration,
        toml_writer::{TomlValue, is_claim},
        yaml::NodeRef,
    },
    startup_checks,
    values::path_value,
};
use portcullis_access::{Action, Actions, SubjectMatcher};

/// The way in which clients authenticated.
enum Authentication<'a> {
    Nothing,
    Htpasswd(NodeRef<'a>),
    Token(NodeRef<'a>),
    /// A way that Portcullis does not support.
    Other(NodeRef<'a>),
}

/// Writes the access rules and `[auth]`.
pub(super) fn read(root: NodeRef<'_>, migration: &mut Migration) {
    let (actions, words, line) = actions(root, migration);
    let (users, description, line, mapping) = match authentication(root) {
        Authentication::Nothing => {
            migration.warn(
                None,
                "auth: there is none in the file, but variables REGISTRY_AUTH_… may have required passwords, so anonymous requests \
                 are denied; if there were no such variables, use the rule for `anonymous` that is in the file as a comment",
            );
            let why = "a variable REGISTRY_AUTH_… may have required passwords".to_owned();
            migration.add_rules(vec![AccessEntry {
                line,
                description: format!("no auth; {words}"),
                users: vec![SubjectMatcher::Anonymous],
                repositories: "**".parse().into_iter().collect(),
                actions,
                mapping: Mapping::Denied(why),
            }]);
            (vec![SubjectMatcher::SignedIn], format!("no auth; {words}"), line, Mapping::Exact)
        }
        Authentication::Htpasswd(at) => {
            htpasswd(root, migration);
            (vec![SubjectMatcher::SignedIn], format!("auth.htpasswd; {words}"), at.line, Mapping::Exact)
        }
        Authentication::Token(at) => {
            token(at, migration);
            let why = "the token server decided who may do what".to_owned();
            (vec![SubjectMatcher::SignedIn], format!("auth.token; {words}"), at.line, Mapping::Denied(why))
        }
        Authentication::Other(at) => {
            let text = "auth: this kind of authentication is not supported; users must sign in now, create them with \
                        `portcullis user add`";
            migration.warn(at.line, text);
            (vec![SubjectMatcher::SignedIn], format!("auth; {words}"), at.line, Mapping::Exact)
        }
    };
    let repositories = "**".parse().into_iter().collect();
    migration.add_rules(vec![AccessEntry { line, description, users, repositories, actions, mapping }]);
}

fn authentication(root: NodeRef<'_>) -> Authentication<'_> {
    match startup_checks::auth_kind(root) {
        None => Authentication::Nothing,
        Some(("htpasswd", at)) => Authentication::Htpasswd(at),
        Some(("token", at)) => Authentication::Token(at),
        Some((_, at)) => Authentication::Other(at),
    }
}

/// The actions that the registry serves at all, the reason in words, and its line.
fn actions(root: NodeRef<'_>, migration: &mut Migration) -> (Actions, String, usize) {
    let storage = root.get("storage").map_or(1, |at| at.line);
    let is_on = |key| root.get(key).filter(|at| at.is_true());
    if let Some(at) = is_on("storage.maintenance.readonly.enabled") {
        return (
            [Action::Pull].into_iter().collect(),
            "storage.maintenance.readonly: pushing is off".to_owned(),
            at.line,
        );
    }
    if let Some((_, at)) = startup_checks::non_empty_text(root, "proxy.remoteurl") {
        return ([Action::Pull].into_iter().collect(), "proxy: a cache accepts no pushes".to_owned(), at.line);
    }
    let classes = root.get("policy.repository.classes").filter(|at| !at.elements().is_empty());
    let delete = root.get("storage.delete.enabled").filter(|at| !at.is_null());
    if let Some(at) = delete.filter(|at| at.boolean("").is_err()) {
        migration.warn(at.line, "storage.delete.enabled: neither true nor false without quotes, so deleting is off");
    }
    if let Some(at) = classes {
        let delete = delete.filter(|at| at.is_true()).map(|_| Action::Delete);
        let actions = [Action::Pull].into_iter().chain(delete).collect();
        return (actions, "policy.repository.classes: images of some kinds only could be pushed".to_owned(), at.line);
    }
    if let Some(at) = is_on("storage.delete.enabled") {
        return (Actions::PULL_PUSH_DELETE, "storage.delete.enabled".to_owned(), at.line);
    }
    let actions = [Action::Pull, Action::Push].into_iter().collect();
    (actions, "deleting is off without storage.delete.enabled".to_owned(), storage)
}

fn htpasswd(root: NodeRef<'_>, migration: &mut Migration) {
    if let Some(at) = root.get("auth.htpasswd.realm") {
        migration.note(at.line, "auth.htpasswd.realm: not needed: clients are sent to /token of this registry");
    }
    if let Some((value, line)) = path_value(root, "auth.htpasswd.path") {
        migration.set("auth", "htpasswd", value, line, "auth.htpasswd.path");
        let refuse = TomlValue::text("refuse");
        migration.set("auth", "legacy_hashes", refuse, line, "auth.htpasswd accepts bcrypt only");
    } else {
        let line = root.get("auth.htpasswd").map(|at| at.line);
        migration.warn(line, "auth.htpasswd: there is no path; set auth.htpasswd to the users file");
    }
}

fn token(auth: NodeRef<'_>, migration: &mut Migration) {
    migration.warn(
        auth.line,
        "auth.token: tokens are issued here now, so users and rules must be here too; where the server is docker_auth, \
         `portcullis migrate docker_auth` reads its file",
    );
    for key in ["issuer", "service"] {
        let Some(at) = auth.get(key) else { continue };
        let from = format!("auth.token.{key}");
        match at.text().filter(|text| is_claim(text)) {
            Some(text) => migration.set("auth.token", key, TomlValue::text(text), at.line, &from),
            None => migration.warn(at.line, &format!("{from}: not a valid name; the first of `hostnames` is used")),
        }
    }
    for key in ["realm", "rootcertbundle", "jwks", "signingalgorithms", "autoredirect", "autoredirectpath"] {
        if let Some(at) = auth.get(key) {
            migration
                .note(at.line, &format!("auth.token.{key}: not needed: clients are sent to /token of this registry"));
        }
    }
}
