//! Defines what an upload's state says about its bytes, as JSON.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use portcullis_storage::{StoreError, StoreErrorKind, StorePath, UploadState};
use serde::{Deserialize, Serialize};

use super::super::upload_memory::PART_LEN;

/// The largest tail in bytes that is part of the state; a larger one is an object of its own.
pub(crate) const MAX_INLINE_TAIL_LEN: usize = 32 << 10;

/// A multipart upload in progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Multipart {
    /// The path of the object that it becomes.
    #[serde(with = "path_text")]
    pub(crate) key: StorePath,
    /// The id that the object store gave it.
    pub(crate) id: String,
    /// The parts, in order. All but the last have [`PART_LEN`] bytes.
    pub(crate) etags: Vec<String>,
}

/// The bytes after the last part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    /// They are here.
    Inline(Bytes),
    /// They are an object in the upload's folder.
    Object {
        /// Its name.
        name: String,
        /// Its length in bytes.
        len: u64,
    },
}

impl Tail {
    fn len(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Object { len, .. } => *len,
        }
    }
}

/// The bytes of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredParts {
    pub(crate) multipart: Option<Multipart>,
    pub(crate) tail: Tail,
}

/// The JSON form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Json {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    multipart: Option<Multipart>,
    /// The length of the last part in bytes, if the upload is sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_part: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tail: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tail_object: Option<String>,
}

impl StoredParts {
    /// Parses a state, and checks that its parts and its tail have as many bytes as it counts.
    pub(crate) fn parse(folder: &StorePath, state: &UploadState) -> Result<Self, StoreError> {
        let Some(text) = &state.parts else {
            return if state.len == 0 {
                Ok(Self { multipart: None, tail: Tail::Inline(Bytes::new()) })
            } else {
                Err(StoreError::new(StoreErrorKind::NotFound, format!("{folder}: no parts are known")))
            };
        };
        let corrupt = |reason: String| StoreError::new(StoreErrorKind::Corrupt, format!("{folder}: {reason}"));
        let json: Json = serde_json::from_str(text).map_err(|error| corrupt(error.to_string()))?;
        let in_parts = json.multipart.as_ref().map_or(0, |multipart| {
            let full =
                multipart.etags.len() as u64 - u64::from(json.last_part.is_some() && !multipart.etags.is_empty());
            full * PART_LEN as u64 + json.last_part.unwrap_or(0)
        });
        let too_short = || corrupt(format!("the upload ends before byte {}", state.len));
        let tail = match (json.tail, json.tail_object) {
            (None, None) => Tail::Inline(Bytes::new()),
            (Some(text), None) => {
                Tail::Inline(BASE64_STANDARD.decode(text).map_err(|error| corrupt(error.to_string()))?.into())
            }
            (_, Some(name)) => Tail::Object { name, len: state.len.checked_sub(in_parts).ok_or_else(too_short)? },
        };
        if in_parts + tail.len() != state.len {
            return Err(too_short());
        }
        Ok(Self { multipart: json.multipart, tail })
    }

    /// The state with these parts, of which the last has `last_part` bytes if the upload is sealed.
    pub(crate) fn to_state(&self, last_part: Option<u64>) -> UploadState {
        let full =
            self.multipart.as_ref().map_or(0, |multipart| multipart.etags.len()) - usize::from(last_part.is_some());
        let len = (full * PART_LEN) as u64 + last_part.unwrap_or(0) + self.tail.len();
        let (tail, tail_object) = match &self.tail {
            Tail::Inline(bytes) if bytes.is_empty() => (None, None),
            Tail::Inline(bytes) => (Some(BASE64_STANDARD.encode(bytes)), None),
            Tail::Object { name, .. } => (None, Some(name.clone())),
        };
        let json = Json { multipart: self.multipart.clone(), last_part, tail, tail_object };
        let text = serde_json::to_string(&json).expect("the state is plain text and numbers");
        UploadState { len, parts: (len > 0).then_some(text) }
    }
}

/// Serialises a [`StorePath`] as text.
mod path_text {
    use portcullis_storage::StorePath;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(path: &StorePath, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(path.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<StorePath, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
