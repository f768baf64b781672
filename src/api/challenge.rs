//! The challenge: telling a client how to sign in.
//!
//! Invariant: a parameter without a value is left out, because Docker stops reading at an empty one.

use std::fmt::{Display, Write as _};

use http::header;

use super::{
    error::{ApiError, Code},
    realm::Target,
    state::Api,
};
use crate::{access::Scope, auth::ChallengeScheme};

/// Why a challenge is sent.
#[derive(Clone, Copy)]
pub(super) enum Reason {
    /// No credentials came.
    Missing,
    /// A password that is wrong.
    WrongPassword,
    /// A token that does not hold: `invalid_token` makes containerd fetch another.
    InvalidToken,
    /// A token that does not reach so far.
    InsufficientScope,
}

impl Reason {
    fn error(self) -> Option<&'static str> {
        match self {
            Self::Missing | Self::WrongPassword => None,
            Self::InvalidToken => Some("invalid_token"),
            Self::InsufficientScope => Some("insufficient_scope"),
        }
    }
}

/// 401, with the challenge that would lead to the right credentials: those of a token for all of `scopes`.
pub(super) fn challenge(
    api: &Api,
    target: Target<'_>,
    reason: Reason,
    scopes: &[Scope],
    message: impl Display,
) -> ApiError {
    let parts = api.parts();
    let value = match parts.challenge {
        ChallengeScheme::Basic => basic(),
        ChallengeScheme::Bearer => {
            let realm = parts.realm.load().url(target);
            bearer(&realm, api.authenticator().service(), scopes, reason.error())
        }
    };
    ApiError::new(Code::Unauthorized, message).with_header(header::WWW_AUTHENTICATE, &value)
}

/// The challenge of the token endpoint itself, which takes passwords only.
pub(super) fn basic() -> String {
    r#"Basic realm="portcullis", charset="UTF-8""#.to_owned()
}

fn bearer(realm: &str, service: &str, scopes: &[Scope], error: Option<&str>) -> String {
    let mut value = format!(r#"Bearer realm="{realm}",service="{}""#, quoted(service));
    // Writing to a String cannot fail.
    if let Some((first, others)) = scopes.split_first() {
        let _ = write!(value, r#",scope="{first}"#);
        let _ = others.iter().try_for_each(|scope| write!(value, " {scope}"));
        value.push('"');
    }
    if let Some(error) = error {
        let _ = write!(value, r#",error="{error}""#);
    }
    value
}

/// The service is the administrator's text; the others are made of tokens that need no escape.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_leaves_out_what_is_empty() {
        let realm = "https://a/token";
        assert_eq!(bearer(realm, "a", &[], None), r#"Bearer realm="https://a/token",service="a""#);
        assert_eq!(
            bearer(realm, "a\"b", &[Scope::Catalog], Some("invalid_token")),
            r#"Bearer realm="https://a/token",service="a\"b",scope="registry:catalog:*",error="invalid_token""#
        );
    }

    #[test]
    fn several_scopes_are_one_parameter_with_spaces() {
        let scopes = Scope::parse_all(["repository:a:pull,push repository:b:pull"]);
        assert_eq!(
            bearer("https://a/token", "a", &scopes, Some("insufficient_scope")),
            "Bearer realm=\"https://a/token\",service=\"a\",scope=\"repository:a:pull,push repository:b:pull\",\
             error=\"insufficient_scope\""
        );
    }
}
