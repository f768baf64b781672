//! Implements `portcullis migrate`: converts a configuration of nginx, registry:2 or `docker_auth`, and prints the
//! result.
//!
//! Invariant: standard output carries only the configuration, password hashes go to a new file that only its owner can
//! read, and no existing file is overwritten.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::CommandError;
use crate::migrate::{self, IncludeFiles, Migrated, MigrationSource};

/// Convert a configuration of another program to one of Portcullis, and print it
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    /// Read an nginx site that is a proxy for a registry
    Nginx(FileArgs),
    /// Read config.yml of registry:2 or 3 (CNCF Distribution)
    Registry(FileArgs),
    /// Read the configuration of `cesanta/docker_auth`
    #[command(name = "docker_auth", alias = "docker-auth")]
    DockerAuth(DockerAuthArgs),
}

#[derive(Clone, Debug, clap::Args)]
struct FileArgs {
    /// The file to read
    file: PathBuf,
}

#[derive(Clone, Debug, clap::Args)]
struct DockerAuthArgs {
    /// The file to read
    file: PathBuf,
    /// Write its users to this new users file, which the configuration then names
    #[arg(long, value_name = "FILE")]
    htpasswd: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<(), CommandError> {
    let (file, htpasswd) = match &args.command {
        Command::Nginx(args) | Command::Registry(args) => (&args.file, None),
        Command::DockerAuth(args) => (&args.file, args.htpasswd.as_deref()),
    };
    let origin = match &args.command {
        Command::Nginx(_) => MigrationSource::Nginx,
        Command::Registry(_) => MigrationSource::Registry,
        Command::DockerAuth(_) => MigrationSource::DockerAuth { htpasswd },
    };
    let name = file.display().to_string();
    let max_bytes = match &args.command {
        Command::Nginx(_) => migrate::MAX_DUMP_LEN,
        Command::Registry(_) | Command::DockerAuth(_) => migrate::MAX_FILE_LEN,
    };
    let text = read(file, max_bytes)?;
    let disk = ConfigFiles { file };
    let Migrated { toml, diagnostics: remarks, users } =
        migrate::migrate_with(origin, &name, &text, &disk).map_err(|broken| {
            let separator = if broken.line.is_some() { ":" } else { ": " };
            CommandError::new(format!("{name}{separator}{broken}"), Some(broken.hint))
        })?;
    if let Some(path) = htpasswd {
        write_users(path, &users.to_bytes())?;
    }
    let mut stderr = io::stderr().lock();
    for remark in remarks {
        // A write error is ignored: without standard error the remarks have no reader.
        let _ = writeln!(stderr, "{remark}");
    }
    let mut out = io::stdout().lock();
    out.write_all(toml.as_bytes()).and_then(|()| out.flush()).map_err(|error| CommandError::new(error, None))
}

/// Reads the files that the converted file includes, from the file system.
struct ConfigFiles<'a> {
    file: &'a Path,
}

impl IncludeFiles for ConfigFiles<'_> {
    fn read(&self, path: &Path) -> Option<String> {
        // Reading a pipe might never end.
        path.metadata().ok().filter(Metadata::is_file)?;
        read(path, migrate::MAX_FILE_LEN).ok()
    }

    fn list(&self, folder: &Path) -> Option<Vec<String>> {
        let entries = fs::read_dir(folder).ok()?;
        entries.map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn folder(&self) -> PathBuf {
        let path = std::path::absolute(self.file).unwrap_or_default();
        path.parent().map(Path::to_owned).unwrap_or_default()
    }
}

fn read(path: &Path, max_bytes: u64) -> Result<String, CommandError> {
    let fail = |error: &dyn std::fmt::Display, hint: &str| {
        CommandError::new(format!("{}: {error}", path.display()), Some(hint))
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| fail(&error, "name the file whose settings are to be converted"))?;
    file.take(max_bytes + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| fail(&error, "name the file whose settings are to be converted"))?;
    if bytes.len() as u64 > max_bytes {
        let text = format!("larger than {} MiB", max_bytes >> 20);
        return Err(fail(&text, "is this really a configuration file?"));
    }
    String::from_utf8(bytes).map_err(|_| fail(&"not UTF-8", "is this really a configuration file?"))
}

fn write_users(path: &Path, bytes: &[u8]) -> Result<(), CommandError> {
    let failed = |error: io::Error| {
        let hint = if error.kind() == io::ErrorKind::AlreadyExists {
            "an existing file is not overwritten; name a file that does not exist yet"
        } else {
            "name a file in an existing folder that this user can write"
        };
        CommandError::new(format!("{}: {error}", path.display()), Some(hint))
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)
}
