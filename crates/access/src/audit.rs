//! Defines the audit events and emits them as `tracing` events of the target [`TARGET`].
//!
//! With `tracing`, the registry and the API need no handle of the audit log, and the span of the request adds the
//! client's address and the request id, also in work that continues after the client has disconnected. The log setup
//! decides where the audit log is written; without an audit log an event costs nothing.
//!
//! This module imports [`oci`](portcullis_oci) and [`access`](crate).
//!
//! Invariant: no field of an [`AuditEvent`] has a type that can hold a password, a token or a hash.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

use crate::{Principal, Scope, UserName};
use portcullis_oci::{Digest, RepositoryName, Tag};

/// The `tracing` target of every audit event.
pub const TARGET: &str = "portcullis::audit";

/// The name of the `tracing` field that contains an event, as JSON.
pub const FIELD: &str = "record";

/// An audit event. It is serialised as a flat JSON object whose `event` is the variant's name.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case", rename_all_fields = "snake_case")]
pub enum AuditEvent<'a> {
    /// The server started.
    Started {
        /// The version of the server.
        version: &'a str,
    },
    /// The server stopped.
    Stopped,
    /// A user was authenticated.
    SignedIn {
        /// The authenticated user.
        #[serde(serialize_with = "display")]
        user: &'a UserName,
        /// The kind of credential.
        method: AuthMethod,
        /// The name of the credential: for a token, its name in `portcullis token list`; for a CI job, its issuer and
        /// the name of the job; for a certificate, its fingerprint.
        #[serde(skip_serializing_if = "Option::is_none")]
        credential: Option<&'a str>,
    },
    /// An authentication failed.
    SignInRefused {
        /// The user name that the client sent, which is not verified.
        #[serde(serialize_with = "short")]
        user: &'a str,
        /// The reason of the failure.
        reason: &'a str,
    },
    /// A bearer token was refused.
    TokenRefused {
        /// The reason of the refusal.
        reason: &'a str,
    },
    /// The token endpoint issued a bearer token.
    TokenIssued {
        /// The user of the token.
        #[serde(serialize_with = "display")]
        user: &'a Principal,
        /// The scopes of the token.
        #[serde(serialize_with = "list")]
        scopes: &'a [Scope],
    },
    /// The gate denied an operation to a caller with valid credentials.
    Refused {
        /// The user.
        #[serde(serialize_with = "display")]
        user: &'a Principal,
        /// The verb of the denied operation.
        action: &'a str,
        /// The repository, or "the catalog".
        object: &'a str,
    },
    /// A blob was uploaded.
    BlobPushed {
        /// The user who made the request.
        #[serde(serialize_with = "display")]
        user: &'a Principal,
        /// The repository that was changed.
        #[serde(serialize_with = "display")]
        repository: &'a RepositoryName,
        /// The digest of the content.
        #[serde(serialize_with = "display")]
        digest: &'a Digest,
    },
    /// A blob was mounted from another repository.
    BlobMounted {
        /// The user who made the request.
        #[serde(serialize_with = "display")]
        user: &'a Principal,
        /// The repository that was changed.
        #[serde(serialize_with = "display")]
        repository: &'a RepositoryName,
        /// The digest of the content.
        #[serde(serialize_with = "display")]
        digest: &'a Digest,
        /// The repository that the blob was mounted from.
        #[serde(serialize_with = "display")]
        source: &'a RepositoryName,
    },
    /// A manifest was pushed.
    ManifestPushed {
        /// The user who made the request.
        #[serde(serialize_with = "display")]
        user: &'a Principal,
        /// The repository that was changed.
        #[serde(serialize_with = "display")]
        repository: &'a RepositoryName,
        /// The digest of the content.
        #[serde(serialize_with = "display")]
        digest: &'a Digest,
        /// The tags that the push set.
        #[serde(serialize_with = "list")]
        tags: &'a [Tag],
    },
    /// A tag was deleted.
    TagDeleted {
        /// The user who made the request.
        #[serde(serialize_with = "display")]
        user: &'a Principal,
        /// The repository that was changed.
        #[serde(serialize_with = "display")]
        repository: &'a RepositoryName,
        /// The deleted tag.
        #[serde(serialize_with = "display")]
        tag: &'a Tag,
    },
    /// A manifest was deleted, with its tags.
    ManifestDeleted {
        /// The user who made the request.
        #[serde(serialize_with = "display")]
        user: &'a Principal,
        /// The repository that was changed.
        #[serde(serialize_with = "display")]
        repository: &'a RepositoryName,
        /// The digest of the deleted content.
        #[serde(serialize_with = "display")]
        digest: &'a Digest,
    },
    /// A blob was deleted from a repository.
    BlobDeleted {
        /// The user who made the request.
        #[serde(serialize_with = "display")]
        user: &'a Principal,
        /// The repository that was changed.
        #[serde(serialize_with = "display")]
        repository: &'a RepositoryName,
        /// The digest of the deleted content.
        #[serde(serialize_with = "display")]
        digest: &'a Digest,
    },
    /// A whole repository was deleted.
    RepositoryDeleted {
        /// The user, or the local operator for a command on this machine.
        user: &'a str,
        /// The deleted repository.
        #[serde(serialize_with = "display")]
        repository: &'a RepositoryName,
    },
    /// The server loaded a changed users file.
    UsersChanged {
        /// The added users.
        #[serde(serialize_with = "list")]
        added: &'a [UserName],
        /// The removed users.
        #[serde(serialize_with = "list")]
        removed: &'a [UserName],
        /// The users with another password, or with the same password hashed anew.
        #[serde(serialize_with = "list")]
        changed: &'a [UserName],
    },
    /// A command on this machine edited the users file. The server records [`AuditEvent::UsersChanged`] when it loads
    /// the file.
    UserEdited {
        /// The edited user.
        #[serde(serialize_with = "display")]
        user: &'a UserName,
        /// `added`, `password changed` or `removed`.
        change: &'a str,
        /// The account on this machine that ran the command.
        by: &'a str,
    },
    /// A command on this machine created an access token.
    AccessTokenCreated {
        /// The name of the token.
        name: &'a str,
        /// The user of the token.
        #[serde(serialize_with = "display")]
        user: &'a UserName,
        /// The account on this machine that ran the command.
        by: &'a str,
    },
    /// A command on this machine revoked an access token or a refresh token.
    TokenRevoked {
        /// The name of the token in `portcullis token list`.
        name: &'a str,
        /// The account on this machine that ran the command.
        by: &'a str,
    },
    /// A command on this machine created a new key that signs tokens.
    TokenKeyRotated {
        /// The id of the key.
        key: &'a str,
        /// The account on this machine that ran the command.
        by: &'a str,
    },
    /// The server refused a connection to its admin socket by another account of this machine.
    AdminConnectionRefused {
        /// The user id of the peer.
        uid: u32,
        /// The process id of the peer, if the kernel reports it.
        pid: Option<i32>,
    },
    /// The server loaded changed access rules.
    PolicyChanged {
        /// The new rules, in order.
        rules: Vec<String>,
    },
    /// The server loaded changed workload rules, which map tokens of CI jobs to users.
    WorkloadRulesChanged {
        /// The new rules, in order.
        rules: Vec<String>,
    },
    /// The server uses another certificate.
    CertificateChanged {
        /// The fingerprint of the new certificate.
        fingerprint: &'a str,
    },
    /// The server loaded other authorities for client certificates.
    ClientAuthoritiesChanged {
        /// Whether the server now requests client certificates.
        asks: bool,
    },
}

