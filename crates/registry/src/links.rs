//! Reads, writes and lists links: small objects that hold a digest, and that record what a repository has.

use bytes::Bytes;

use super::paths::{self, ObjectKey};
use portcullis_oci::{Algorithm, Digest};
use portcullis_storage::{LeafEntry, Stat, Store, StoreError, StoreErrorKind, StorePath, optional};

/// The maximum size of a link in bytes: `sha512:`, 128 digits, and a newline that a text editor may have added.
const MAX_LINK_LEN: u64 = 256;

/// The maximum number of links or small objects that are read in parallel.
pub(super) const MAX_PARALLEL_READS: usize = 16;

/// The digest in a link; `None` if there is no such link.
pub(super) async fn read(store: &dyn Store, key: ObjectKey<'_>) -> Result<Option<Digest>, StoreError> {
    let path = key.path();
    let Some(object) = optional(store.open(&path).await)? else { return Ok(None) };
    let bytes = object.read(MAX_LINK_LEN).await?;
    parse(&bytes).map(Some).ok_or_else(|| no_digest_error(&path))
}

fn parse(bytes: &[u8]) -> Option<Digest> {
    str::from_utf8(bytes).ok()?.trim_end().parse().ok()
}

fn no_digest_error(path: &StorePath) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, format!("{path} does not hold a digest"))
}

/// Whether the link exists.
pub(super) async fn exists(store: &dyn Store, key: ObjectKey<'_>) -> Result<bool, StoreError> {
    Ok(stat(store, key).await?.is_some())
}

/// Size and age of a link; `None` if there is no such link. The age counts from when it was made or last renewed.
pub(super) async fn stat(store: &dyn Store, key: ObjectKey<'_>) -> Result<Option<Stat>, StoreError> {
    optional(store.stat(&key.path()).await)
}

/// The links in a folder whose entries are the hashes of one algorithm, each with its size and age. Folders without a
/// link in them, which registry:2 leaves behind, are skipped.
pub(super) async fn list(
    store: &dyn Store,
    folder: impl Fn(Algorithm) -> StorePath,
) -> Result<Vec<(Digest, Stat)>, StoreError> {
    list_in(store, folder, false).await
}

/// Lists links as [`list`] does, but fails if an entry is not a folder: it may be a symbolic link to a disk that is
/// not mounted.
pub(super) async fn list_strict(
    store: &dyn Store,
    folder: impl Fn(Algorithm) -> StorePath,
) -> Result<Vec<(Digest, Stat)>, StoreError> {
    list_in(store, folder, true).await
}

async fn list_in(
    store: &dyn Store,
    folder: impl Fn(Algorithm) -> StorePath,
    is_strict: bool,
) -> Result<Vec<(Digest, Stat)>, StoreError> {
    let (mut found, link) = (Vec::new(), paths::link_leaf());
    for algorithm in Algorithm::ALL {
        let folder = folder(algorithm);
        for LeafEntry { entry, leaf } in store.list_leaves(&folder, &link).await? {
            let Ok(digest) = format!("{algorithm}:{}", entry.name).parse() else { continue };
            if is_strict && !entry.is_folder {
                return Err(not_a_folder(&folder, &entry.name));
            }
            found.extend(leaf.map(|stat| (digest, stat)));
        }
    }
    Ok(found)
}

/// The error for an entry that is not a folder where a folder is expected.
pub(super) fn not_a_folder(parent: &StorePath, name: &str) -> StoreError {
    StoreError::new(
        StoreErrorKind::Corrupt,
        format!("{parent}/{name} is not a folder, or is a symbolic link to a disk that is not mounted"),
    )
}

/// Makes the link, or sets it to `digest`.
pub(super) async fn write(store: &dyn Store, key: ObjectKey<'_>, digest: &Digest) -> Result<(), StoreError> {
    store.write(&key.path(), Bytes::from(digest.to_string())).await
}

/// Removes the link; `false` if there was none.
pub(super) async fn remove(store: &dyn Store, key: ObjectKey<'_>) -> Result<bool, StoreError> {
    Ok(optional(store.remove(&key.path()).await)?.is_some())
}
