//! Loads the keys that sign and verify bearer tokens from a file, and reloads the file when it changes.
//!
//! Invariant: private keys are read from and written to one file with mode 0600, and are never printed. The current
//! keys are always those of one file that was parsed completely; the first of them signs.

mod certificate;
mod error;
mod key_file;
mod private_key;
mod rotate;
mod signing_key;
#[cfg(test)]
mod tests;

use std::{
    fs, io, iter,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use aws_lc_rs::digest;
use parking_lot::Mutex;
use serde_json::{Value, json};
use zeroize::Zeroizing;

pub use crate::config::MIN_OVERLAP;
pub use error::{KeyError, RotateError};
pub use key_file::{KeyFileFault, KeyFileProblem, format_utc};
pub use rotate::{Rotation, rotate};
pub(super) use signing_key::jwt_algorithm;
pub use signing_key::{SigningError, SigningKey};

use crate::{
    config::{TokenAlgorithm, TokenConfig},
    secret_files::stable_read::StableContent,
};
use key_file::PrivateKeyBlock;
use portcullis_atomic_file::AtomicFile;
use portcullis_clock::Clock;
use portcullis_file_watch::{FileFingerprint, poll_quietly};
use private_key::PrivateKey;

/// The largest key file in bytes: room for a hundred RSA keys.
const MAX_KEY_FILE_LEN: u64 = 256 << 10;

/// The keys of one version of the file.
pub struct SigningKeySet {
    signer: Arc<SigningKey>,
    older: Vec<Arc<SigningKey>>,
}

impl SigningKeySet {
    /// Reads the configured file. Blocks.
    pub fn read(config: &TokenConfig, now: SystemTime) -> Result<Self, KeyError> {
        Self::from_content(&read(&config.key)?, config, now)
    }

    fn from_content(content: &StableContent, config: &TokenConfig, now: SystemTime) -> Result<Self, KeyError> {
        let blocks = parse_blocks(content).map_err(|problem| KeyError::invalid(&config.key, problem))?;
        let key = |block: &PrivateKeyBlock| {
            let problem = |fault| KeyError::invalid(&config.key, KeyFileProblem { line: block.line, fault });
            SigningKey::new(block, config, now).map(Arc::new).map_err(problem)
        };
        let mut keys = blocks.iter().map(key).collect::<Result<Vec<_>, _>>()?.into_iter();
        let none = || KeyError::invalid(&config.key, KeyFileProblem { line: 1, fault: KeyFileFault::NoKey });
        Ok(Self { signer: keys.next().ok_or_else(none)?, older: keys.collect() })
    }

    /// The key that signs.
    #[must_use]
    pub fn signer(&self) -> &Arc<SigningKey> {
        &self.signer
    }

    /// All keys of the file, the one that signs first, those that have retired too.
    pub fn all(&self) -> impl Iterator<Item = &Arc<SigningKey>> {
        iter::once(&self.signer).chain(&self.older)
    }

    /// The keys whose tokens are valid at `now`.
    pub fn valid_at(&self, now: SystemTime) -> impl Iterator<Item = &Arc<SigningKey>> {
        self.all().filter(move |key| key.is_valid_at(now))
    }

    /// The key with this id, if its tokens are valid at `now`.
    #[must_use]
    pub fn find(&self, id: &str, now: SystemTime) -> Option<&Arc<SigningKey>> {
        self.valid_at(now).find(|key| key.has_id(id))
    }

    /// The JSON Web Key Set of the public keys that verify tokens at `now` (RFC 7517 section 5).
    #[must_use]
    pub fn to_jwks(&self, now: SystemTime) -> Value {
        json!({"keys": self.valid_at(now).map(|key| key.to_jwk()).collect::<Vec<_>>()})
    }

    /// The ids and retirement times of the keys in the file's order, compared to detect a change.
    fn ids_and_dates(&self) -> Vec<String> {
        let line = |key: &Arc<SigningKey>| match key.retires_at() {
            None => key.id().to_owned(),
            Some(retires) => format!("{} until {}", key.id(), format_utc(retires)),
        };
        self.all().map(line).collect()
    }
}

/// Issues a self-signed certificate in PEM for each key that is valid at `now`, in the file's order. Blocks.
pub fn issue_certificates(config: &TokenConfig, now: SystemTime) -> Result<Vec<(TokenAlgorithm, String)>, KeyError> {
    let blocks = parse_blocks(&read(&config.key)?).map_err(|problem| KeyError::invalid(&config.key, problem))?;
    let mut certificates = Vec::new();
    for block in blocks.iter().filter(|block| block.retires_at.is_none_or(|retires| now < retires)) {
        let problem = |fault| KeyError::invalid(&config.key, KeyFileProblem { line: block.line, fault });
        let pair = PrivateKey::from_pkcs8(&block.pkcs8).map_err(problem)?;
        let made = certificate::issue_root(&block.pkcs8, &pair, &config.issuer, now);
        certificates.push((pair.algorithm(), made.map_err(|_| problem(KeyFileFault::Unusable))?.pem()));
    }
    Ok(certificates)
}

fn read(path: &Path) -> Result<StableContent, KeyError> {
    StableContent::read(path, MAX_KEY_FILE_LEN).map_err(|error| KeyError::from_read_error(path, error))
}

fn parse_blocks(content: &StableContent) -> Result<Vec<PrivateKeyBlock>, KeyFileProblem> {
    let text = str::from_utf8(content.bytes()).map_err(|_| KeyFileProblem { line: 1, fault: KeyFileFault::NoKey })?;
    key_file::parse(text)
}

/// The current keys of the configured file: read without locking, exchanged as a whole when the file changes.
pub struct SigningKeys {
    config: TokenConfig,
    current: ArcSwap<SigningKeySet>,
    last_read: Mutex<LastRead>,
}

/// The version of the file that was read last, valid or not. The lock is held while reading, so that an older version
/// never replaces a newer one.
struct LastRead {
    /// `None`: read the file again, even if its metadata is unchanged.
    stamp: Option<FileFingerprint>,
    digest: digest::Digest,
}

impl SigningKeys {
    /// The polling interval of [`SigningKeys::watch`]: a new key signs within two seconds.
    pub const POLL_INTERVAL: Duration = Duration::from_secs(1);

    /// Loads the keys of the configured file, and creates the file with one key if it does not exist. Blocks.
    pub fn load_or_create(config: TokenConfig, now: SystemTime) -> Result<Self, KeyError> {
        create_if_missing(&config)?;
        let content = read(&config.key)?;
        let current = ArcSwap::from_pointee(SigningKeySet::from_content(&content, &config, now)?);
        let seen = Mutex::new(LastRead { stamp: content.reliable_fingerprint(now), digest: content.digest() });
        Ok(Self { config, current, last_read: seen })
    }

    /// The current keys.
    #[must_use]
    pub fn current(&self) -> Arc<SigningKeySet> {
        self.current.load_full()
    }

    /// Reads the file if its metadata has changed since the last read; on error the previous keys stay. Returns whether
    /// the keys have changed. Blocks.
    pub fn poll(&self, now: SystemTime) -> Result<bool, KeyError> {
        let mut seen = self.last_read.lock();
        if seen.stamp.is_some() && seen.stamp == FileFingerprint::from_path(&self.config.key) {
            return Ok(false);
        }
        // Unless this read succeeds, the next poll reads again.
        seen.stamp = None;
        let content = read(&self.config.key)?;
        let (stamp, digest) = (content.reliable_fingerprint(now), content.digest());
        if digest.as_ref() != seen.digest.as_ref() {
            let keys = SigningKeySet::from_content(&content, &self.config, now)?;
            seen.digest = digest;
            seen.stamp = stamp;
            let has_changed = keys.ids_and_dates() != self.current.load().ids_and_dates();
            self.current.store(Arc::new(keys));
            return Ok(has_changed);
        }
        seen.stamp = stamp;
        Ok(false)
    }

    /// Polls the file at `interval` without end.
    pub async fn watch(self: Arc<Self>, interval: Duration, clock: Clock) {
        let keys = Arc::clone(&self);
        let report = move |polled: Result<bool, KeyError>| match polled {
            Ok(false) => {}
            Ok(true) => {
                let keys = self.current();
                tracing::info!(signer = keys.signer().id(), keys = keys.all().count(), "token keys reloaded");
            }
            Err(error) => {
                tracing::error!(%error, hint = error.hint(), "token keys not reloaded; the previous ones stay in use");
            }
        };
        poll_quietly(interval, move || keys.poll(clock.now()), report).await;
    }
}

/// Creates the file with one key unless it exists; returns whether it was created. Blocks.
fn create_if_missing(config: &TokenConfig) -> Result<bool, KeyError> {
    let path = &config.key;
    if fs::symlink_metadata(path).is_ok() {
        return Ok(false);
    }
    let text = key_file::render(&[generate_block(config.algorithm)?]);
    match write_new(path, &text) {
        Ok(()) => Ok(true),
        // Another replica created it meanwhile: its key is used.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(KeyError::Io(path.clone(), error)),
    }
}

fn generate_block(algorithm: TokenAlgorithm) -> Result<PrivateKeyBlock, KeyError> {
    let pkcs8 = PrivateKey::generate(algorithm).map_err(|_| KeyError::Generation)?;
    Ok(PrivateKeyBlock { pkcs8, retires_at: None, line: 1 })
}

/// Creates the file atomically, and never replaces an existing one, because issued tokens were signed with its key.
fn write_new(path: &Path, text: &Zeroizing<String>) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    AtomicFile::new(path)?.create(text.as_bytes())
}
