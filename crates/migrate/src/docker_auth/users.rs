//! Reads the users of `docker_auth`'s configuration and hands their bcrypt hashes over to a users file.
//!
//! Invariant: a user is not created if `docker_auth` did not check a password of theirs, or if a users file cannot hold
//! their name.

use std::{collections::BTreeMap, path::Path};

use super::{
    super::{
        report::{Migration, ParseError},
        toml_writer::TomlValue,
        yaml::NodeRef,
    },
    unsupported::EXTERNAL_USER_KEYS,
};
use portcullis_access::UserName;
use portcullis_auth::passwords::hash::StoredHash;

/// The labels of a user: values by label name.
pub(super) type UserLabels = BTreeMap<String, Vec<String>>;

/// The users of the file, with labels and hashes.
pub(super) struct DockerAuthUsers {
    line: usize,
    known: BTreeMap<UserName, UserLabels>,
    hashes: Vec<(UserName, StoredHash)>,
    /// The labels of the anonymous user, if the file has one.
    pub(super) anonymous: Option<UserLabels>,
    /// Whether another backend may sign in users who are not in the file.
    pub(super) has_external_users: bool,
}

impl DockerAuthUsers {
    /// Reads `users` and looks for other sources of users. Refuses what `docker_auth` refuses.
    pub(super) fn read(root: NodeRef<'_>, migration: &mut Migration) -> Result<Self, ParseError> {
        let users = root.get("users");
        let mut found = Self {
            line: users.map_or(1, |at| at.line),
            known: BTreeMap::new(),
            hashes: Vec::new(),
            anonymous: None,
            has_external_users: EXTERNAL_USER_KEYS.iter().any(|key| root.get(key).is_some_and(|at| !at.is_null())),
        };
        for (name, at) in users.map(|at| at.map("users")).transpose()?.unwrap_or_default() {
            found.read_user(name, at, migration)?;
        }
        Ok(found)
    }

    fn read_user(&mut self, name: &str, at: NodeRef<'_>, migration: &mut Migration) -> Result<(), ParseError> {
        at.map("users")?;
        if at.is_null() {
            // Go's library yields no user for a null value; `{}` is a user without a password.
            let text = format!("users: {name:?}: the value is missing, so docker_auth has no such user; left out");
            migration.warn(at.line, &text);
            return Ok(());
        }
        let password = at.get("password").filter(|password| !password.is_null());
        let password = password.map(|password| password.scalar("password")).transpose()?;
        let labels = read_labels(at)?;
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
                self.read_password(name, password, at.line, migration);
            }
            Err(error) => migration.warn(at.line, &format!("users: {name:?}: {error}; give this user another name")),
        }
        Ok(())
    }

    fn read_password(&mut self, name: UserName, password: Option<&str>, line: usize, migration: &mut Migration) {
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
    pub(super) fn write_settings(&self, htpasswd: Option<&Path>, migration: &mut Migration) {
        match htpasswd.map(Path::to_str) {
            _ if self.hashes.is_empty() => {}
            Some(Some(path)) => {
                for (name, hash) in &self.hashes {
                    migration.users.set_hash(name, hash);
                }
                migration.set("auth", "htpasswd", TomlValue::text(path), self.line, "users, written by --htpasswd");
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
    pub(super) fn file_users(&self) -> impl Iterator<Item = (&UserName, &UserLabels)> {
        self.known.iter()
    }
}

fn read_labels(user: NodeRef<'_>) -> Result<UserLabels, ParseError> {
    let labels = user.get("labels").map(|at| at.map("labels")).transpose()?.unwrap_or_default();
    let label = |(label, values): (&str, NodeRef<'_>)| {
        let values = values.list("labels")?.into_iter().map(|value| value.scalar("labels").map(str::to_owned));
        Ok((label.to_owned(), values.collect::<Result<_, ParseError>>()?))
    };
    labels.into_iter().map(label).collect()
}
