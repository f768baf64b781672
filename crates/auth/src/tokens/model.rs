//! The stored record of an access or refresh token, and its JSON form.
//!
//! Invariant: a record that is read is complete, of a supported version, and has the id that it was looked up by. A
//! record with an unknown field is rejected, because the field could be a restriction.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime},
};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    hash_fingerprint::HashFingerprint,
    id::StoredTokenId,
    secret::{SecretVerifier, TokenSecret},
};
use crate::passwords::hash::StoredHash;
use portcullis_access::{Action, Actions, CredentialLimits, UserName};

/// An access token or a refresh token, as the store holds it: without its secret.
#[derive(Clone)]
pub struct StoredToken {
    /// The public id.
    pub id: StoredTokenId,
    /// The user that it authenticates.
    pub user: UserName,
    /// When it was created, in whole seconds.
    pub created: SystemTime,
    /// Whether it is an access or a refresh token, with the properties of its kind.
    pub kind: StoredTokenKind,
    pub(super) verifier: SecretVerifier,
    /// The fingerprint of the user's stored hash at the time of creation; `None` in records of earlier versions.
    pub(super) hash_fingerprint: Option<HashFingerprint>,
}

/// The kind of a token and the properties of that kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredTokenKind {
    /// An access token, created by an administrator.
    Access {
        /// Its name, unique among access tokens.
        name: TokenName,
        /// Its restriction: it grants no more than this, and no more than its user has.
        limits: CredentialLimits,
        /// When it expires; `None`: never.
        expires: Option<SystemTime>,
    },
    /// A refresh token, created at a device's login.
    Refresh {
        /// The client name from the login request.
        client: ClientName,
        /// The access token that the device signed in with, if any: its restriction applies here too, and both end
        /// together.
        parent: Option<StoredTokenId>,
    },
}

impl StoredToken {
    /// The record of a new token, bound to the stored hash of its user.
    #[must_use]
    pub fn new(token: &TokenSecret, user: UserName, hash: &StoredHash, kind: StoredTokenKind, now: SystemTime) -> Self {
        Self {
            id: token.id(),
            user,
            created: truncate_to_seconds(now),
            kind,
            verifier: token.verifier(hash),
            hash_fingerprint: Some(HashFingerprint::new(token.id(), hash)),
        }
    }

    /// Whether the token was created for a user with this stored hash; `None` if the record cannot tell.
    pub(super) fn was_created_for(&self, hash: &StoredHash) -> Option<bool> {
        self.hash_fingerprint?.matches(self.id, hash)
    }

    /// Whether the token was unused at `now` for longer than `lifetime`; a token that was never used counts from its
    /// creation.
    pub(super) fn is_idle(&self, last_used: Option<SystemTime>, lifetime: Duration, now: SystemTime) -> bool {
        now.duration_since(last_used.unwrap_or(self.created)).unwrap_or_default() > lifetime
    }

    /// The first column of the token list: the name of an access token, the id of a refresh token.
    #[must_use]
    pub fn display_name(&self) -> String {
        match &self.kind {
            StoredTokenKind::Access { name, .. } => name.to_string(),
            StoredTokenKind::Refresh { .. } => self.id.to_string(),
        }
    }

    /// The access token that a device signed in with.
    #[must_use]
    pub fn parent(&self) -> Option<StoredTokenId> {
        match &self.kind {
            StoredTokenKind::Access { .. } => None,
            StoredTokenKind::Refresh { parent, .. } => *parent,
        }
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        let stored = RecordJson {
            version: RECORD_VERSION,
            id: self.id.to_string(),
            user: self.user.to_string(),
            created: format_time(self.created),
            secret: BASE64_STANDARD.encode(self.verifier.secret_hash),
            binding: BASE64_STANDARD.encode(self.verifier.binding),
            user_hash: self.hash_fingerprint.map(|fingerprint| fingerprint.to_string()),
            kind: match &self.kind {
                StoredTokenKind::Access { name, limits, expires } => RecordKindJson::Access {
                    name: name.to_string(),
                    repositories: limits.repositories.iter().map(ToString::to_string).collect(),
                    actions: limits.actions.iter().map(|action| action.to_string()).collect(),
                    expires: expires.map(format_time),
                },
                StoredTokenKind::Refresh { client, parent } => RecordKindJson::Device {
                    client: client.to_string(),
                    parent: parent.map(|parent| parent.to_string()),
                },
            },
        };
        serde_json::to_vec(&stored).expect("a record is plain text and numbers")
    }

