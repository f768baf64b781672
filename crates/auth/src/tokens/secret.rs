//! Generates, parses and compares token secrets in their text form: `pcat_<id>_<secret>` for an access token,
//! `pcrt_<id>_<secret>` for a refresh token.
//!
//! The prefix lets secret scanners recognise a token that was committed or logged by mistake.
//!
//! Invariant: a token has no `Debug`, `Display` or `Serialize`, is overwritten when it is dropped, and is compared in
//! constant time.

use aws_lc_rs::{digest, hmac, rand::SecureRandom};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::id::StoredTokenId;
use crate::{
    passwords::hash::{NoRandomness, StoredHash},
    passwords::password::Password,
};

const ACCESS_TOKEN_PREFIX: &str = "pcat_";
const REFRESH_TOKEN_PREFIX: &str = "pcrt_";

/// A token as the client has it: an id and a secret of 256 bits.
pub struct TokenSecret {
    id: StoredTokenId,
    secret: Zeroizing<[u8; 32]>,
}

impl TokenSecret {
    /// Generates a secret for the token with this id.
    pub fn generate(id: StoredTokenId, random: &dyn SecureRandom) -> Result<Self, NoRandomness> {
        let mut secret = Zeroizing::new([0; 32]);
        random.fill(secret.as_mut_slice()).map_err(|_| NoRandomness)?;
        Ok(Self { id, secret })
    }

    /// Parses a password from a client. `None` if it is not exactly the form of [`TokenSecret::expose`]: then it is an
    /// ordinary password.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(ACCESS_TOKEN_PREFIX).or_else(|| text.strip_prefix(REFRESH_TOKEN_PREFIX))?;
        let (id, secret) = rest.split_once('_')?;
        let id: StoredTokenId = id.parse().ok()?;
        if !text.starts_with(prefix(id)) {
            return None;
        }
        let mut bytes = Zeroizing::new([0; 32]);
        // 43 characters are 32 bytes; with more, the buffer is too small, and decoding fails.
        let length = BASE64_URL_SAFE_NO_PAD.decode_slice(secret, bytes.as_mut_slice()).ok()?;
        (length == 32).then_some(Self { id, secret: bytes })
    }

    /// The public id of the token.
    #[must_use]
    pub fn id(&self) -> StoredTokenId {
        self.id
    }

    /// The token as text, to be displayed once. The name makes uses easy to find in the source.
    #[must_use]
    pub fn expose(&self) -> Password {
        let secret = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(self.secret.as_slice()));
        Password::new([prefix(self.id), &self.id.to_string(), "_", &secret].concat())
    }

    /// The stored verifier that accepts this token and no other, as long as `hash` is the stored hash of its user.
    pub(super) fn verifier(&self, hash: &StoredHash) -> SecretVerifier {
        SecretVerifier { secret_hash: self.digest(), binding: self.binding(hash) }
    }

    fn digest(&self) -> [u8; 32] {
        to_array(digest::digest(&digest::SHA256, self.secret.as_slice()).as_ref())
    }

    fn binding(&self, hash: &StoredHash) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_slice());
        to_array(hmac::sign(&key, hash.as_str().as_bytes()).as_ref())
    }
}

fn to_array(digest: &[u8]) -> [u8; 32] {
    *digest.first_chunk().expect("SHA-256 gives 32 bytes")
}

fn prefix(id: StoredTokenId) -> &'static str {
    match id {
        StoredTokenId::Access(_) => ACCESS_TOKEN_PREFIX,
        StoredTokenId::Refresh { .. } => REFRESH_TOKEN_PREFIX,
    }
}

/// The stored verifier of a token secret.
#[derive(Clone, Copy)]
pub(super) struct SecretVerifier {
    /// The SHA-256 of the secret.
    pub(super) secret_hash: [u8; 32],
    /// The HMAC of the user's stored hash under the secret: the token ends when the hash changes.
    pub(super) binding: [u8; 32],
}

impl SecretVerifier {
    /// Whether the secret of `token` matches, compared in constant time.
    pub(super) fn matches(&self, token: &TokenSecret) -> bool {
        self.secret_hash.ct_eq(&token.digest()).into()
    }

    /// Whether the token was created for this stored hash, compared in constant time.
    pub(super) fn is_bound_to(&self, hash: &StoredHash, token: &TokenSecret) -> bool {
        self.binding.ct_eq(&token.binding(hash)).into()
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;

    use super::*;

    fn token() -> TokenSecret {
        TokenSecret::generate(StoredTokenId::Access(7), &SystemRandom::new()).unwrap()
    }

    #[test]
    fn a_token_is_read_as_it_was_shown_and_in_no_other_spelling() {
        let shown = token().expose();
        let text = shown.expose();
        assert!(text.starts_with("pcat_0000000000000007_"));
        assert!(shown.check_usable().is_ok(), "a token is a valid password");
        assert_eq!(TokenSecret::parse(text).unwrap().expose().expose(), text);
        let device = StoredTokenId::Refresh { owner_hash: 1, number: 2 };
        let refresh = TokenSecret::generate(device, &SystemRandom::new()).unwrap().expose();
        assert!(refresh.expose().starts_with("pcrt_000000010000000000000002_"));
        assert_eq!(TokenSecret::parse(refresh.expose()).unwrap().id(), device);
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
            assert!(TokenSecret::parse(&other).is_none(), "{other}");
        }
    }

    #[test]
    fn a_proof_is_of_one_secret_and_one_hash() {
        let (one, two): (StoredHash, StoredHash) = (
            "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=".parse().unwrap(),
            "{SHA}4en6G6MezRroT3XKqkdPOmY/BfQ=".parse().unwrap(),
        );
        let (token, other) = (token(), token());
        let proof = token.verifier(&one);
        assert!(proof.matches(&token) && proof.is_bound_to(&one, &token));
        assert!(!proof.matches(&other) && !proof.is_bound_to(&one, &other));
        assert!(!proof.is_bound_to(&two, &token));
    }
}
