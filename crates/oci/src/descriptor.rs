//! Descriptors: references from one document to another (OCI image specification, "Content Descriptors").

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::digest::Digest;

/// A reference to content: its media type, digest and size.
///
/// Fields that this registry neither checks nor lists are dropped; documents themselves are stored verbatim. Lists and
/// maps may be `null`, because Go writes empty ones so.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type of the content, as its author wrote it. Not a [`MediaType`](super::MediaType): layers have
    /// arbitrary types, with parameters or without a slash, and a registry at most compares them.
    #[serde(default)]
    pub media_type: Option<String>,
    /// The digest of the content.
    pub digest: Digest,
    /// The size of the content in bytes, if the descriptor has one.
    #[serde(default)]
    pub size: Option<u64>,
    /// Other sources of the content. A layer with any URL need not be in this registry ("non-distributable" layers).
    #[serde(default, deserialize_with = "null_as_empty")]
    pub urls: Vec<String>,
    /// The content itself in base64, if the author chose to embed it.
    #[serde(default)]
    pub data: Option<String>,
    /// The artifact type of the content.
    #[serde(default)]
    pub artifact_type: Option<String>,
    /// The annotations.
    #[serde(default, deserialize_with = "annotations")]
    pub annotations: BTreeMap<String, String>,
}

fn null_as_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Deserialises annotations. The map or any value in it may be `null`, which means the same as no entry.
pub(super) fn annotations<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let read: Option<BTreeMap<String, Option<String>>> = Option::deserialize(deserializer)?;
    Ok(read.into_iter().flatten().filter_map(|(key, value)| Some((key, value?))).collect())
}
