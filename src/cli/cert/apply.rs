//! Implements `portcullis cert trust --apply`: writes the files of a [`TrustPlan`] on this machine and runs its
//! command.
//!
//! Invariant: each file is replaced atomically, a second run changes nothing, and settings that another tool or person
//! wrote are neither changed nor lost.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{
    super::CommandError,
    trust_plan::{ClientKind, OS_TRUST_STORES, TrustPlan},
};
use crate::tls;

pub(super) fn run(plan: TrustPlan, client: ClientKind, root: Option<&Path>) -> Result<(), CommandError> {
    let base = root.unwrap_or(Path::new("/"));
    let plan = match client {
        ClientKind::Docker | ClientKind::Podman => plan,
        ClientKind::Containerd => use_existing_containerd_folder(plan, base),
        ClientKind::Os => select_os_store(plan, base)?,
    };
    let folder = below_root(base, &plan.folder);
    for (name, contents) in &plan.files {
        refuse_foreign_settings(&folder.join(name), contents)?;
    }
    for (name, contents) in &plan.files {
        write_file(&folder, &folder.join(name), contents)?;
    }
    if let Some(command) = plan.command {
        run_update_command(command, root.is_some())?;
    }
    for note in plan.notes {
        print_message(note);
    }
    Ok(())
}

/// Uses the folder `HOST_PORT_` where it exists, because containerd reads it before `HOST:PORT`.
fn use_existing_containerd_folder(plan: TrustPlan, base: &Path) -> TrustPlan {
    let name = plan.folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let first = name.rsplit_once(':').map(|(host, port)| plan.folder.with_file_name(format!("{host}_{port}_")));
    let folder = first.filter(|first| below_root(base, first).is_dir()).unwrap_or(plan.folder);
    TrustPlan { folder, ..plan }
}

fn select_os_store(plan: TrustPlan, base: &Path) -> Result<TrustPlan, CommandError> {
    let found = OS_TRUST_STORES.into_iter().find(|(folder, _)| below_root(base, Path::new(folder)).is_dir());
    let (folder, command) = found.ok_or_else(|| {
        let error = "this system has none of the known folders for additional certificate authorities";
        CommandError::new(error, Some("install the package ca-certificates first"))
    })?;
    Ok(TrustPlan { folder: PathBuf::from(folder), command: Some(command), ..plan })
}

fn below_root(base: &Path, path: &Path) -> PathBuf {
    base.join(path.strip_prefix("/").unwrap_or(path))
}

/// Refuses to overwrite a TOML file with other contents: it may have settings that the plan does not contain. A
/// certificate file is overwritten.
fn refuse_foreign_settings(path: &Path, contents: &str) -> Result<(), CommandError> {
    let is_settings = path.extension().is_some_and(|extension| extension == "toml");
    match fs::read_to_string(path) {
        Ok(found) if is_settings && found != contents => {
            let error = format!("{}: the file exists and has other settings", path.display());
            Err(CommandError::new(
                error,
                Some(&format!("nothing was written; add these lines to the file by hand:\n{contents}")),
            ))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

fn write_file(folder: &Path, path: &Path, contents: &str) -> Result<(), CommandError> {
    if fs::read_to_string(path).is_ok_and(|found| found == contents) {
        print_message(&format!("unchanged {}", path.display()));
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(|error| unwritable(folder, &error))?;
    tls::write_public_file(path, contents).map_err(|error| unwritable(path, &error))?;
    print_message(&format!("wrote {}", path.display()));
    Ok(())
}

fn unwritable(path: &Path, error: &io::Error) -> CommandError {
    let hint = if error.kind() == io::ErrorKind::PermissionDenied {
        "run it with sudo; or without --apply, and paste the commands that it prints"
    } else {
        "make this file writable; or run it without --apply, and paste the commands that it prints"
    };
    CommandError::new(format!("{}: {error}", path.display()), Some(hint))
}

/// Runs the command by which the operating system loads the folder of authorities. With another root it is only named.
fn run_update_command(command: &str, is_elsewhere: bool) -> Result<(), CommandError> {
    if is_elsewhere {
        print_message(&format!("run {command} there"));
        return Ok(());
    }
    let hint = format!("run it by hand: sudo {command}");
    // Its messages are discarded, because standard output carries data only.
    let ran = Command::new(command).stdin(Stdio::null()).stdout(Stdio::null()).status();
    match ran {
        Ok(status) if status.success() => {
            print_message(&format!("ran {command}"));
            Ok(())
        }
        Ok(status) => Err(CommandError::new(format!("{command}: {status}"), Some(&hint))),
        Err(error) => Err(CommandError::new(format!("{command}: {error}"), Some(&hint))),
    }
}

fn print_message(words: &str) {
    // A write error is ignored: the files are written all the same.
    let _ = writeln!(io::stderr(), "{words}");
}
