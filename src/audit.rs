//! What an auditor wants to know: who did what, as a value, said where it happened.
//!
//! Mechanisms' floor: imports [`oci`](crate::oci) and [`access`](crate::access). Invariant: no field of an [`Event`] can hold a
//! password, a token or a hash; there is no type in here for them.
//!
//! An event travels as a `tracing` event of [`TARGET`]. So it needs no handle on its way down to the engine, and the span of
//! the request around it says from where and under which id, also in work that goes on when the client is gone. Whoever
//! installs the log decides where the trail is written; where it is written nowhere, an event costs nothing.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

use crate::{
    access::{Principal, Scope, UserName},
    oci::{Digest, RepositoryName, Tag},
};

/// The target of every event.
pub const TARGET: &str = "portcullis::audit";

/// The name of the field that holds an event, as JSON.
pub const FIELD: &str = "record";

/// Something that an auditor wants to know. On paper it is a flat JSON object whose `event` is the variant's name.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case", rename_all_fields = "snake_case")]
pub enum Event<'a> {
    /// The server serves.
    Started {
        /// Its version.
        version: &'a str,
    },
    /// The server ends.
    Stopped,
    /// Somebody proved to be who they say.
    SignedIn {
        /// Who.
        #[serde(serialize_with = "display")]
        user: &'a UserName,
        /// By what.
        method: Method,
        /// What that is called in `portcullis token list`, if it is a token; of a CI job its issuer, and what that calls it; of a
        /// certificate its fingerprint.
        #[serde(skip_serializing_if = "Option::is_none")]
        credential: Option<&'a str>,
    },
    /// Somebody did not.
    SignInRefused {
        /// Who they say they are; anybody may have sent this.
        #[serde(serialize_with = "short")]
        user: &'a str,
        /// Why not.
        reason: &'a str,
    },
    /// A bearer token was refused.
    TokenRefused {
        /// Why.
        reason: &'a str,
    },
    /// The token endpoint gave out a token.
    TokenIssued {
        /// Whose it is.
        #[serde(serialize_with = "display")]
        user: &'a Principal,
        /// What it is good for.
        #[serde(serialize_with = "list")]
        scopes: &'a [Scope],
    },
    /// The gate refused somebody whose credentials hold.
    Refused {
        /// Who.
        #[serde(serialize_with = "display")]
        user: &'a Principal,
        /// What they wanted to do.
        action: &'a str,
        /// To what.
        object: &'a str,
    },
    /// A blob was uploaded.
    BlobPushed {
        /// By whom.
        #[serde(serialize_with = "display")]
        user: &'a Principal,
        /// Where to.
        #[serde(serialize_with = "display")]
        repository: &'a RepositoryName,
        /// What.
        #[serde(serialize_with = "display")]
        digest: &'a Digest,
    },
    /// A blob was linked from another repository.
    BlobMounted {
        /// By whom.
        #[serde(serialize_with = "display")]
        user: &'a Principal,
        /// Where to.
        #[serde(serialize_with = "display")]
        repository: &'a RepositoryName,
        /// What.
        #[serde(serialize_with = "display")]
        digest: &'a Digest,
        /// Where from.
        #[serde(serialize_with = "display")]
        source: &'a RepositoryName,
    },
    /// A manifest was put.
    ManifestPushed {
        /// By whom.
        #[serde(serialize_with = "display")]
        user: &'a Principal,
        /// Where to.
        #[serde(serialize_with = "display")]
        repository: &'a RepositoryName,
        /// What.
        #[serde(serialize_with = "display")]
        digest: &'a Digest,
        /// Under which tags.
        #[serde(serialize_with = "list")]
        tags: &'a [Tag],
    },
    /// A tag was deleted.
    TagDeleted {
        /// By whom.
        #[serde(serialize_with = "display")]
        user: &'a Principal,
        /// Where.
        #[serde(serialize_with = "display")]
        repository: &'a RepositoryName,
        /// Which.
        #[serde(serialize_with = "display")]
        tag: &'a Tag,
    },
    /// A manifest was deleted, with its tags.
    ManifestDeleted {
        /// By whom.
        #[serde(serialize_with = "display")]
        user: &'a Principal,
        /// Where.
        #[serde(serialize_with = "display")]
        repository: &'a RepositoryName,
        /// Which.
        #[serde(serialize_with = "display")]
        digest: &'a Digest,
    },
    /// A blob was deleted from a repository.
    BlobDeleted {
        /// By whom.
        #[serde(serialize_with = "display")]
        user: &'a Principal,
        /// Where.
        #[serde(serialize_with = "display")]
        repository: &'a RepositoryName,
        /// Which.
        #[serde(serialize_with = "display")]
        digest: &'a Digest,
    },
    /// A whole repository was deleted.
    RepositoryDeleted {
        /// By whom: a user, or somebody at this machine.
        user: &'a str,
        /// Which.
        #[serde(serialize_with = "display")]
        repository: &'a RepositoryName,
    },
    /// The users file became another one.
    UsersChanged {
        /// Who is new.
        #[serde(serialize_with = "list")]
        added: &'a [UserName],
        /// Who is gone.
        #[serde(serialize_with = "list")]
        removed: &'a [UserName],
        /// Who has another password, or the same one hashed anew.
        #[serde(serialize_with = "list")]
        changed: &'a [UserName],
    },
    /// A command on this machine changed a user; the server tells of the changed file when it takes it over.
    UserEdited {
        /// Whom.
        #[serde(serialize_with = "display")]
        user: &'a UserName,
        /// `added`, `password changed` or `removed`.
        change: &'a str,
        /// The account on this machine.
        by: &'a str,
    },
    /// A command on this machine made an access token.
    AccessTokenCreated {
        /// What it is called.
        name: &'a str,
        /// Whose it is.
        #[serde(serialize_with = "display")]
        user: &'a UserName,
        /// The account on this machine.
        by: &'a str,
    },
    /// A command on this machine ended an access token, or signed a device out.
    TokenRevoked {
        /// What it is called in the list.
        name: &'a str,
        /// The account on this machine.
        by: &'a str,
    },
    /// A command on this machine made a new key for tokens.
    TokenKeyRotated {
        /// Its name.
        key: &'a str,
        /// The account on this machine.
        by: &'a str,
    },
    /// The access rules became others.
    PolicyChanged {
        /// The rules now, in order.
        rules: Vec<String>,
    },
    /// The rules about the tokens of CI jobs became others.
    WorkloadRulesChanged {
        /// The rules now, in order.
        rules: Vec<String>,
    },
    /// Another certificate is shown to clients.
    CertificateChanged {
        /// Its fingerprint.
        fingerprint: &'a str,
    },
    /// Other certificates of clients are believed.
    ClientAuthoritiesChanged {
        /// Whether clients are asked for certificates now.
        asks: bool,
    },
}

