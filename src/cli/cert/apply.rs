//! Implements `portcullis cert trust --apply`: writes the files of a [`Plan`] on this machine and runs its command.
//!
//! Invariant: each file is replaced atomically, a second run changes nothing, and settings that another tool or person
//! wrote are neither changed nor lost.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use aws_lc_rs::rand::SystemRandom;

use super::{
    super::Failure,
    trust::{Client, Plan, STORES},
};
use crate::tls;

pub(super) fn run(plan: Plan, client: Client, root: Option<&Path>) -> Result<(), Failure> {
    let base = root.unwrap_or(Path::new("/"));
    let plan = match client {
        Client::Docker | Client::Podman => plan,
        Client::Containerd => beside_what_is_there(plan, base),
        Client::Os => for_this_system(plan, base)?,
    };
    let folder = inside(base, &plan.folder);
    for (name, contents) in &plan.files {
        refuse_settings_of_others(&folder.join(name), contents)?;
    }
    for (name, contents) in &plan.files {
        put(&folder, &folder.join(name), contents)?;
    }
    if let Some(command) = plan.command {
        take_up(command, root.is_some())?;
    }
    for note in plan.notes {
        say(note);
    }
    Ok(())
}

/// Uses the folder `HOST_PORT_` where it exists, because containerd reads it before `HOST:PORT`.
fn beside_what_is_there(plan: Plan, base: &Path) -> Plan {
    let name = plan.folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let first = name.rsplit_once(':').map(|(host, port)| plan.folder.with_file_name(format!("{host}_{port}_")));
    let folder = first.filter(|first| inside(base, first).is_dir()).unwrap_or(plan.folder);
    Plan { folder, ..plan }
}

fn for_this_system(plan: Plan, base: &Path) -> Result<Plan, Failure> {
    let found = STORES.into_iter().find(|(folder, _)| inside(base, Path::new(folder)).is_dir());
    let (folder, command) = found.ok_or_else(|| {
        let error = "this system has none of the known folders for additional certificate authorities";
        Failure::new(error, Some("install the package ca-certificates first"))
    })?;
    Ok(Plan { folder: PathBuf::from(folder), command: Some(command), ..plan })
}

fn inside(base: &Path, path: &Path) -> PathBuf {
    base.join(path.strip_prefix("/").unwrap_or(path))
}

/// Refuses to overwrite a TOML file with other contents: it may have settings that the plan does not contain. A
/// certificate file is overwritten.
fn refuse_settings_of_others(path: &Path, contents: &str) -> Result<(), Failure> {
    let is_settings = path.extension().is_some_and(|extension| extension == "toml");
    match fs::read_to_string(path) {
        Ok(found) if is_settings && found != contents => {
            let error = format!("{}: the file exists and has other settings", path.display());
            Err(Failure::new(
                error,
                Some(&format!("nothing was written; add these lines to the file by hand:\n{contents}")),
            ))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

fn put(folder: &Path, path: &Path, contents: &str) -> Result<(), Failure> {
    if fs::read_to_string(path).is_ok_and(|found| found == contents) {
        say(&format!("unchanged {}", path.display()));
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(|error| unwritable(folder, &error))?;
    tls::publish(path, contents, &SystemRandom::new()).map_err(|error| unwritable(path, &error))?;
    say(&format!("wrote {}", path.display()));
    Ok(())
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    let hint = if error.kind() == io::ErrorKind::PermissionDenied {
        "run it with sudo; or without --apply, and paste the commands that it prints"
    } else {
        "make this file writable; or run it without --apply, and paste the commands that it prints"
    };
    Failure::new(format!("{}: {error}", path.display()), Some(hint))
}

/// Runs the command by which the operating system loads the folder of authorities. With another root it is only named.
fn take_up(command: &str, is_elsewhere: bool) -> Result<(), Failure> {
    if is_elsewhere {
        say(&format!("run {command} there"));
        return Ok(());
    }
    let hint = format!("run it by hand: sudo {command}");
    // Its messages are discarded, because standard output carries data only.
    let ran = Command::new(command).stdin(Stdio::null()).stdout(Stdio::null()).status();
    match ran {
        Ok(status) if status.success() => {
            say(&format!("ran {command}"));
            Ok(())
        }
        Ok(status) => Err(Failure::new(format!("{command}: {status}"), Some(&hint))),
        Err(error) => Err(Failure::new(format!("{command}: {error}"), Some(&hint))),
    }
}

fn say(words: &str) {
    // A write error is ignored: the files are written all the same.
    let _ = writeln!(io::stderr(), "{words}");
}
