//! Maps command-line flags to settings.
//!
//! Invariant: a flag means the same as its key in the file, and takes precedence over it.

use std::path::PathBuf;

use super::{
    keys,
    layers::Layer,
    problem::{ConfigProblem, SettingPlace},
    value::{Located, RawValue},
};

/// The given flags. An empty list or `None` is a flag that was not given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--config`: the configuration file.
    pub config: Option<PathBuf>,
    /// `--listen`: key `listen`.
    pub listen: Vec<String>,
    /// `--hostname`: key `hostnames`.
    pub hostname: Vec<String>,
    /// `--data`: key `storage.filesystem.root`.
    pub data: Option<PathBuf>,
    /// `--htpasswd`: key `auth.htpasswd`.
    pub htpasswd: Option<PathBuf>,
    /// `--certs`: key `tls.self_signed.directory`.
    pub certs: Option<PathBuf>,
    /// `--tls-cert`: key `tls.files.certificate`.
    pub tls_cert: Option<PathBuf>,
    /// `--tls-key`: key `tls.files.key`.
    pub tls_key: Option<PathBuf>,
}

pub(super) fn layer(flags: &Flags, problems: &mut Vec<ConfigProblem>) -> Layer {
    let mut layer = Layer::default();
    for (flag, path, texts) in
        [("--listen", keys::LISTEN.path, &flags.listen), ("--hostname", keys::HOSTNAMES.path, &flags.hostname)]
    {
        if !texts.is_empty() {
            let located = |text: &String| Located::new(RawValue::Text(text.clone()), SettingPlace::Flag(flag));
            layer.set(path, RawValue::List(texts.iter().map(located).collect()), SettingPlace::Flag(flag));
        }
    }
    for (flag, path, file) in [
        ("--data", keys::FILESYSTEM_ROOT.path, &flags.data),
        ("--htpasswd", keys::HTPASSWD.path, &flags.htpasswd),
        ("--certs", keys::SELF_SIGNED_DIRECTORY.path, &flags.certs),
        ("--tls-cert", keys::FILES_CERTIFICATE.path, &flags.tls_cert),
        ("--tls-key", keys::FILES_KEY.path, &flags.tls_key),
    ] {
        if let Some(file) = file {
            layer.set(path, RawValue::Path(file.clone()), SettingPlace::Flag(flag));
        }
    }
    require_complete_pair(flags, problems);
    layer
}

/// Reports `--tls-cert` without `--tls-key` and the reverse: a key from another source would rarely match.
fn require_complete_pair(flags: &Flags, problems: &mut Vec<ConfigProblem>) {
    let (given, missing) = match (&flags.tls_cert, &flags.tls_key) {
        (Some(_), None) => ("--tls-cert", "--tls-key"),
        (None, Some(_)) => ("--tls-key", "--tls-cert"),
        (None, None) | (Some(_), Some(_)) => return,
    };
    let problem = ConfigProblem::new(SettingPlace::Flag(given), format!("it requires {missing} as well"));
    problems
        .push(problem.hint("--tls-cert FILE --tls-key FILE name a certificate with its chain, and its private key"));
}