/// By what somebody proved who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// A password of the users file.
    Password,
    /// An access token, in the place of a password.
    AccessToken,
    /// A refresh token, which a device keeps instead of a password.
    RefreshToken,
    /// The token of a CI job.
    Workload,
    /// A certificate, shown in the handshake.
    ClientCertificate,
}

/// The longest, in bytes, that a log repeats of what anybody may have sent; no name or path of ours is that long.
const LONGEST: usize = 1024;

/// A text as a log repeats it: one that is too long is cut, and says how much is missing.
#[must_use]
pub fn excerpt(text: &str) -> Cow<'_, str> {
    if text.len() <= LONGEST {
        return Cow::Borrowed(text);
    }
    let end = (0..=LONGEST).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    Cow::Owned(format!("{}…({} bytes more)", &text[..end], text.len() - end))
}

/// Tells the trail.
pub fn record(event: &Event<'_>) {
    if !tracing::enabled!(target: TARGET, tracing::Level::INFO) {
        return;
    }
    tracing::info!(target: TARGET, record = on_paper(event));
}

fn on_paper(event: &Event<'_>) -> String {
    serde_json::to_string(event).expect("an event is plain text and lists")
}

fn short<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&excerpt(text))
}

fn display<T: std::fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn list<T: std::fmt::Display, S: Serializer>(values: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(ToString::to_string))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_too_long_is_cut_and_it_says_so() {
        let fits = "/".repeat(LONGEST);
        assert_eq!(excerpt(&fits), fits);
        assert_eq!(excerpt(&"/".repeat(30_000)), format!("{fits}…(28976 bytes more)"));
        let cut_between_characters = excerpt(&"ä".repeat(LONGEST)).into_owned();
        assert!(cut_between_characters.starts_with(&"ä".repeat(LONGEST / 2)), "{cut_between_characters}");
        let name = "x".repeat(2000);
        let line = serde_json::to_string(&Event::SignInRefused { user: &name, reason: "wrong" }).unwrap();
        assert!(line.len() < 1200 && line.contains("(976 bytes more)"), "{line}");
    }
}
