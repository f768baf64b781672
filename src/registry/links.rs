//! Links: small objects that hold a digest. They say what a repository has.

use bytes::Bytes;

use super::layout::Key;
use crate::{
    oci::{Algorithm, Digest},
    storage::{Stat, Store, StoreError, StoreErrorKind, StorePath, found},
};

/// The longest link: `sha512:` and 128 digits, and a newline that somebody's editor added.
const MAX: u64 = 256;

/// What a link says; `None` if there is none.
pub(super) async fn read(store: &dyn Store, key: Key<'_>) -> Result<Option<Digest>, StoreError> {
    let path = key.path();
    let Some(object) = found(store.open(&path).await)? else { return Ok(None) };
    let bytes = object.read(MAX).await?;
    parse(&bytes).map(Some).ok_or_else(|| damaged(&path))
}

fn parse(bytes: &[u8]) -> Option<Digest> {
    str::from_utf8(bytes).ok()?.trim_end().parse().ok()
}

fn damaged(path: &StorePath) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, format!("{path} does not hold a digest"))
}

/// Whether the link is there.
pub(super) async fn exists(store: &dyn Store, key: Key<'_>) -> Result<bool, StoreError> {
    Ok(stat(store, key).await?.is_some())
}

/// When the link was made or renewed; `None` if there is none.
pub(super) async fn stat(store: &dyn Store, key: Key<'_>) -> Result<Option<Stat>, StoreError> {
    found(store.stat(&key.path()).await)
}

/// The digests that are links of `folder`, whose entries are the hashes of one algorithm.
pub(super) async fn list(
    store: &dyn Store,
    folder: impl Fn(Algorithm) -> StorePath,
) -> Result<Vec<Digest>, StoreError> {
    let mut digests = Vec::new();
    for algorithm in Algorithm::ALL {
        let entries = store.list(&folder(algorithm)).await?;
        digests.extend(entries.iter().filter_map(|entry| format!("{algorithm}:{}", entry.name).parse::<Digest>().ok()));
    }
    Ok(digests)
}

/// Makes the link, or sets it to `digest`.
pub(super) async fn write(store: &dyn Store, key: Key<'_>, digest: &Digest) -> Result<(), StoreError> {
    store.write(&key.path(), Bytes::from(digest.to_string())).await
}

/// Removes the link; `false` if there was none.
pub(super) async fn remove(store: &dyn Store, key: Key<'_>) -> Result<bool, StoreError> {
    Ok(found(store.remove(&key.path()).await)?.is_some())
}
