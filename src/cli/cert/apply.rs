//! `portcullis cert trust --apply`: the plan, carried out on this machine.
//!
//! Invariant: each file is written whole or not at all, the second time changes nothing, and what somebody else wrote is
//! neither changed nor lost.

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

/// containerd looks for `HOST_PORT_` before `HOST:PORT`.
fn beside_what_is_there(plan: Plan, base: &Path) -> Plan {
    let name = plan.folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let first = name.rsplit_once(':').map(|(host, port)| plan.folder.with_file_name(format!("{host}_{port}_")));
    let folder = first.filter(|first| inside(base, first).is_dir()).unwrap_or(plan.folder);
    Plan { folder, ..plan }
}

fn for_this_system(plan: Plan, base: &Path) -> Result<Plan, Failure> {
    let found = STORES.into_iter().find(|(folder, _)| inside(base, Path::new(folder)).is_dir());
    let (folder, command) = found.ok_or_else(|| {
        let error = "this system has none of the folders that authorities are put into";
        Failure::new(error, Some("install the package ca-certificates first"))
    })?;
    Ok(Plan { folder: PathBuf::from(folder), command: Some(command), ..plan })
}

fn inside(base: &Path, path: &Path) -> PathBuf {
    base.join(path.strip_prefix("/").unwrap_or(path))
}

/// A certificate is exchanged for ours; a file with settings may say more than that.
fn refuse_settings_of_others(path: &Path, contents: &str) -> Result<(), Failure> {
    let is_settings = path.extension().is_some_and(|extension| extension == "toml");
    match fs::read_to_string(path) {
        Ok(found) if is_settings && found != contents => {
            let error = format!("{}: there are other settings already", path.display());
            Err(Failure::new(
                error,
                Some(&format!("nothing was written; add to them by hand what would be written:\n{contents}")),
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
        "run it with sudo; or without --apply, and paste what it prints"
    } else {
        "it must be possible to make this file; without --apply, the commands for it are printed"
    };
    Failure::new(format!("{}: {error}", path.display()), Some(hint))
}

/// What the operating system trusts is made from its folder by a command of its own.
fn take_up(command: &str, is_elsewhere: bool) -> Result<(), Failure> {
    if is_elsewhere {
        say(&format!("run {command} there"));
        return Ok(());
    }
    let hint = format!("run it by hand: sudo {command}");
    // Its report is talk, and what we write to standard output is data.
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
    // Nobody reads it: nobody misses it.
    let _ = writeln!(io::stderr(), "{words}");
}
