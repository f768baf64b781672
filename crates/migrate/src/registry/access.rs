//! Converts the registry's authentication and its restrictions on pushing and deleting to access rules.
//!
//! Invariant: rules are opened only by what the file itself says; a token server's rules are unknown, so they open
//! nothing.

use super::{
    super::{
        draft::{Value, is_claim},
        rules::{Carry, Entry},
        talk::Migration,
        yaml::At,
    },
    path, startup,
};
use portcullis_access::{Action, Actions, Who};

/// The way in which clients authenticated.
enum Proof<'a> {
    Nothing,
    Htpasswd(At<'a>),
    Token(At<'a>),
    /// A way that Portcullis does not support.
    Other(At<'a>),
}

/// Writes the access rules and `[auth]`.
pub(super) fn read(root: At<'_>, migration: &mut Migration) {
    let (actions, words, line) = actions(root, migration);
    let (users, what, line, carry) = match proof(root) {
        Proof::Nothing => {
            migration.warn(
                None,
                "auth: there is none in the file, but variables REGISTRY_AUTH_… may have required passwords, so anonymous requests \
                 are denied; if there were no such variables, use the rule for `anonymous` that is in the file as a comment",
            );
            let why = "a variable REGISTRY_AUTH_… may have required passwords".to_owned();
            migration.rules(vec![Entry {
                line,
                what: format!("no auth; {words}"),
                users: vec![Who::Anonymous],
                repositories: "**".parse().into_iter().collect(),
                actions,
                carry: Carry::Withheld(why),
            }]);
            (vec![Who::SignedIn], format!("no auth; {words}"), line, Carry::Exactly)
        }
        Proof::Htpasswd(at) => {
            htpasswd(root, migration);
            (vec![Who::SignedIn], format!("auth.htpasswd; {words}"), at.line, Carry::Exactly)
        }
        Proof::Token(at) => {
            token(at, migration);
            let why = "the token server decided who may do what".to_owned();
            (vec![Who::SignedIn], format!("auth.token; {words}"), at.line, Carry::Withheld(why))
        }
        Proof::Other(at) => {
            let text = "auth: this kind of authentication is not supported; users must sign in now, create them with \
                        `portcullis user add`";
            migration.warn(at.line, text);
            (vec![Who::SignedIn], format!("auth; {words}"), at.line, Carry::Exactly)
        }
    };
    let repositories = "**".parse().into_iter().collect();
    migration.rules(vec![Entry { line, what, users, repositories, actions, carry }]);
}

fn proof(root: At<'_>) -> Proof<'_> {
    match startup::auth_kind(root) {
        None => Proof::Nothing,
        Some(("htpasswd", at)) => Proof::Htpasswd(at),
        Some(("token", at)) => Proof::Token(at),
        Some((_, at)) => Proof::Other(at),
    }
}

/// The actions that the registry serves at all, the reason in words, and its line.
fn actions(root: At<'_>, migration: &mut Migration) -> (Actions, String, usize) {
    let storage = root.at("storage").map_or(1, |at| at.line);
    let is_on = |key| root.at(key).filter(|at| at.is_true());
    if let Some(at) = is_on("storage.maintenance.readonly.enabled") {
        return (
            [Action::Pull].into_iter().collect(),
            "storage.maintenance.readonly: pushing is off".to_owned(),
            at.line,
        );
    }
    if let Some((_, at)) = startup::given(root, "proxy.remoteurl") {
        return ([Action::Pull].into_iter().collect(), "proxy: a cache accepts no pushes".to_owned(), at.line);
    }
    let classes = root.at("policy.repository.classes").filter(|at| !at.elements().is_empty());
    let delete = root.at("storage.delete.enabled").filter(|at| !at.is_null());
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

fn htpasswd(root: At<'_>, migration: &mut Migration) {
    if let Some(at) = root.at("auth.htpasswd.realm") {
        migration.note(at.line, "auth.htpasswd.realm: not needed: clients are sent to /token of this registry");
    }
    if let Some((value, line)) = path(root, "auth.htpasswd.path") {
        migration.set("auth", "htpasswd", value, line, "auth.htpasswd.path");
        let refuse = Value::text("refuse");
        migration.set("auth", "legacy_hashes", refuse, line, "auth.htpasswd accepts bcrypt only");
    } else {
        let line = root.at("auth.htpasswd").map(|at| at.line);
        migration.warn(line, "auth.htpasswd: there is no path; set auth.htpasswd to the users file");
    }
}

fn token(auth: At<'_>, migration: &mut Migration) {
    migration.warn(
        auth.line,
        "auth.token: tokens are issued here now, so users and rules must be here too; where the server is docker_auth, \
         `portcullis migrate docker_auth` reads its file",
    );
    for key in ["issuer", "service"] {
        let Some(at) = auth.at(key) else { continue };
        let from = format!("auth.token.{key}");
        match at.text().filter(|text| is_claim(text)) {
            Some(text) => migration.set("auth.token", key, Value::text(text), at.line, &from),
            None => migration.warn(at.line, &format!("{from}: not a valid name; the first of `hostnames` is used")),
        }
    }
    for key in ["realm", "rootcertbundle", "jwks", "signingalgorithms", "autoredirect", "autoredirectpath"] {
        if let Some(at) = auth.at(key) {
            migration
                .note(at.line, &format!("auth.token.{key}: not needed: clients are sent to /token of this registry"));
        }
    }
}