    /// Parses the record of `id`. The error is text for the log.
    pub(super) fn from_json(id: StoredTokenId, json: &[u8]) -> Result<Self, String> {
        let stored: RecordJson = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        if stored.version != RECORD_VERSION {
            return Err(format!("a record of version {}, written by another release", stored.version));
        }
        if stored.id != id.to_string() {
            return Err("the record of another token".to_owned());
        }
        let verifier =
            SecretVerifier { secret_hash: decode_hash(&stored.secret)?, binding: decode_hash(&stored.binding)? };
        let kind = match (id, stored.kind) {
            (StoredTokenId::Access(_), RecordKindJson::Access { name, repositories, actions, expires }) => {
                StoredTokenKind::Access {
                    name: parse_field(&name)?,
                    limits: CredentialLimits {
                        repositories: repositories.iter().map(|glob| parse_field(glob)).collect::<Result<_, _>>()?,
                        actions: actions
                            .iter()
                            .map(|action| parse_field::<Action>(action))
                            .collect::<Result<Actions, _>>()?,
                    },
                    expires: expires.as_deref().map(parse_time).transpose()?,
                }
            }
            (StoredTokenId::Refresh { .. }, RecordKindJson::Device { client, parent }) => StoredTokenKind::Refresh {
                client: ClientName::new(&client),
                parent: parent.as_deref().map(parse_field).transpose()?,
            },
            (StoredTokenId::Access(_), RecordKindJson::Device { .. })
            | (StoredTokenId::Refresh { .. }, RecordKindJson::Access { .. }) => {
                return Err("the record of another kind of token".to_owned());
            }
        };
        Ok(Self {
            id,
            user: parse_field(&stored.user)?,
            created: parse_time(&stored.created)?,
            kind,
            verifier,
            hash_fingerprint: stored.user_hash.as_deref().map(parse_field).transpose()?,
        })
    }
}

const RECORD_VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordJson {
    version: u32,
    id: String,
    user: String,
    created: String,
    secret: String,
    binding: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_hash: Option<String>,
    kind: RecordKindJson,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum RecordKindJson {
    Access { name: String, repositories: Vec<String>, actions: Vec<String>, expires: Option<String> },
    Device { client: String, parent: Option<String> },
}

fn parse_field<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

fn decode_hash(text: &str) -> Result<[u8; 32], String> {
    let bytes = BASE64_STANDARD.decode(text).map_err(|error| error.to_string())?;
    bytes.try_into().map_err(|_| "not 32 bytes".to_owned())
}

/// A time in RFC 3339, in whole seconds.
pub(super) fn format_time(time: SystemTime) -> String {
    OffsetDateTime::from(truncate_to_seconds(time)).format(&Rfc3339).unwrap_or_default()
}

pub(super) fn parse_time(text: &str) -> Result<SystemTime, String> {
    OffsetDateTime::parse(text, &Rfc3339).map(SystemTime::from).map_err(|error| error.to_string())
}

fn truncate_to_seconds(time: SystemTime) -> SystemTime {
    OffsetDateTime::from(time).replace_nanosecond(0).unwrap_or(OffsetDateTime::UNIX_EPOCH).into()
}

/// The name of an access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenName(String);

impl TokenName {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 64;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for TokenName {
    type Err = InvalidTokenName;

    fn from_str(text: &str) -> Result<Self, InvalidTokenName> {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"._@/+-".contains(&byte);
        let begins_well = text.starts_with(|first: char| first.is_ascii_alphanumeric());
        if !begins_well || text.len() > Self::MAX_LEN || !text.bytes().all(letter) {
            return Err(InvalidTokenName::Characters);
        }
        // Commands accept a name or an id in the same argument, so the two must be distinct.
        if text.parse::<StoredTokenId>().is_ok() {
            return Err(InvalidTokenName::LooksLikeAnId);
        }
        Ok(Self(text.to_owned()))
    }
}

/// Why a text cannot be the name of an access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTokenName {
    /// Empty, too long, or with characters that break lists or shell commands.
    #[error(
        "a token's name has 1 to {} letters, digits and '.', '_', '@', '/', '+', '-', and begins with a letter or digit",
        TokenName::MAX_LEN
    )]
    Characters,
    /// The name has the form of an id.
    #[error("16 or 24 hexadecimal digits are an id, and cannot be a name")]
    LooksLikeAnId,
}

/// The name that a client sends when it signs in. It is unverified, and displayed for the user to recognise a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientName(String);

impl ClientName {
    const MAX_LEN: usize = 64;

    /// Keeps the printable ASCII characters of a text, up to 64 of them.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let name: String = text.chars().filter(char::is_ascii_graphic).take(Self::MAX_LEN).collect();
        Self(if name.is_empty() { "unknown".to_owned() } else { name })
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_lc_rs::rand::SystemRandom;

