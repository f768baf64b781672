//! `portcullis migrate`: what was configured for others, as our configuration.
//!
//! Process floor. Invariant: standard output is the configuration and nothing else, hashes go to a new file that its owner
//! alone can read, and nothing that exists is written over.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::Failure;
use crate::migrate::{self, Files, Migrated, Origin};

/// Print the configuration that does what another program's did
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    /// Read a site of nginx that stands in front of a registry
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

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let (file, htpasswd) = match &args.command {
        Command::Nginx(args) | Command::Registry(args) => (&args.file, None),
        Command::DockerAuth(args) => (&args.file, args.htpasswd.as_deref()),
    };
    let origin = match &args.command {
        Command::Nginx(_) => Origin::Nginx,
        Command::Registry(_) => Origin::Registry,
        Command::DockerAuth(_) => Origin::DockerAuth { htpasswd },
    };
    let name = file.display().to_string();
    let largest = match &args.command {
        Command::Nginx(_) => migrate::LARGEST_DUMP,
        Command::Registry(_) | Command::DockerAuth(_) => migrate::LARGEST,
    };
    let text = read(file, largest)?;
    let disk = Disk { file };
    let Migrated { toml, remarks, users } = migrate::migrate_with(origin, &name, &text, &disk).map_err(|broken| {
        let separator = if broken.line.is_some() { ":" } else { ": " };
        Failure::new(format!("{name}{separator}{broken}"), Some(broken.hint))
    })?;
    if let Some(path) = htpasswd {
        write_users(path, &users.to_bytes())?;
    }
    let mut talk = io::stderr().lock();
    for remark in remarks {
        // Nobody reads it: nobody misses it.
        let _ = writeln!(talk, "{remark}");
    }
    let mut out = io::stdout().lock();
    out.write_all(toml.as_bytes()).and_then(|()| out.flush()).map_err(|error| Failure::new(error, None))
}

/// The files beside the one that is read.
struct Disk<'a> {
    file: &'a Path,
}

impl Files for Disk<'_> {
    fn read(&self, path: &Path) -> Option<String> {
        // A pipe would never end.
        path.metadata().ok().filter(Metadata::is_file)?;
        read(path, migrate::LARGEST).ok()
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

fn read(path: &Path, largest: u64) -> Result<String, Failure> {
    let said =
        |error: &dyn std::fmt::Display, hint: &str| Failure::new(format!("{}: {error}", path.display()), Some(hint));
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| said(&error, "name the file whose settings are to be carried over"))?;
    file.take(largest + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| said(&error, "name the file whose settings are to be carried over"))?;
    if bytes.len() as u64 > largest {
        let text = format!("larger than {} MiB", largest >> 20);
        return Err(said(&text, "is this really a configuration file?"));
    }
    String::from_utf8(bytes).map_err(|_| said(&"this is not UTF-8", "is this really a configuration file?"))
}

fn write_users(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |error: io::Error| {
        let hint = if error.kind() == io::ErrorKind::AlreadyExists {
            "nothing is written over; name a file that is not there yet"
        } else {
            "the users file must be in a folder where files can be made"
        };
        Failure::new(format!("{}: {error}", path.display()), Some(hint))
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)
}
