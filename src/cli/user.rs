//! Implements `portcullis user`: adds, changes, removes, lists and verifies users of the users file.
//!
//! Invariant: no hash and no password is ever printed; the list goes to `out`, everything else to `err`.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use aws_lc_rs::rand::SystemRandom;

use super::prompt::{self, PasswordPurpose, PromptError};
use crate::{
    access::UserName,
    auth::{
        NewPassword, Password,
        passwords::hash::{BcryptCost, NoRandomness, StoredHash},
        passwords::password::UnusablePassword,
        users::htpasswd::Htpasswd,
        users::{EditError, UsersFileError, edit, read_leniently},
    },
};

/// Add, change, remove, list and check the users of the users file
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    /// Add a user
    Add(SetArgs),
    /// Change a user's password
    Passwd(SetArgs),
    /// Remove a user
    #[command(visible_alias = "rm")]
    Remove(NamedArgs),
    /// List the users and the formats of their password hashes
    #[command(visible_alias = "ls")]
    List(FileArgs),
    /// Check a user's password
    Verify(VerifyArgs),
}

#[derive(Clone, Debug, clap::Args)]
struct FileArgs {
    /// The users file
    #[arg(long, value_name = "FILE")]
    htpasswd: Option<PathBuf>,
}

#[derive(Clone, Debug, clap::Args)]
struct NamedArgs {
    /// The user's name
    name: UserName,
    #[command(flatten)]
    file: FileArgs,
}

#[derive(Clone, Debug, clap::Args)]
struct VerifyArgs {
    /// The user's name
    name: UserName,
    /// Read the password from standard input, up to the newline
    #[arg(long)]
    password_stdin: bool,
    #[command(flatten)]
    file: FileArgs,
}

#[derive(Clone, Debug, clap::Args)]
struct SetArgs {
    /// The user's name
    name: UserName,
    /// Read the password from standard input, up to the newline
    #[arg(long)]
    password_stdin: bool,
    /// The bcrypt cost, 4 to 16: every step doubles the time of a guess [default: the highest in the file, or 10]
    #[arg(long, value_name = "N")]
    cost: Option<BcryptCost>,
    #[command(flatten)]
    file: FileArgs,
}

impl Args {
    /// The user that the command changes, and the change as the audit trail names it.
    pub(super) fn change(&self) -> Option<(UserName, &'static str)> {
        match &self.command {
            Command::Add(args) => Some((args.name.clone(), "added")),
            Command::Passwd(args) => Some((args.name.clone(), "password changed")),
            Command::Remove(args) => Some((args.name.clone(), "removed")),
            Command::List(_) | Command::Verify(_) => None,
        }
    }

    /// The users file given with `--htpasswd`.
    pub(super) fn htpasswd(&self) -> Option<&Path> {
        let file = match &self.command {
            Command::Add(args) | Command::Passwd(args) => &args.file,
            Command::Remove(args) => &args.file,
            Command::List(file) => file,
            Command::Verify(args) => &args.file,
        };
        file.htpasswd.as_deref()
    }
}

/// Runs the command on the file that it names, or on `default_htpasswd`.
pub(super) fn run(
    args: Args,
    default_htpasswd: PathBuf,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), UserError> {
    run_with(args, default_htpasswd, &prompt::password, out, err)
}

/// Reads a password: [`prompt::password`], or a test's replacement for it.
type PasswordSource<'a> = &'a dyn Fn(&str, PasswordPurpose, bool) -> Result<Password, PromptError>;

fn run_with(
    args: Args,
    default_htpasswd: PathBuf,
    ask: PasswordSource<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), UserError> {
    let path = |file: FileArgs| file.htpasswd.unwrap_or(default_htpasswd);
    match args.command {
        Command::Add(SetArgs { name, file, cost, password_stdin }) => {
            let path = path(file);
            let ask = || ask(name.as_str(), PasswordPurpose::New, password_stdin);
            set_password(&path, &name, ExpectedLine::Absent, cost, &ask, err)?;
            writeln!(err, "{}: user {name} added", path.display())?;
        }
        Command::Passwd(SetArgs { name, file, cost, password_stdin }) => {
            let path = path(file);
            let ask = || ask(name.as_str(), PasswordPurpose::New, password_stdin);
            set_password(&path, &name, ExpectedLine::Present, cost, &ask, err)?;
            writeln!(err, "{}: password of user {name} changed", path.display())?;
        }
        Command::Remove(NamedArgs { name, file }) => {
            let path = path(file);
            remove(&path, &name, err)?;
            writeln!(err, "{}: user {name} removed", path.display())?;
        }
        Command::List(file) => list(&path(file), out, err)?,
        Command::Verify(VerifyArgs { name, file, password_stdin }) => {
            let path = path(file);
            verify(&path, &name, &|| ask(name.as_str(), PasswordPurpose::Existing, password_stdin))?;
            writeln!(err, "{}: the password of user {name} matches", path.display())?;
        }
    }
    Ok(())
}

/// Whether the command requires that the users file has a line of the user, or that it has none.
#[derive(Clone, Copy)]
enum ExpectedLine {
    Absent,
    Present,
}

