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
    MAX_BYTES, blocks, draw,
    error::{KeyError, RotateError},
    file::{self, Block},
    key::SigningKey,
    make_if_missing, read,
};
use crate::config::TokenConfig;
use crate::{replace::Target, token::LEEWAY};

/// The shortest time for which an old key is kept: the longest configurable lifetime of a token plus the tolerated
/// clock difference. A server that reads the new file a second late signs with the old key for a second; the leeway
/// covers that.
pub const LEAST_OVERLAP: Duration = TokenConfig::LIFETIMES.end().saturating_add(LEEWAY);

const MOST_OVERLAP: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The result of a rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The id of the new key, which signs from now on.
    pub signer: String,
    /// The ids of the older keys, and the times at which they retire.
    pub kept: Vec<(String, SystemTime)>,
    /// The number of keys that had retired and were removed.
    pub dropped: usize,
}

/// Adds a new first key and keeps the current ones for `keep`. Without a file, it creates one with a single key, like a
/// first start. Blocks.
pub fn rotate(config: &TokenConfig, keep: Duration, now: SystemTime) -> Result<Rotation, RotateError> {
    if keep < LEAST_OVERLAP {
        return Err(RotateError::ShortOverlap(keep));
    }
    if keep > MOST_OVERLAP {
        return Err(RotateError::LongOverlap(keep));
    }
    if make_if_missing(config)? {
        let signer = super::KeySet::read(config, now)?.signer().id().to_owned();
        return Ok(Rotation { signer, kept: Vec::new(), dropped: 0 });
    }
    // Generated before the lock is taken, because an RSA key takes about a second.
    let new = draw(config.algorithm)?;
    let target = Target::of(&config.key)?;
    let _lock = target.lock()?;
    let metadata = fs::metadata(target.file()).map_err(|source| target.error(source))?;
    let mut kept = blocks(&read(target.file())?).map_err(|problem| KeyError::broken(&config.key, problem))?;
    let before = kept.len();
    kept.retain(|block| block.retires.is_none_or(|retires| now < retires));
    for block in &mut kept {
        // A key that has a date keeps it: a date that moved with every rotation would never be reached.
        block.retires.get_or_insert(now + keep);
    }
    let dropped = before - kept.len();
    let all: Vec<Block> = [new].into_iter().chain(kept).collect();
    let rotation = describe(&all, dropped, config, now)?;
    let text = file::text(&all);
    if text.len() as u64 > MAX_BYTES {
        return Err(RotateError::Full(config.key.clone()));
    }
    target.write(text.as_bytes(), Some(&metadata), 0o600)?;
    Ok(rotation)
}

/// The result of the rotation. It reads every key, so a file that could not be read again is not written.
fn describe(blocks: &[Block], dropped: usize, config: &TokenConfig, now: SystemTime) -> Result<Rotation, KeyError> {
    let named = |block: &Block| {
        let key = SigningKey::new(block, config, now);
        let problem = |fault| KeyError::broken(&config.key, file::Problem { line: block.line, fault });
        key.map(|key| (key.id().to_owned(), block.retires)).map_err(problem)
    };
    let mut named = blocks.iter().map(named).collect::<Result<Vec<_>, _>>()?.into_iter();
    let signer = named.next().map(|(id, _)| id).unwrap_or_default();
    let kept = named.filter_map(|(id, retires)| Some((id, retires?))).collect();
    Ok(Rotation { signer, kept, dropped })
}
