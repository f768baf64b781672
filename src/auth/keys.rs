//! The key that signs tokens.
//!
//! Invariant: the private key is read from or written to one file with mode 0600 and is never printed; both coordinates
//! of its public point are full 32 bytes.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use aws_lc_rs::hmac;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use jsonwebtoken::{DecodingKey, EncodingKey};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
use serde_json::{Value, json};

use crate::{
    oci::{Algorithm, Digest},
    storage::Draft,
};

/// An ECDSA P-256 key: it signs tokens, says how to verify them, and binds them to the passwords they were issued for.
pub struct SigningKey {
    pub(super) encoding: EncodingKey,
    pub(super) decoding: DecodingKey,
    /// Keys the fingerprints of stored hashes in tokens: derived, so that replicas that share the key agree.
    pub(super) binding: hmac::Key,
    id: String,
    x: String,
    y: String,
}

impl SigningKey {
    /// The key in `path`; made, if the file is not there.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyError> {
        match Self::load(path) {
            Err(KeyError::Io(_, error)) if error.kind() == io::ErrorKind::NotFound => Self::create(path),
            loaded => loaded,
        }
    }

    fn load(path: &Path) -> Result<Self, KeyError> {
        let pem = fs::read_to_string(path).map_err(|error| KeyError::Io(path.to_owned(), error))?;
        Self::from_pem(&pem).ok_or_else(|| KeyError::Unusable(path.to_owned()))
    }

    fn create(path: &Path) -> Result<Self, KeyError> {
        let pair = draw().map_err(|_| KeyError::Generation)?;
        match write_new(path, &pair.serialize_pem()) {
            Ok(()) => Self::from_pair(&pair).ok_or(KeyError::Generation),
            // Another replica was faster: its key is the one.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::load(path),
            Err(error) => Err(KeyError::Io(path.to_owned(), error)),
        }
    }

    fn from_pem(pem: &str) -> Option<Self> {
        let pair = KeyPair::from_pem(pem).ok()?;
        if !pair.is_compatible(&PKCS_ECDSA_P256_SHA256) {
            return None;
        }
        Self::from_pair(&pair)
    }

    fn from_pair(pair: &KeyPair) -> Option<Self> {
        let (x, y) = coordinates(pair)?;
        let (x, y) = (BASE64_URL_SAFE_NO_PAD.encode(x), BASE64_URL_SAFE_NO_PAD.encode(y));
        let private = pair.serialize_der();
        let derived = Digest::of(Algorithm::Sha256, &[b"portcullis token binding", private.as_slice()].concat());
        Some(Self {
            encoding: EncodingKey::from_ec_der(&private),
            decoding: DecodingKey::from_ec_components(&x, &y).ok()?,
            binding: hmac::Key::new(hmac::HMAC_SHA256, derived.as_bytes()),
            id: thumbprint(&x, &y),
            x,
            y,
        })
    }

    /// The name of the key in the header of its tokens: its thumbprint (RFC 7638).
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The public half as a JSON Web Key (RFC 7517).
    #[must_use]
    pub fn to_jwk(&self) -> Value {
        json!({"kty": "EC", "crv": "P-256", "x": self.x, "y": self.y, "use": "sig", "alg": "ES256", "kid": self.id})
    }
}

/// Distribution 3 computes thumbprints of P-256 keys without leading zeros; a key that has none means the same to both.
fn draw() -> Result<KeyPair, rcgen::Error> {
    loop {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        if coordinates(&pair).is_some_and(|(x, y)| x[0] != 0 && y[0] != 0) {
            return Ok(pair);
        }
    }
}

/// The halves of the uncompressed public point (SEC 1 section 2.3.3).
fn coordinates(pair: &KeyPair) -> Option<(&[u8], &[u8])> {
    let point = pair.der_bytes().strip_prefix(&[4])?;
    (point.len() == 64).then(|| point.split_at(32))
}

fn thumbprint(x: &str, y: &str) -> String {
    let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    BASE64_URL_SAFE_NO_PAD.encode(Digest::of(Algorithm::Sha256, canonical.as_bytes()).as_bytes())
}

/// Written whole or not at all, and never over a key that is there: tokens out there were signed with it.
fn write_new(path: &Path, pem: &str) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    Draft::of(path)?.create(pem.as_bytes())
}

/// Why there is no signing key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("token key {}: {}", .0.display(), .1)]
    Io(PathBuf, #[source] io::Error),
    /// The file holds something else.
    #[error("token key {}: not an ECDSA P-256 private key in PKCS#8 PEM", .0.display())]
    Unusable(PathBuf),
    /// The system has no randomness to give.
    #[error("a token key could not be generated")]
    Generation,
}

impl KeyError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Io(..) => "set auth.token.key to a file that this user can read, in a folder that it can write",
            Self::Unusable(_) => {
                "move the file away to have a new key made, or convert it: openssl pkcs8 -topk8 -nocrypt -in OLD -out NEW"
            }
            Self::Generation => "check that the system's random number generator works",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("certs/token.key");
        let made = SigningKey::load_or_create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(SigningKey::load_or_create(&path).unwrap().id(), made.id());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing temporary is left");
    }

    #[test]
    fn replicas_that_start_at_once_agree_on_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token.key");
        let id = || SigningKey::load_or_create(&path).unwrap().id().to_owned();
        let ids: Vec<_> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8).map(|_| scope.spawn(id)).collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|made| *made == id()), "{ids:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing temporary is left");
    }

    #[test]
    fn a_file_that_is_no_key_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token.key");
        fs::write(&path, "not a key").unwrap();
        assert!(matches!(SigningKey::load_or_create(&path), Err(KeyError::Unusable(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "not a key");
    }

    #[test]
    fn the_thumbprint_is_that_of_rfc_7638_for_elliptic_curves() {
        // The P-256 key of RFC 7517, appendix A.1; its thumbprint computed with openssl dgst over the canonical JSON.
        let (x, y) = ("MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM");
        assert_eq!(thumbprint(x, y), "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s");
    }
}