/// The kind of credential that authenticated a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    /// A password of the users file.
    Password,
    /// An access token, used in place of a password.
    AccessToken,
    /// A refresh token, which a client stores instead of a password.
    RefreshToken,
    /// The token of a CI job.
    Workload,
    /// A client certificate in the TLS handshake.
    ClientCertificate,
}

/// The maximum length in bytes of client-supplied text in a log line; valid names and paths are shorter.
const MAX_EXCERPT_BYTES: usize = 1024;

/// Shortens a text for the log: a long one is cut, and the number of missing bytes is appended.
#[must_use]
pub fn excerpt(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_EXCERPT_BYTES {
        return Cow::Borrowed(text);
    }
    let end = (0..=MAX_EXCERPT_BYTES).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    Cow::Owned(format!("{}…({} bytes more)", &text[..end], text.len() - end))
}

/// Emits an event for the audit log.
pub fn record(event: &AuditEvent<'_>) {
    if !tracing::enabled!(target: TARGET, tracing::Level::INFO) {
        return;
    }
    tracing::info!(target: TARGET, record = to_json(event));
}

fn to_json(event: &AuditEvent<'_>) -> String {
    serde_json::to_string(event).expect("an audit event contains only strings and lists")
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
        let fits = "/".repeat(MAX_EXCERPT_BYTES);
        assert_eq!(excerpt(&fits), fits);
        assert_eq!(excerpt(&"/".repeat(30_000)), format!("{fits}…(28976 bytes more)"));
        let cut_between_characters = excerpt(&"ä".repeat(MAX_EXCERPT_BYTES)).into_owned();
        assert!(cut_between_characters.starts_with(&"ä".repeat(MAX_EXCERPT_BYTES / 2)), "{cut_between_characters}");
        let name = "x".repeat(2000);
        let line = serde_json::to_string(&AuditEvent::SignInRefused { user: &name, reason: "wrong" }).unwrap();
        assert!(line.len() < 1200 && line.contains("(976 bytes more)"), "{line}");
    }
}
