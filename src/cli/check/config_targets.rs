//! Checks the files and folders that the configuration names: client CA, token keys, workload rules, data, audit trail.

use std::{fs, io, path::Path, time::SystemTime};

use super::{check_error::CheckError, data_dir, writable_folder::require_writable_folder};
use crate::{
    auth::{TokenConfig, WorkloadRules, signing_keys::SigningKeySet, workload::WorkloadRule},
    config::Config,
    telemetry, tls,
};

/// Every fault that would prevent a server with this configuration from starting or working.
pub(super) fn examine(config: &Config, now: SystemTime) -> Vec<CheckError> {
    let mut findings = Vec::new();
    findings.extend(check_client_trust(&config.tls, now));
    findings.extend(check_token_keys(&config.auth.token, now));
    findings.extend(check_workloads(&config.workloads));
    findings.extend(data_dir::examine(&config.storage));
    findings.extend(check_audit_target(&config.telemetry.audit));
    findings
}

fn check_client_trust(config: &tls::TlsConfig, now: SystemTime) -> Option<CheckError> {
    let error = tls::ClientTrust::load(config.client.as_ref(), now).err()?;
    Some(CheckError { error: error.to_string(), hint: Some(error.hint()) })
}

fn check_token_keys(config: &TokenConfig, now: SystemTime) -> Option<CheckError> {
    match SigningKeySet::read(config, now) {
        Ok(_) => None,
        // The first start creates it.
        Err(error) if error.is_missing() => None,
        Err(error) => Some(CheckError { error: error.to_string(), hint: Some(error.hint().to_owned()) }),
    }
}

fn check_workloads(rules: &[WorkloadRule]) -> Option<CheckError> {
    let error = WorkloadRules::new(rules).err()?;
    Some(CheckError { error: format!("auth.workload: {error}"), hint: Some(error.hint().to_owned()) })
}

/// Checks that the file of the audit trail can be written or created.
fn check_audit_target(target: &telemetry::AuditDestination) -> Option<CheckError> {
    let telemetry::AuditDestination::File(path) = target else { return None };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let usable = match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(_) => rustix::fs::access(path, rustix::fs::Access::WRITE_OK).map_err(io::Error::from),
        Err(error) if error.kind() == io::ErrorKind::NotFound => require_writable_folder(folder),
        Err(error) => Err(error),
    };
    let error = format!("audit trail {}: {}", path.display(), usable.err()?);
    Some(CheckError { error, hint: Some("name a file that this user can write, in an existing folder".to_owned()) })
}
