//! Links: small objects that hold a digest. They say what a repository has.

use bytes::Bytes;

use super::layout::Key;
use crate::{
    oci::{Algorithm, Digest},
    storage::{Stat, Store, StoreError, StoreErrorKind, StorePath, found as present},
};

/// The longest link: `sha512:` and 128 digits, and a newline that somebody's editor added.
const MAX: u64 = 256;

/// How many links or small objects are looked at in parallel.
pub(super) const PARALLEL: usize = 16;

/// What a link says; `None` if there is none.
pub(super) async fn read(store: &dyn Store, key: Key<'_>) -> Result<Option<Digest>, StoreError> {
    let path = key.path();
    let Some(object) = present(store.open(&path).await)? else { return Ok(None) };
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
    present(store.stat(&key.path()).await)
}

/// The links of a folder whose entries are the hashes of one algorithm, each with its age. A folder without a link in it,
/// as registry:2 leaves behind, is none.
pub(super) async fn list(
    store: &dyn Store,
    folder: impl Fn(Algorithm) -> StorePath,
) -> Result<Vec<(Digest, Stat)>, StoreError> {
    list_in(store, folder, false).await
}

/// The same, but something in the place of a link's folder that is no folder is an error: it may be a link to a disk that is
/// not mounted.
pub(super) async fn list_whole(
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
    let mut found = Vec::new();
    for algorithm in Algorithm::ALL {
        let folder = folder(algorithm);
        for entry in store.list(&folder).await? {
            let Ok(digest) = format!("{algorithm}:{}", entry.name).parse() else { continue };
            if is_strict && !entry.is_folder {
                return Err(not_a_folder(&folder, &entry.name));
            }
            let Ok(link) = folder.join(&entry.name).and_then(|folder| folder.join("link")) else { continue };
            found.extend(present(store.stat(&link).await)?.map(|stat| (digest, stat)));
        }
    }
    Ok(found)
}

/// Something lies where a folder must be.
pub(super) fn not_a_folder(parent: &StorePath, name: &str) -> StoreError {
    StoreError::new(
        StoreErrorKind::Corrupt,
        format!("{parent}/{name} is no folder, or a link to one that is not mounted"),
    )
}

/// Makes the link, or sets it to `digest`.
pub(super) async fn write(store: &dyn Store, key: Key<'_>, digest: &Digest) -> Result<(), StoreError> {
    store.write(&key.path(), Bytes::from(digest.to_string())).await
}

/// Removes the link; `false` if there was none.
pub(super) async fn remove(store: &dyn Store, key: Key<'_>) -> Result<bool, StoreError> {
    Ok(present(store.remove(&key.path()).await)?.is_some())
}
