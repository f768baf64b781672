//! A new key that signs, while the old ones still verify.
//!
//! Engines' floor. Invariant: no token ends before its time by a rotation, and no rotation is lost to another: from reading the
//! file to replacing it, a lock beside it (`….lock`, by `flock`, which NFS passes on to other machines) is held.

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
use crate::auth::{config::TokenConfig, replace::Target, token::LEEWAY};

/// The shortest time for which an old key is kept: the longest life that any server may be configured to give its tokens, and
/// what clocks may differ. A server that notices the new key a second late signs with the old one for a second; the
/// leeway has room for that.
pub const LEAST_OVERLAP: Duration = TokenConfig::LIFETIMES.end().saturating_add(LEEWAY);

const MOST_OVERLAP: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What a rotation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The name of the key that signs now.
    pub signer: String,
    /// The names of the older keys, and until when their tokens are believed.
    pub kept: Vec<(String, SystemTime)>,
    /// How many had retired and were removed.
    pub dropped: usize,
}

/// Makes a new first key and keeps those before it for `keep`. Where there is none, one is made, as at the first start. Blocks.
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
    // Before the lock: an RSA key takes its time.
    let new = draw(config.algorithm)?;
    let target = Target::of(&config.key)?;
    let _lock = target.lock()?;
    let metadata = fs::metadata(target.file()).map_err(|source| target.error(source))?;
    let mut kept = blocks(&read(target.file())?).map_err(|problem| KeyError::broken(&config.key, problem))?;
    let before = kept.len();
    kept.retain(|block| block.retires.is_none_or(|retires| now < retires));
    for block in &mut kept {
        // Who has a date keeps it: an end that moved with every rotation would be none.
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

/// Also the check that what will be written can be read.
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
