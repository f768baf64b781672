//! Recognises a JSON Web Token in a password and parses it without verifying it.
//!
//! Invariant: parsing takes one pass over a bounded text. The unverified content only selects the issuer whose keys
//! verify the signature.

use serde::Deserialize;

use crate::compact_jwt::{CompactJwt, JoseHeader};

/// The longest accepted token in bytes; those of CI systems have one or two kilobytes.
pub const MAX_TOKEN_LEN: usize = 16 << 10;

/// An unverified JSON Web Token that names an algorithm and an issuer.
pub(super) struct UnverifiedJwt<'a> {
    /// The whole token.
    pub(super) text: &'a str,
    /// The `iss` claim.
    pub(super) issuer: String,
    /// The JOSE header.
    pub(super) header: JoseHeader,
    /// The parts of the token.
    pub(super) parts: CompactJwt<'a>,
}

#[derive(Deserialize)]
struct Payload {
    iss: String,
}

impl<'a> UnverifiedJwt<'a> {
    /// Parses a password. `None` if it does not have the form of such a token: then it is an ordinary password.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        if text.len() > MAX_TOKEN_LEN {
            return None;
        }
        let parts = CompactJwt::split(text).ok()?;
        let header = parts.header()?;
        let Payload { iss: issuer } = parts.payload()?;
        Some(Self { text, issuer, header, parts })
    }
}

/// Whether a text over [`MAX_TOKEN_LEN`] bytes has the characters of a token. No password is that long.
pub(super) fn is_oversized(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.len() > MAX_TOKEN_LEN && text.starts_with("eyJ") && text.bytes().all(letter)
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
    use proptest::prelude::*;

    use super::*;

    fn token(header: &str, payload: &str, signature: &str) -> String {
        let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{signature}", encode(header), encode(payload))
    }

    #[test]
    fn a_token_is_recognised_by_its_three_parts_an_algorithm_and_an_issuer() {
        let text = token(r#"{"alg":"RS256","kid":"1"}"#, r#"{"iss":"https://i"}"#, "c2ln");
        let read = UnverifiedJwt::parse(&text).unwrap();
        assert_eq!(
            (read.issuer.as_str(), read.header.algorithm.as_str(), read.header.key_id.as_deref()),
            ("https://i", "RS256", Some("1"))
        );
        assert_eq!(
            (format!("{}.{}", read.parts.message, read.parts.signature), read.header.critical_extensions.is_some()),
            (text.clone(), false)
        );
        // Without a signature it still has the form of a token, so it is rejected as one.
        assert!(UnverifiedJwt::parse(&token(r#"{"alg":"none"}"#, r#"{"iss":"https://i"}"#, "")).is_some());
        assert!(
            UnverifiedJwt::parse(&token(r#"{"alg":"RS256","crit":[]}"#, r#"{"iss":"i"}"#, ""))
                .unwrap()
                .header
                .critical_extensions
                .is_some()
        );
    }

    #[test]
    fn everything_else_is_a_password() {
        for text in [
            "correct horse battery staple",
            "a.b.c",
            "..",
            "",
            &token("{}", r#"{"iss":"i"}"#, "x"),
            &token(r#"{"alg":"RS256"}"#, "{}", "x"),
            &token(r#"{"alg":"RS256"}"#, r#"{"iss":["i"]}"#, "x"),
            &token(r#"{"alg":"RS256"}"#, "[]", "x"),
            &format!("{}.x", token(r#"{"alg":"RS256"}"#, r#"{"iss":"i"}"#, "x")),
            &format!(" {}", token(r#"{"alg":"RS256"}"#, r#"{"iss":"i"}"#, "x")),
        ] {
            assert!(UnverifiedJwt::parse(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn a_token_that_is_too_large_is_not_even_decoded() {
        let large = token(r#"{"alg":"RS256"}"#, &format!(r#"{{"iss":"i","x":"{}"}}"#, "x".repeat(MAX_TOKEN_LEN)), "x");
        assert!(UnverifiedJwt::parse(&large).is_none() && is_oversized(&large));
        assert!(!is_oversized(&"x".repeat(MAX_TOKEN_LEN + 1)) && !is_oversized("eyJ.x.y"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,80}", header in ".{0,40}", payload in ".{0,40}") {
            let _ = UnverifiedJwt::parse(&text);
            let _ = UnverifiedJwt::parse(&token(&header, &payload, &text));
        }
    }
}
