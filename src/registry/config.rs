//! How strict the engine is.

/// The configuration of the registry engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Whether manifests are accepted whose blobs or children are not here.
    pub sparse_manifests: bool,
}
