//! Rotates the signing keys: adds a new first key and keeps the older ones for verification until they retire.
//!
//! Invariant: a rotation invalidates no token before its expiry, and concurrent rotations do not overwrite each other:
//! from reading the file to replacing it, the process holds a lock beside it (`….lock`, by `flock`, which also works
//! over NFS).

use std::{
    fs,
    time::{Duration, SystemTime},
};

use super::{
    MAX_KEY_FILE_LEN, create_if_missing,
    error::{KeyError, RotateError},
    generate_block,
    key_file::{self, PrivateKeyBlock},
    parse_blocks, read,
    signing_key::SigningKey,
};
use crate::{
    config::{MIN_OVERLAP, TokenConfig},
    secret_files::locked_replace::ReplaceTarget,
};

const MAX_OVERLAP: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The result of a rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The id of the new key, which signs from now on.
    pub signer: String,
    /// The ids of the older keys, and the times at which they retire.
    pub kept: Vec<(String, SystemTime)>,
    /// The number of keys that had retired and were removed.
    pub removed: usize,
}

/// Adds a new first key and keeps the current ones for `keep`. Without a file, it creates one with a single key, like a
/// first start. Blocks.
pub fn rotate(config: &TokenConfig, overlap: Duration, now: SystemTime) -> Result<Rotation, RotateError> {
    if overlap < MIN_OVERLAP {
        return Err(RotateError::OverlapTooShort(overlap));
    }
    if overlap > MAX_OVERLAP {
        return Err(RotateError::OverlapTooLong(overlap));
    }
    if create_if_missing(config)? {
        let signer = super::SigningKeySet::read(config, now)?.signer().id().to_owned();
        return Ok(Rotation { signer, kept: Vec::new(), removed: 0 });
    }
    // Generated before the lock is taken, because an RSA key takes about a second.
    let new = generate_block(config.algorithm)?;
    let target = ReplaceTarget::resolve(&config.key)?;
    let _lock = target.lock()?;
    let metadata = fs::metadata(target.path()).map_err(|source| target.write_error(source))?;
    let mut kept = parse_blocks(&read(target.path())?).map_err(|problem| KeyError::invalid(&config.key, problem))?;
    let before = kept.len();
    kept.retain(|block| block.retires_at.is_none_or(|retires| now < retires));
    for block in &mut kept {
        // A key that has a date keeps it: a date that moved with every rotation would never be reached.
        block.retires_at.get_or_insert(now + overlap);
    }
    let dropped = before - kept.len();
    let all: Vec<PrivateKeyBlock> = [new].into_iter().chain(kept).collect();
    let rotation = rotation_of(&all, dropped, config, now)?;
    let text = key_file::render(&all);
    if text.len() as u64 > MAX_KEY_FILE_LEN {
        return Err(RotateError::TooManyKeys(config.key.clone()));
    }
    target.write(text.as_bytes(), Some(&metadata), 0o600)?;
    Ok(rotation)
}

/// The result of the rotation. It reads every key, so a file that could not be read again is not written.
fn rotation_of(
    blocks: &[PrivateKeyBlock],
    dropped: usize,
    config: &TokenConfig,
    now: SystemTime,
) -> Result<Rotation, KeyError> {
    let named = |block: &PrivateKeyBlock| {
        let key = SigningKey::new(block, config, now);
        let problem = |fault| KeyError::invalid(&config.key, key_file::KeyFileProblem { line: block.line, fault });
        key.map(|key| (key.id().to_owned(), block.retires_at)).map_err(problem)
    };
    let mut named = blocks.iter().map(named).collect::<Result<Vec<_>, _>>()?.into_iter();
    let signer = named.next().map(|(id, _)| id).unwrap_or_default();
    let kept = named.filter_map(|(id, retires)| Some((id, retires?))).collect();
    Ok(Rotation { signer, kept, removed: dropped })
}
