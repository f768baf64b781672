//! Defines the origin of a bearer token, and reads and writes its text in the claim `via`.

use std::{fmt, str::FromStr};

use super::invalid_token::InvalidToken;
use crate::{CredentialVersion, tokens::StoredTokenId, workload::WorkloadRuleId};
use portcullis_tls::CertificateProof;

/// The credential that a user presented to obtain a token. The token ends when this credential ends.
///
/// The claim `via` holds it as one word: a letter for its kind, a colon, and an identifier that is unique within the
/// kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenOrigin {
    /// A password, with the fingerprint of its stored hash.
    Password(CredentialVersion),
    /// An access token or a refresh token.
    StoredToken {
        /// The id of that token.
        id: StoredTokenId,
        /// The fingerprint of the user's stored hash: when the hash changes, the token ends.
        credential: CredentialVersion,
    },
    /// The OIDC token of a CI job, with the fingerprint of the rule that accepted it.
    Workload(WorkloadRuleId),
    /// A client certificate of the TLS handshake: its fingerprint, that of the trusted authorities, and its expiry.
    Certificate(CertificateProof),
}

impl fmt::Display for TokenOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password(version) => write!(f, "p:{version}"),
            Self::StoredToken { id, credential } => write!(f, "g:{id}:{credential}"),
            Self::Workload(rule) => write!(f, "w:{rule}"),
            Self::Certificate(proof) => write!(f, "c:{proof}"),
        }
    }
}

impl FromStr for TokenOrigin {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        match text.split_once(':') {
            Some(("p", version)) => Ok(Self::Password(CredentialVersion::from_claim(version))),
            Some(("g", stored)) => {
                let (id, version) = stored.split_once(':').ok_or(InvalidToken::Unverifiable)?;
                let id = id.parse().map_err(|_| InvalidToken::Unverifiable)?;
                Ok(Self::StoredToken { id, credential: CredentialVersion::from_claim(version) })
            }
            Some(("w", rule)) => Ok(Self::Workload(WorkloadRuleId::from_claim(rule))),
            Some(("c", proof)) => Ok(Self::Certificate(proof.parse().map_err(|_| InvalidToken::Unverifiable)?)),
            Some(_) | None => Err(InvalidToken::Unverifiable),
        }
    }
}
