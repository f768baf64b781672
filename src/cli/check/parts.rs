//! Checks the files and folders that the configuration names: client CA, token keys, workload rules, data, audit trail.

use std::{fmt, fs, io, path::Path, time::SystemTime};

use super::data;
use crate::{
    auth::{TokenConfig, Workloads, keys::KeySet, workload::Rule},
    config::{Config, Problem},
    telemetry, tls,
};

/// An error of the configuration or of a file that it names, with a hint.
pub(super) struct Finding {
    pub(super) error: String,
    pub(super) hint: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.error)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "\nhint: {hint}"))
    }
}

impl From<&Problem> for Finding {
    fn from(problem: &Problem) -> Self {
        let error = format!("{}: {}", problem.place(), problem.message());
        Self { error, hint: problem.advice().map(str::to_owned) }
    }
}

/// Every fault that would prevent a server with this configuration from starting or working.
pub(super) fn examine(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(clients(&config.tls));
    findings.extend(token_key(&config.auth.token));
    findings.extend(workloads(&config.workloads));
    findings.extend(data::examine(&config.storage));
    findings.extend(audit(&config.telemetry.audit));
    findings
}

fn clients(config: &tls::Config) -> Option<Finding> {
    let error = tls::ClientTrust::load(config.client.as_ref(), SystemTime::now()).err()?;
    Some(Finding { error: error.to_string(), hint: Some(error.hint()) })
}

fn token_key(config: &TokenConfig) -> Option<Finding> {
    match KeySet::read(config, SystemTime::now()) {
        Ok(_) => None,
        // The first start creates it.
        Err(error) if error.is_missing() => None,
        Err(error) => Some(Finding { error: error.to_string(), hint: Some(error.hint().to_owned()) }),
    }
}

fn workloads(rules: &[Rule]) -> Option<Finding> {
    let error = Workloads::new(rules).err()?;
    Some(Finding { error: format!("auth.workload: {error}"), hint: Some(error.hint().to_owned()) })
}

/// Checks that the file of the audit trail can be written or created.
fn audit(target: &telemetry::Target) -> Option<Finding> {
    let telemetry::Target::File(path) = target else { return None };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let usable = match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(_) => rustix::fs::access(path, rustix::fs::Access::WRITE_OK).map_err(io::Error::from),
        Err(error) if error.kind() == io::ErrorKind::NotFound => writable(folder),
        Err(error) => Err(error),
    };
    let error = format!("audit trail {}: {}", path.display(), usable.err()?);
    Some(Finding { error, hint: Some("name a file that this user can write, in an existing folder".to_owned()) })
}

/// The path itself, or its nearest ancestor that exists.
pub(super) fn existing(path: &Path) -> &Path {
    let mut place = path;
    while !place.exists() {
        // A relative path ends in the working directory.
        place = place.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    }
    place
}

pub(super) fn writable(folder: &Path) -> io::Result<()> {
    if !fs::metadata(folder)?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    Ok(rustix::fs::access(folder, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)?)
}