    use super::*;

    fn hash() -> StoredHash {
        "$2y$04$abcdefghijklmnopqrstuuO2CIyfQuTzuFsVnuMXCSUcjuRlSZNVO".parse().unwrap()
    }

    fn stored_token(id: StoredTokenId, kind: StoredTokenKind) -> StoredToken {
        let token = TokenSecret::generate(id, &SystemRandom::new()).unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_800_000_000_500);
        StoredToken::new(&token, "Ünal Öz".parse().unwrap(), &hash(), kind, now)
    }

    fn access() -> StoredToken {
        let kind = StoredTokenKind::Access {
            name: "ci".parse().unwrap(),
            limits: CredentialLimits {
                repositories: vec!["team/**".parse().unwrap(), "home/{user}/*".parse().unwrap()],
                actions: [Action::Pull, Action::Push].into_iter().collect(),
            },
            expires: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000)),
        };
        stored_token(StoredTokenId::Access(1), kind)
    }

    #[test]
    fn a_record_says_what_was_written() {
        let device =
            StoredTokenKind::Refresh { client: ClientName::new("docker"), parent: Some(StoredTokenId::Access(1)) };
        for stored in [access(), stored_token(StoredTokenId::Refresh { owner_hash: 1, number: 2 }, device)] {
            let read = StoredToken::from_json(stored.id, &stored.to_json()).unwrap();
            assert_eq!((read.id, &read.user, &read.kind), (stored.id, &stored.user, &stored.kind));
            assert_eq!(read.created, SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
            assert_eq!(
                (read.verifier.secret_hash, read.verifier.binding),
                (stored.verifier.secret_hash, stored.verifier.binding)
            );
            assert_eq!((read.hash_fingerprint, read.was_created_for(&hash())), (stored.hash_fingerprint, Some(true)));
        }
    }

    #[test]
    fn a_record_without_the_fingerprint_of_the_hash_is_read_and_cannot_tell() {
        let stored = access();
        let fingerprint = format!(r#""user_hash":"{}","#, stored.hash_fingerprint.unwrap());
        let text = String::from_utf8(stored.to_json()).unwrap();
        let earlier = text.replace(&fingerprint, "");
        assert_ne!(earlier, text);
        let read = StoredToken::from_json(stored.id, earlier.as_bytes()).unwrap();
        assert_eq!(read.was_created_for(&hash()), None);
    }

    #[test]
    fn a_record_that_is_not_ours_to_understand_is_not_believed() {
        let text = String::from_utf8(access().to_json()).unwrap();
        let id = StoredTokenId::Access(1);
        assert!(StoredToken::from_json(id, text.as_bytes()).is_ok());
        for (from, to) in [
            (r#""version":1"#, r#""version":2"#),
            ("0000000000000001", "0000000000000002"),
            ("team/**", "team/***"),
            ("push", "fly"),
            ("2030-", "20300-"),
            (r#""secret":""#, r#""secret":"A"#),
            (r#""user_hash":""#, r#""user_hash":"A"#),
            (r#""version":1"#, r#""version":1,"only_on_sundays":true"#),
            (r#""name":"ci""#, r#""name":"ci","only_from":"10.0.0.0/8""#),
        ] {
            let changed = text.replace(from, to);
            assert_ne!(changed, text, "{from} should be there");
            assert!(StoredToken::from_json(id, changed.as_bytes()).is_err(), "{changed}");
        }
        let device = StoredTokenId::Refresh { owner_hash: 0, number: 1 };
        let moved = text.replace("0000000000000001", &device.to_string());
        assert!(StoredToken::from_json(device, moved.as_bytes()).is_err(), "an access token as a refresh token");
        for end in 0..text.len() {
            assert!(StoredToken::from_json(id, &text.as_bytes()[..end]).is_err());
        }
    }

    #[test]
    fn a_name_stands_in_a_line_of_a_list_and_is_no_id() {
        for name in ["ci", "a", "team/ci@2", "0", "build-7.x_y+z"] {
            assert_eq!(name.parse::<TokenName>().unwrap().as_str(), name);
        }
        for name in ["", "-ci", "a b", "a\n", "ä", &"a".repeat(65)] {
            assert_eq!(name.parse::<TokenName>(), Err(InvalidTokenName::Characters), "{name:?}");
        }
        assert_eq!("0123456789abcdef".parse::<TokenName>(), Err(InvalidTokenName::LooksLikeAnId));
        assert_eq!(ClientName::new("a\n b\u{1b}[2J").to_string(), "ab[2J");
        assert_eq!(ClientName::new("\u{7}").to_string(), "unknown");
    }
}
