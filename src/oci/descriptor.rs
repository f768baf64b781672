//! Descriptors: how one document names another (OCI image specification, "Content Descriptors").

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::digest::Digest;

/// A reference to content: what it is, its digest and its size.
///
/// Fields that we neither check nor list are not kept; documents themselves are stored verbatim. Lists and maps may be
/// `null`, as Go writes empty ones.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The type of the content, as its author wrote it. Not a [`MediaType`](super::MediaType): layers carry types of
    /// their users' invention, with parameters or without a slash, and a registry compares them at most.
    #[serde(default)]
    pub media_type: Option<String>,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes, if it is said.
    #[serde(default)]
    pub size: Option<u64>,
    /// Where else it may be fetched from: a layer with any need not be here ("non-distributable" layers).
    #[serde(default, deserialize_with = "null_as_empty")]
    pub urls: Vec<String>,
    /// The content itself in base64, if the author chose to embed it.
    #[serde(default)]
    pub data: Option<String>,
    /// What kind of artifact the content is.
    #[serde(default)]
    pub artifact_type: Option<String>,
    /// Anything else its author wanted to say.
    #[serde(default, deserialize_with = "annotations")]
    pub annotations: BTreeMap<String, String>,
}

fn null_as_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Annotations, which may be `null`, all of them or one: that is as good as none.
pub(super) fn annotations<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let read: Option<BTreeMap<String, Option<String>>> = Option::deserialize(deserializer)?;
    Ok(read.into_iter().flatten().filter_map(|(key, value)| Some((key, value?))).collect())
}
