//! Reads the users of `docker_auth`'s configuration and hands their bcrypt hashes over to a users file.
//!
//! Invariant: a user is not created if `docker_auth` did not check a password of theirs, or if a users file cannot hold
//! their name.

use std::{collections::BTreeMap, path::Path};

use super::{
    super::{
        draft::Value,
        talk::{Broken, Migration},
        yaml::At,
    },
    unsupported::OTHER_USERS,
};
use portcullis_access::UserName;
use portcullis_auth::hash::StoredHash;

/// The labels of a user: values by label name.
pub(super) type Labels = BTreeMap<String, Vec<String>>;

/// The users of the file, with labels and hashes.
pub(super) struct Users {
    line: usize,
    known: BTreeMap<UserName, Labels>,
    hashes: Vec<(UserName, StoredHash)>,
    /// The labels of the anonymous user, if the file has one.
    pub(super) anonymous: Option<Labels>,
    /// Whether another backend may sign in users who are not in the file.
    pub(super) has_others: bool,
}

impl Users {
    /// Reads `users` and looks for other sources of users. Refuses what `docker_auth` refuses.
    pub(super) fn read(root: At<'_>, migration: &mut Migration) -> Result<Self, Broken> {
        let users = root.at("users");
        let mut found = Self {
            line: users.map_or(1, |at| at.line),
            known: BTreeMap::new(),
            hashes: Vec::new(),
            anonymous: None,
            has_others: OTHER_USERS.iter().any(|key| root.at(key).is_some_and(|at| !at.is_null())),
        };
        for (name, at) in users.map(|at| at.map("users")).transpose()?.unwrap_or_default() {
            found.user(name, at, migration)?;
        }
        Ok(found)
    }

    fn user(&mut self, name: &str, at: At<'_>, migration: &mut Migration) -> Result<(), Broken> {
        at.map("users")?;
        if at.is_null() {
            // Go's library yields no user for a null value; `{}` is a user without a password.
            let text = format!("users: {name:?}: the value is missing, so docker_auth has no such user; left out");
            migration.warn(at.line, &text);
            return Ok(());
        }
        let password = at.at("password").filter(|password| !password.is_null());
        let password = password.map(|password| password.scalar("password")).transpose()?;
        let labels = labels(at)?;
        if name.is_empty() {
            if password.is_none() {
                self.anonymous = Some(labels);
            } else {
                migration.warn(
                    at.line,
                    "users: the anonymous user has a password, which anonymous requests never send; left out",
                );
            }
            return Ok(());
        }
        match name.parse::<UserName>() {
            Ok(name) => {
                self.known.insert(name.clone(), labels);
                self.password(name, password, at.line, migration);
            }
            Err(error) => migration.warn(at.line, &format!("users: {name:?}: {error}; give this user another name")),
        }
        Ok(())
    }

    fn password(&mut self, name: UserName, password: Option<&str>, line: usize, migration: &mut Migration) {
        let Some(password) = password else {
            let advice = format!(
                "docker_auth accepts any password for {name}; not created, add the user with `portcullis user add`"
            );
            return migration.warn(line, &format!("users: {advice}"));
        };
        match password.parse::<StoredHash>() {
            Ok(hash @ StoredHash::Bcrypt(_)) => self.hashes.push((name, hash)),
            // docker_auth never accepted such a hash.
            Ok(StoredHash::Md5Crypt(_) | StoredHash::Sha1(_) | StoredHash::ShaCrypt(_)) => {
                let advice = format!(
                    "{name}: docker_auth accepts bcrypt only; not created, add the user with `portcullis user add`"
                );
                migration.warn(line, &format!("users: {advice}"));
            }
            Err(error) => {
                let advice = format!("{name}: {error}; not created, add the user with `portcullis user add`");
                migration.warn(line, &format!("users: {advice}"));
            }
        }
    }

    /// Hands the hashes over and writes `auth.htpasswd`; without a file for them, warns that they are left out.
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

    /// The users of the file, each with its labels.
    pub(super) fn known(&self) -> impl Iterator<Item = (&UserName, &Labels)> {
        self.known.iter()
    }
}

fn labels(user: At<'_>) -> Result<Labels, Broken> {
    let labels = user.at("labels").map(|at| at.map("labels")).transpose()?.unwrap_or_default();
    let label = |(label, values): (&str, At<'_>)| {
        let values = values.list("labels")?.into_iter().map(|value| value.scalar("labels").map(str::to_owned));
        Ok((label.to_owned(), values.collect::<Result<_, Broken>>()?))
    };
    labels.into_iter().map(label).collect()
}