impl ExpectedLine {
    fn require(self, file: &Htpasswd, user: &UserName) -> Result<(), UserError> {
        match (self, file.has_line(user)) {
            (Self::Absent, true) => Err(UserError::Exists(user.clone())),
            (Self::Present, false) => Err(UserError::Unknown(user.clone())),
            (Self::Absent, false) | (Self::Present, true) => Ok(()),
        }
    }
}

fn set_password(
    path: &Path,
    user: &UserName,
    line: ExpectedLine,
    cost: Option<BcryptCost>,
    ask: &dyn Fn() -> Result<Password, PromptError>,
    err: &mut dyn Write,
) -> Result<(), UserError> {
    // Checked before the prompt, so that no password is typed in vain, and again under the lock.
    let before = match (read_leniently(path), line) {
        (Err(UsersFileError::Missing { .. }), ExpectedLine::Absent) => Htpasswd::parse(b""),
        (before, _) => before?,
    };
    line.require(&before, user)?;
    let password = NewPassword::try_from(ask()?)?;
    // Hashed before the file is locked: at a high cost this takes seconds.
    let hash = StoredHash::new(&password, cost.unwrap_or(before.bcrypt_cost()), &SystemRandom::new())?;
    let file = edit(path, |file| {
        line.require(file, user)?;
        file.set_hash(user, &hash);
        Ok::<_, UserError>(())
    })?;
    print_warnings(path, &file, err)
}

fn remove(path: &Path, user: &UserName, err: &mut dyn Write) -> Result<(), UserError> {
    // Checked first, because an edit creates a missing file.
    ExpectedLine::Present.require(&read_leniently(path)?, user)?;
    let file = edit(path, |file| if file.remove(user) { Ok(()) } else { Err(UserError::Unknown(user.clone())) })?;
    print_warnings(path, &file, err)
}

fn list(path: &Path, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), UserError> {
    let file = read_leniently(path)?;
    let width = file.users().map(|(user, _)| user.as_str().chars().count()).max().unwrap_or(0);
    for (user, hash) in file.users() {
        writeln!(out, "{:width$}  {}", user.as_str(), hash.kind())?;
    }
    print_warnings(path, &file, err)
}

fn verify(path: &Path, user: &UserName, ask: &dyn Fn() -> Result<Password, PromptError>) -> Result<(), UserError> {
    let file = read_leniently(path)?;
    ExpectedLine::Present.require(&file, user)?;
    let hash = file.hash(user).ok_or_else(|| UserError::Unusable { user: user.clone(), path: path.to_owned() })?;
    let password = ask()?;
    if hash.matches(&password) { Ok(()) } else { Err(UserError::WrongPassword(user.clone())) }
}

/// Warns of lines whose users cannot sign in. They do not make the command fail.
fn print_warnings(path: &Path, file: &Htpasswd, err: &mut dyn Write) -> Result<(), UserError> {
    for problem in file.problems() {
        writeln!(err, "warning: {}:{}: {}", path.display(), problem.line, problem.reason)?;
        writeln!(err, "hint: {}", problem.reason.hint())?;
    }
    Ok(())
}

/// Why a `user` command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum UserError {
    /// The user to add exists.
    #[error("user {:?} already exists", .0.as_str())]
    Exists(UserName),
    /// The user does not exist.
    #[error("there is no user {:?}", .0.as_str())]
    Unknown(UserName),
    /// The user's line has no usable hash.
    #[error("{}: the line of user {:?} has no usable hash", path.display(), user.as_str())]
    Unusable {
        /// The user of the line.
        user: UserName,
        /// The users file.
        path: PathBuf,
    },
    /// The password does not match the hash.
    #[error("the password of user {:?} does not match", .0.as_str())]
    WrongPassword(UserName),
    /// The new password is not allowed: empty, too long, or with a NUL byte.
    #[error(transparent)]
    Password(#[from] UnusablePassword),
    /// No password could be read.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// The file cannot be read.
    #[error(transparent)]
    Load(#[from] UsersFileError),
    /// The file cannot be changed.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The system gave no random bytes for the salt.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// Standard output or standard error cannot be written.
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

impl UserError {
    /// What the operator can do about the error, if anything.
    #[must_use]
    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::Exists(user) => Some(format!("change the password with `portcullis user passwd '{user}'`")),
            Self::Unknown(user) => {
                Some(format!("see `portcullis user list`, or add the user with `portcullis user add '{user}'`"))
            }
            Self::Unusable { user, .. } => Some(format!("set a new password with `portcullis user passwd '{user}'`")),
            Self::Password(UnusablePassword::Empty | UnusablePassword::TooLong { .. } | UnusablePassword::Nul) => {
                Some(format!("choose a password of 1 to {} bytes", Password::MAX_LEN))
            }
            Self::Prompt(error) => Some(error.hint().to_owned()),
            Self::Load(error) => Some(error.hint().to_owned()),
            Self::Edit(error) => Some(error.hint().to_owned()),
            Self::WrongPassword(_) | Self::Random(_) | Self::Output(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
