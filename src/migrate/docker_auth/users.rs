//! The users that stand in the file.
//!
//! Invariant: a user whose password was not checked before, or whom our users file cannot hold, is not made.

use std::{collections::BTreeMap, path::Path};

use super::super::{draft::Value, talk::Migration, yaml::At};
use crate::{access::UserName, auth::hash::StoredHash};

/// What a user is labelled with.
pub(super) type Labels = BTreeMap<String, Vec<String>>;

/// Who is known.
pub(super) struct Users {
    line: usize,
    known: BTreeMap<UserName, Labels>,
    hashes: Vec<(UserName, StoredHash)>,
    /// Whether whoever does not sign in is let in.
    pub(super) anonymous: bool,
}

impl Users {
    pub(super) fn read(users: Option<At<'_>>, migration: &mut Migration) -> Self {
        let mut found =
            Self { line: users.map_or(1, |at| at.line), known: BTreeMap::new(), hashes: Vec::new(), anonymous: false };
        for (name, at) in users.into_iter().flat_map(At::entries) {
            found.user(name, at, migration);
        }
        found
    }

    fn user(&mut self, name: &str, at: At<'_>, migration: &mut Migration) {
        let password = at.at("password").filter(|password| !password.is_null());
        if name.is_empty() {
            if password.is_none() {
                self.anonymous = true;
            } else {
                migration
                    .warn(at.line, "users: the anonymous user has a password, and nobody anonymous has one; left out");
            }
            return;
        }
        let name: UserName = match name.parse() {
            Ok(name) => name,
            Err(error) => {
                return migration.warn(at.line, &format!("users: {name:?}: {error}; give this user another name"));
            }
        };
        let labels = at.at("labels").into_iter().flat_map(At::entries).map(|(label, values)| {
            let values = values.elements().into_iter().filter_map(At::text).map(str::to_owned).collect();
            (label.to_owned(), values)
        });
        self.known.insert(name.clone(), labels.collect());
        let Some(password) = password.and_then(At::text) else {
            let advice = format!("any password would do for {name}; not made, add it with `portcullis user add`");
            return migration.warn(at.line, &format!("users: {advice}"));
        };
        match password.parse::<StoredHash>() {
            Ok(hash @ StoredHash::Bcrypt(_)) => self.hashes.push((name, hash)),
            // Nobody got in with these.
            Ok(StoredHash::Md5Crypt(_) | StoredHash::Sha1(_) | StoredHash::ShaCrypt(_)) => {
                let advice =
                    format!("{name}: docker_auth takes bcrypt alone; not made, add it with `portcullis user add`");
                migration.warn(at.line, &format!("users: {advice}"));
            }
            Err(error) => {
                let advice = format!("{name}: {error}; not made, add it with `portcullis user add`");
                migration.warn(at.line, &format!("users: {advice}"));
            }
        }
    }

    /// Hands the hashes over, and says where they go.
    pub(super) fn carry(&self, htpasswd: Option<&Path>, migration: &mut Migration) {
        match htpasswd.map(Path::to_str) {
            _ if self.hashes.is_empty() => {}
            Some(Some(path)) => {
                for (name, hash) in &self.hashes {
                    migration.users.set(name, hash);
                }
                migration.set("auth", "htpasswd", Value::text(path), self.line, "users, written by --htpasswd");
            }
            Some(None) => migration.warn(self.line, "users: --htpasswd is not UTF-8, which the configuration must be"),
            None => {
                let many = self.hashes.len();
                migration.warn(
                    self.line,
                    &format!(
                        "users: {many} with their password hashes, which are not shown here; give --htpasswd FILE to write \
                         them to a new users file"
                    ),
                );
            }
        }
    }

    /// All who are known, with their labels.
    pub(super) fn known(&self) -> impl Iterator<Item = (&UserName, &Labels)> {
        self.known.iter()
    }
}
