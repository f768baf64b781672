//! Why there is no certificate, and what to do about it.
//!
//! Invariant: what a directory said is repeated shortened and without control characters.

use std::{error::Error as _, io, path::PathBuf};

use instant_acme::Error;

use crate::tls::{
    SourceError,
    acme::{Challenge, GenerateError, ProofError, RequestError},
};

/// Why an order came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum OrderError {
    /// The directory cannot be reached, or refuses.
    #[error("{}", words(.0))]
    Directory(#[from] Error),
    /// The authorities of the directory cannot be read.
    #[error(transparent)]
    Authorities(#[from] SourceError),
    /// The TLS library refuses its configuration, or an authority.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The folder cannot be written, or the account not be read.
    #[error("{}: {}", .0.display(), .1)]
    Keep(PathBuf, io::Error),
    /// The account's file holds something else.
    #[error("{}: this is no ACME account: {}", .0.display(), .1)]
    Account(PathBuf, String),
    /// The kind of challenge is not offered.
    #[error("the directory does not offer {}", .0.as_str())]
    NotOffered(Challenge),
    /// An authorization that can come to nothing.
    #[error("the directory's authorization is {0}")]
    Authorization(String),
    /// The challenge cannot be answered.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The directory looked, and did not find what it wanted.
    #[error("the directory could not validate the names: {0}")]
    Refused(String),
    /// The request could not be made.
    #[error("the request could not be made: {0}")]
    Generate(#[from] GenerateError),
    /// What came back is no certificate for us.
    #[error(transparent)]
    Answer(#[from] RequestError),
    /// An order that is done without a certificate.
    #[error("the directory says that the certificate is there, and does not send it")]
    NoCertificate,
    /// It did not end.
    #[error("the order took too long")]
    TooLong,
    /// The directory's answer made the library panic.
    #[error("the directory's answer makes no sense")]
    Panic,
}

impl OrderError {
    fn problem(&self) -> Option<&str> {
        let Self::Directory(Error::Api(problem)) = self else { return None };
        problem.r#type.as_deref()?.strip_prefix("urn:ietf:params:acme:error:")
    }

    /// Whether the directory says that it was asked too often.
    pub(super) fn is_rate_limit(&self) -> bool {
        self.problem() == Some("rateLimited")
    }

    /// Whether this way to prove the names does not work, so that another one may.
    pub(super) fn is_of_this_way(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::NotOffered(_))
    }

    /// Whether a nonce was refused, which directories may do at any time.
    pub(super) fn is_bad_nonce(&self) -> bool {
        self.problem() == Some("badNonce")
    }

    /// Whether the account is gone.
    pub(super) fn is_unknown_account(&self) -> bool {
        self.problem() == Some("accountDoesNotExist")
    }

    /// What to do about it.
    pub(super) fn hint(&self) -> String {
        let hint = match self {
            Self::Authorities(error) | Self::Answer(RequestError::Unfit(error)) => return error.hint(),
            Self::Directory(Error::Api(_)) => match self.problem() {
                Some("rateLimited") => {
                    "the directory counts orders; wait, and use its staging directory for experiments"
                }
                Some("rejectedIdentifier") => "the directory does not certify one of these names; look at hostnames",
                Some("externalAccountRequired") => "this directory wants an external account, which is not supported",
                Some("invalidContact" | "unsupportedContact") => "look at tls.acme.contact",
                Some(_) | None => "see what the directory says",
            },
            Self::Directory(_) | Self::TooLong => {
                "is tls.acme.directory right and reachable from here, and its certificate from a public authority or from tls.acme.ca?"
            }
            Self::Keep(..) => "let the user who runs this write there, or name another folder with tls.acme.folder",
            Self::Account(..) => "put the file back, or remove it to have another account opened",
            Self::NotOffered(_) => "choose another way with tls.acme.challenge",
            Self::Refused(_) => {
                "do the names lead here from the internet, and is port 443 (tls-alpn-01) or 80 (http-01, with redirect) of this server what is reached there?"
            }
            Self::Tls(_)
            | Self::Generate(_)
            | Self::Proof(_)
            | Self::Answer(_)
            | Self::Authorization(_)
            | Self::NoCertificate
            | Self::Panic => "see what the directory says; it is tried again",
        };
        hint.to_owned()
    }
}

/// An error with its causes: a client's own words are only "client error (Connect)".
fn words(error: &Error) -> String {
    let mut words = error.to_string();
    // `Other` is transparent: its own cause is the one below what it holds.
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !words.contains(&text) {
            words = format!("{words}: {text}");
        }
        cause = error.source();
    }
    told(&words)
}

/// What a stranger said, fit for one line of a log.
pub(super) fn told(text: &str) -> String {
    const MOST: usize = 600;
    let mut line: String =
        text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(MOST).collect();
    if text.chars().nth(MOST).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_directory_says_cannot_forge_a_line_of_the_log() {
        assert_eq!(told("a\nb\u{1b}[31mc"), "a b [31mc");
        assert_eq!(told(&"x".repeat(5000)).chars().count(), 601);
    }
}
