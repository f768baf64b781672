//! Warns of key files and of a users file that every user of the machine can read or write.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::warning::CheckWarning;
use crate::{config::Config, tls};

/// The permission bits for reading and writing by all other users.
const OTHERS_READ_WRITE: u32 = 0o006;

/// A warning for each file of keys or password hashes that all users can read or write. A missing file is no fault: the
/// first start creates it with the right mode.
pub(super) fn examine(config: &Config) -> Vec<CheckWarning> {
    secret_files(config).iter().filter_map(|path| permission_warning(path)).collect()
}

fn secret_files(config: &Config) -> Vec<PathBuf> {
    let mut paths = vec![config.auth.htpasswd.clone(), config.auth.token.key.clone()];
    if let tls::CertificateSource::SelfSigned { directory } = &config.tls.source {
        paths.extend(["ca.key", "server.key"].map(|name| directory.join(name)));
    }
    if let tls::CertificateSource::Acme(tls::acme::AcmeConfig { eab: Some(external), .. }) = &config.tls.source {
        paths.push(external.hmac_key_file.clone());
    }
    paths.extend(config.tls.source.pairs().into_iter().map(|pair| pair.key));
    paths
}

fn permission_warning(path: &Path) -> Option<CheckWarning> {
    let mode = fs::metadata(path).ok()?.permissions().mode();
    (mode & OTHERS_READ_WRITE != 0).then(|| {
        CheckWarning::new(
            format!(
                "{}: every user of this machine can read or change it (mode {:04o})",
                path.display(),
                mode & 0o7777
            ),
            format!("chmod o= {}", path.display()),
        )
    })
}
