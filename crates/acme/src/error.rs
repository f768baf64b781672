//! Errors of ACME orders, with a hint for each.
//!
//! Invariant: text from a directory is shortened and stripped of control characters before it is logged.

use std::{io, path::PathBuf};

use instant_acme::Error;

use portcullis_text::{error_chain, single_line};
use portcullis_tls::{
    SourceError,
    acme::{Challenge, ChallengeError, GenerateError, HmacKeyError, RequestError},
};

/// Why an order failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum OrderError {
    /// The directory cannot be reached, or answered with an error.
    #[error("{}", to_log_line(&error_chain(.0)))]
    Directory(#[from] Error),
    /// The directory rejected a new account that is bound to an external account.
    #[error("{}", error_chain(.0))]
    BoundAccount(Error),
    /// The HMAC key of the external account cannot be read.
    #[error(transparent)]
    HmacKey(#[from] HmacKeyError),
    /// The file of the authorities that sign the directory's certificate cannot be read.
    #[error(transparent)]
    Authorities(#[from] SourceError),
    /// The TLS library rejected its configuration, or an authority.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The folder cannot be written, or the account file cannot be read.
    #[error("{}: {}", .0.display(), .1)]
    Storage(PathBuf, io::Error),
    /// The account file has another content: its path, and the parser's error.
    #[error("{}: not an ACME account: {}", .0.display(), .1)]
    Account(PathBuf, String),
    /// The directory does not offer this challenge type.
    #[error("the directory does not offer {}", .0.as_str())]
    NotOffered(Challenge),
    /// An authorization has a status, or an identifier, with which it can never become valid.
    #[error("the directory's authorization is {0}")]
    Authorization(String),
    /// The challenge response cannot be prepared.
    #[error(transparent)]
    Proof(#[from] ChallengeError),
    /// The directory checked the challenge responses and rejected them.
    #[error("the directory could not validate the names: {0}")]
    ValidationFailed(String),
    /// The certificate signing request could not be generated.
    #[error("the certificate signing request could not be generated: {0}")]
    SigningRequest(#[from] GenerateError),
    /// The issued certificate does not match the request.
    #[error(transparent)]
    InvalidCertificate(#[from] RequestError),
    /// The order is valid, but has no certificate.
    #[error("the order is valid, but the directory sent no certificate")]
    NoCertificate,
    /// The renewal information is a window that ends before it starts.
    #[error("the directory's renewal information is an empty window")]
    RenewalWindow,
    /// The order did not end within its time limit.
    #[error("the order timed out")]
    TimedOut,
    /// A response of the directory made the ACME library panic.
    #[error("a response of the directory made the ACME library panic")]
    Panic,
}

impl OrderError {
    fn problem(&self) -> Option<&str> {
        let (Self::Directory(Error::Api(problem)) | Self::BoundAccount(Error::Api(problem))) = self else {
            return None;
        };
        problem.r#type.as_deref()?.strip_prefix("urn:ietf:params:acme:error:")
    }

    /// Whether the directory reports that a rate limit was exceeded.
    pub(super) fn is_rate_limit(&self) -> bool {
        self.problem() == Some("rateLimited")
    }

    /// Whether the failure is of this machine alone: the directory created no order, so nothing counts against its rate
    /// limits.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::HmacKey(_) | Self::Authorities(_) | Self::Tls(_) | Self::Storage(..) | Self::Account(..) => true,
            Self::Directory(_)
            | Self::BoundAccount(_)
            | Self::NotOffered(_)
            | Self::Authorization(_)
            | Self::Proof(_)
            | Self::ValidationFailed(_)
            | Self::SigningRequest(_)
            | Self::InvalidCertificate(_)
            | Self::NoCertificate
            | Self::RenewalWindow
            | Self::TimedOut
            | Self::Panic => false,
        }
    }

    /// Whether this challenge type failed, so that another type may succeed.
    pub(super) fn is_challenge_failure(&self) -> bool {
        matches!(self, Self::ValidationFailed(_) | Self::NotOffered(_))
    }

    /// Whether the directory rejected a nonce, which it may do at any time (RFC 8555, 6.5).
    pub(super) fn is_bad_nonce(&self) -> bool {
        self.problem() == Some("badNonce")
    }

    /// Whether the account no longer exists at the directory.
    pub(super) fn is_unknown_account(&self) -> bool {
        self.problem() == Some("accountDoesNotExist")
    }

    /// What the operator can do about the error.
    pub(super) fn hint(&self) -> String {
        let hint = match self {
            Self::Authorities(error) | Self::InvalidCertificate(RequestError::Unfit(error)) => return error.hint(),
            Self::HmacKey(error) => return error.hint(),
            Self::Directory(Error::Api(_)) | Self::BoundAccount(_) => match self.problem() {
                Some("rateLimited") => {
                    "the directory limits the rate of orders; wait, and use its staging directory for experiments"
                }
                Some("rejectedIdentifier") => "the directory does not certify one of these names; check hostnames",
                Some("externalAccountRequired") => {
                    "it requires external account binding: set tls.acme.eab.key_id and tls.acme.eab.hmac_key_file"
                }
                Some("invalidContact" | "unsupportedContact") => "check tls.acme.contact",
                Some(_) | None if matches!(self, Self::BoundAccount(_)) => {
                    "check tls.acme.eab.key_id and the key in tls.acme.eab.hmac_key_file, and that the authority accepts them still"
                }
                Some(_) | None => "see the directory's message",
            },
            Self::Directory(_) | Self::TimedOut => {
                "is tls.acme.directory right and reachable from here, and its certificate from a public authority or from tls.acme.ca?"
            }
            Self::Storage(..) => "let the server's user write there, or name another folder with tls.acme.folder",
            Self::Account(..) => "restore the file, or remove it to have a new account created",
            Self::NotOffered(_) => "choose another challenge with tls.acme.challenge",
            Self::ValidationFailed(_) => {
                "do the names resolve to this server from the internet, and is its port 443 (tls-alpn-01) or 80 (http-01, with redirect) reachable there?"
            }
            Self::Tls(_)
            | Self::SigningRequest(_)
            | Self::Proof(_)
            | Self::InvalidCertificate(_)
            | Self::Authorization(_)
            | Self::NoCertificate
            | Self::RenewalWindow
            | Self::Panic => "see the directory's message; the order is retried",
        };
        hint.to_owned()
    }
}

/// Text from the directory as one log line, at most 600 characters long.
pub(super) fn to_log_line(text: &str) -> String {
    const MAX_CHARS: usize = 600;
    single_line(text, MAX_CHARS)
}
