//! Descriptors: how one document names another (OCI image specification, "Content Descriptors").

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{digest::Digest, media_type::MediaType};

/// A reference to content: what it is, its digest and its size.
///
/// Fields that we neither check nor list are not kept; documents themselves are stored verbatim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The type of the content.
    pub media_type: MediaType,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Where else it may be fetched from: a layer with any need not be here ("non-distributable" layers).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// The content itself in base64, if the author chose to embed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// What kind of artifact the content is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Anything else its author wanted to say.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}
