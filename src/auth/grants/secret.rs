//! The secret of a grant, as people paste it and machines send it: `pcat_<id>_<secret>` and `pcrt_<id>_<secret>`.
//!
//! Invariant: a token has no `Debug`, `Display` or `Serialize`, is overwritten when it is dropped, and is compared in
//! constant time. The prefix is for scanners that look for secrets where there should be none.

use aws_lc_rs::{digest, hmac, rand::SecureRandom};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::id::GrantId;
use crate::auth::{
    hash::{NoRandomness, StoredHash},
    secret::Password,
};

const ACCESS: &str = "pcat_";
const REFRESH: &str = "pcrt_";

/// An id and 256 bits that only the owner has.
pub struct GrantToken {
    id: GrantId,
    secret: Zeroizing<[u8; 32]>,
}

impl GrantToken {
    /// A new secret for a grant.
    pub fn draw(id: GrantId, random: &dyn SecureRandom) -> Result<Self, NoRandomness> {
        let mut secret = Zeroizing::new([0; 32]);
        random.fill(secret.as_mut_slice()).map_err(|_| NoRandomness)?;
        Ok(Self { id, secret })
    }

    /// Reads what somebody sent; anything that is not exactly what we print is not a token but some password.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(ACCESS).or_else(|| text.strip_prefix(REFRESH))?;
        let (id, secret) = rest.split_once('_')?;
        let id: GrantId = id.parse().ok()?;
        if !text.starts_with(prefix(id)) {
            return None;
        }
        let mut bytes = Zeroizing::new([0; 32]);
        // 43 letters are 32 bytes; with more, the buffer is too small, and that is an error.
        let length = BASE64_URL_SAFE_NO_PAD.decode_slice(secret, bytes.as_mut_slice()).ok()?;
        (length == 32).then_some(Self { id, secret: bytes })
    }

    /// Which grant it is for.
    #[must_use]
    pub fn id(&self) -> GrantId {
        self.id
    }

    /// The token as text, for showing it once. The name is long to be found by searching.
    #[must_use]
    pub fn expose(&self) -> Password {
        let secret = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(self.secret.as_slice()));
        Password::new([prefix(self.id), &self.id.to_string(), "_", &secret].concat())
    }

    /// What is stored, so that this token and no other is believed, while this is its user's hash.
    pub(super) fn proof(&self, hash: &StoredHash) -> Proof {
        Proof { secret: self.digest(), binding: self.binding(hash) }
    }

    fn digest(&self) -> [u8; 32] {
        bytes(digest::digest(&digest::SHA256, self.secret.as_slice()).as_ref())
    }

    fn binding(&self, hash: &StoredHash) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_slice());
        bytes(hmac::sign(&key, hash.text().as_bytes()).as_ref())
    }
}

fn bytes(digest: &[u8]) -> [u8; 32] {
    *digest.first_chunk().expect("SHA-256 gives 32 bytes")
}

fn prefix(id: GrantId) -> &'static str {
    match id {
        GrantId::Access(_) => ACCESS,
        GrantId::Device { .. } => REFRESH,
    }
}

/// By what a token is known again.
#[derive(Clone, Copy)]
pub(super) struct Proof {
    /// The SHA-256 of the secret.
    pub(super) secret: [u8; 32],
    /// The HMAC of the user's stored hash under the secret: another hash, and the token has ended.
    pub(super) binding: [u8; 32],
}

impl Proof {
    /// Whether this is the token's.
    pub(super) fn is_of(&self, token: &GrantToken) -> bool {
        self.secret.ct_eq(&token.digest()).into()
    }

    /// Whether the token was made for this hash.
    pub(super) fn is_bound_to(&self, hash: &StoredHash, token: &GrantToken) -> bool {
        self.binding.ct_eq(&token.binding(hash)).into()
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;

    use super::*;

    fn token() -> GrantToken {
        GrantToken::draw(GrantId::Access(7), &SystemRandom::new()).unwrap()
    }

    #[test]
    fn a_token_is_read_as_it_was_shown_and_in_no_other_spelling() {
        let shown = token().expose();
        let text = shown.expose();
        assert!(text.starts_with("pcat_0000000000000007_"));
        assert!(shown.usable().is_ok(), "whatever takes a password takes a token");
        assert_eq!(GrantToken::parse(text).unwrap().expose().expose(), text);
        let device = GrantId::Device { owner: 1, number: 2 };
        let refresh = GrantToken::draw(device, &SystemRandom::new()).unwrap().expose();
        assert!(refresh.expose().starts_with("pcrt_000000010000000000000002_"));
        assert_eq!(GrantToken::parse(refresh.expose()).unwrap().id(), device);
        let others = [
            text.replace("pcat_", "pcrt_"),
            refresh.expose().replace("pcrt_", "pcat_"),
            text.replace("pcat_", ""),
            text.to_uppercase(),
            format!("{text}A"),
            format!("{text}="),
            format!("{text} "),
            text[..text.len() - 1].to_owned(),
            "pcat_0000000000000007_".to_owned(),
            "pcat_".to_owned(),
            String::new(),
        ];
        for other in others {
            assert!(GrantToken::parse(&other).is_none(), "{other}");
        }
    }

    #[test]
    fn a_proof_is_of_one_secret_and_one_hash() {
        let (one, two): (StoredHash, StoredHash) = (
            "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=".parse().unwrap(),
            "{SHA}4en6G6MezRroT3XKqkdPOmY/BfQ=".parse().unwrap(),
        );
        let (token, other) = (token(), token());
        let proof = token.proof(&one);
        assert!(proof.is_of(&token) && proof.is_bound_to(&one, &token));
        assert!(!proof.is_of(&other) && !proof.is_bound_to(&one, &other));
        assert!(!proof.is_bound_to(&two, &token));
    }
}
