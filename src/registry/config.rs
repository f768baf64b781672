//! What the configuration file says about the registry engine.

/// Settings of the registry engine, already valid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Accept manifests whose blobs or child manifests are not here.
    pub sparse_manifests: bool,
}
