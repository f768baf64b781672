//! Runs the steps of the start that may fail without stopping it; each logs what the operator should know.

use crate::{
    auth::{SigningKeys, TokenAlgorithm},
    registry::Registry,
};

/// Logs an error if the data folder spans several file systems. The server starts all the same, because pulls work;
/// `/readyz` and `portcullis check` report the same error.
pub(super) async fn warn_of_split_store(registry: &Registry) {
    if let Err(error) = registry.probe().await
        && error.is_split_store()
    {
        tracing::error!(hint = "keep the whole data folder on one file system", "nothing can be pushed: {error}");
    }
}

/// Removes the files of earlier versions. The server starts all the same if that fails.
pub(super) async fn remove_obsolete_files(registry: &Registry) {
    if let Err(error) = registry.remove_obsolete_files().await {
        tracing::warn!(%error, "the files of an earlier version are not removed");
    }
}

/// Warns if the key has another algorithm than the setting: the algorithm of the existing key applies, and the setting
/// is for the next key.
pub(super) fn warn_of_algorithm_mismatch(keys: &SigningKeys, wanted: TokenAlgorithm) {
    let found = keys.current().signer().algorithm();
    if found != wanted {
        tracing::warn!(
            key = found.as_str(),
            setting = wanted.as_str(),
            hint = "portcullis token rotate",
            "the token key has another algorithm than auth.token.algorithm; tokens are signed with the algorithm of the key"
        );
    }
}

/// Raises the soft limit of open files to the hard limit: every connection and every open blob needs a file descriptor,
/// and the usual soft limit of 1024 exists only for programs that use `select`. If the limit cannot be raised, the
/// server continues with the lower one.
pub(super) fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::debug!(%error, "cannot raise the limit of open files");
    }
}
