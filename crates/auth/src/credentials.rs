//! Parses the `Authorization` header: Basic (RFC 7617) and Bearer (RFC 6750).
//!
//! Invariant: parsed credentials are bounded in size and cannot be printed.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use zeroize::Zeroizing;

use crate::passwords::password::Password;

/// Base64 with optional padding: some clients leave it out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The credentials of a request.
pub enum Credentials {
    /// A user name and a password (RFC 7617).
    Basic {
        /// The name as it was sent. Only the verifier checks it, because invalid names must take as long to reject as
        /// valid ones.
        user: String,
        /// The password as it was sent.
        password: Password,
    },
    /// A bearer token (RFC 6750).
    Bearer(BearerToken),
}

impl Credentials {
    /// Whether these are Basic credentials with an empty name and an empty password.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        match self {
            Self::Basic { user, password } => user.is_empty() && password.expose_bytes().is_empty(),
            Self::Bearer(_) => false,
        }
    }

    /// The maximum length in bytes of a Basic header value; the password may be the token of a CI job.
    pub const MAX_BASIC_LEN: usize = 16 * 1024;

    /// The maximum length in bytes of a Bearer header value; a token with many scopes has some kilobytes.
    pub const MAX_BEARER_LEN: usize = 16 * 1024;

    /// Parses the value of an `Authorization` header. The scheme is case-insensitive.
    pub fn parse(value: &[u8]) -> Result<Self, InvalidCredentials> {
        let value = value.trim_ascii();
        let end = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
        let (scheme, rest) = value.split_at(end);
        let rest = rest.trim_ascii_start();
        if scheme.eq_ignore_ascii_case(b"basic") {
            return check_len(value, Self::MAX_BASIC_LEN).and_then(|()| parse_basic(rest));
        }
        if scheme.eq_ignore_ascii_case(b"bearer") {
            return check_len(value, Self::MAX_BEARER_LEN).and_then(|()| BearerToken::parse(rest)).map(Self::Bearer);
        }
        Err(InvalidCredentials::UnsupportedScheme)
    }
}

fn check_len(value: &[u8], limit: usize) -> Result<(), InvalidCredentials> {
    if value.len() > limit { Err(InvalidCredentials::TooLarge { limit }) } else { Ok(()) }
}

fn parse_basic(encoded: &[u8]) -> Result<Credentials, InvalidCredentials> {
    let decoded = BASE64.decode(encoded).map(Zeroizing::new).map_err(|_| InvalidCredentials::Malformed)?;
    let colon = decoded.iter().position(|byte| *byte == b':').ok_or(InvalidCredentials::Malformed)?;
    let user = str::from_utf8(&decoded[..colon]).map_err(|_| InvalidCredentials::Malformed)?;
    Ok(Credentials::Basic { user: user.to_owned(), password: Password::from_bytes(decoded[colon + 1..].to_vec()) })
}

/// A bearer token as a client sent it, not yet verified.
#[derive(Clone)]
pub struct BearerToken(Zeroizing<String>);

impl BearerToken {
    /// Parses a token of the characters that RFC 6750 allows (`b64token`).
    fn parse(value: &[u8]) -> Result<Self, InvalidCredentials> {
        let letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
        let text = str::from_utf8(value).ok().filter(|text| !text.is_empty() && text.as_bytes().iter().all(letter));
        text.map(|text| Self(Zeroizing::new(text.to_owned()))).ok_or(InvalidCredentials::Malformed)
    }

    /// The text of the token, for verifying it. The method is named so that every use of the secret is easy to find.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Why an `Authorization` header was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCredentials {
    /// Not base64, no colon, a name that is not UTF-8, or characters that no token has.
    #[error("the Authorization header is malformed")]
    Malformed,
    /// The value exceeds [`Credentials::MAX_BASIC_LEN`] or [`Credentials::MAX_BEARER_LEN`].
    #[error("the Authorization header has more than {limit} bytes")]
    TooLarge {
        /// The limit of its scheme in bytes.
        limit: usize,
    },
    /// The scheme is neither Basic nor Bearer.
    #[error("the Authorization header is neither Basic nor Bearer")]
    UnsupportedScheme,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn basic(value: &str) -> Result<(String, String), InvalidCredentials> {
        match Credentials::parse(value.as_bytes())? {
            Credentials::Basic { user, password } => Ok((user, password.expose().to_owned())),
            Credentials::Bearer(_) => panic!("{value} is a token"),
        }
    }

    #[test]
    fn a_name_and_a_password_are_split_at_the_first_colon() {
        let expected = Ok(("alice".to_owned(), "a:b".to_owned()));
        for value in ["Basic YWxpY2U6YTpi", "basic YWxpY2U6YTpi", "BASIC   YWxpY2U6YTpi "] {
            assert_eq!(basic(value), expected, "{value}");
        }
        let padded = Ok(("a".to_owned(), "b".to_owned() + "c"));
        assert_eq!(basic("Basic YTpiYw=="), padded);
        assert_eq!(basic("Basic YTpiYw"), padded);
    }

    #[test]
    fn what_cannot_be_a_name_and_a_password_is_malformed() {
        // In this order: empty, not base64, no colon, not UTF-8, two values.
        for value in ["Basic", "Basic ", "Basic !!", "Basic YWxpY2U=", "Basic /zp4", "Basic YTpi YTpi"] {
            assert_eq!(basic(value), Err(InvalidCredentials::Malformed), "{value}");
        }
    }

    #[test]
    fn a_token_has_only_the_letters_of_tokens() {
        let token = |value: &str| match Credentials::parse(value.as_bytes()) {
            Ok(Credentials::Bearer(token)) => Ok(token.expose().to_owned()),
            Ok(Credentials::Basic { .. }) => panic!("{value} is a password"),
            Err(error) => Err(error),
        };
        assert_eq!(token("bearer ab.c-d_e~="), Ok("ab.c-d_e~=".to_owned()));
        for value in ["Bearer", "Bearer a b", "Bearer a,b", "Bearer é"] {
            assert_eq!(token(value), Err(InvalidCredentials::Malformed), "{value}");
        }
        assert_eq!(token("Negotiate abc"), Err(InvalidCredentials::UnsupportedScheme));
        assert_eq!(token(""), Err(InvalidCredentials::UnsupportedScheme));
    }

    #[test]
    fn headers_that_are_too_large_are_not_decoded() {
        let large = "a".repeat(Credentials::MAX_BASIC_LEN);
        assert_eq!(basic(&format!("Basic {large}")), Err(InvalidCredentials::TooLarge { limit: 16384 }));
        let fitting = "a".repeat(Credentials::MAX_BEARER_LEN / 2);
        assert!(Credentials::parse(format!("Bearer {fitting}").as_bytes()).is_ok());
        let larger = Credentials::parse(format!("Bearer {large}{large}").as_bytes()).err();
        assert_eq!(larger, Some(InvalidCredentials::TooLarge { limit: 16384 }));
    }

    proptest! {
        #[test]
        fn every_name_and_password_arrives_as_it_was_sent(user in "[^:]{0,20}", password in ".{0,40}") {
            let value = format!("Basic {}", BASE64.encode(format!("{user}:{password}")));
            prop_assert_eq!(basic(&value), Ok((user, password)));
        }

        #[test]
        fn no_bytes_make_the_parser_panic(value in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Credentials::parse(&value);
        }
    }
}
