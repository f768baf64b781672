//! Tells text between blocks, which is a comment, from text that was meant to be a block.
//!
//! Invariant: only bytes that cannot be mistaken are called damage. A line of dashes, the attributes that `openssl
//! pkcs12` writes and the text of `openssl x509 -text` are comments.

/// A line of base64 in PEM has 64 or 76 characters; fingerprints in base64 are shorter.
const MIN_BASE64_LEN: usize = 60;

/// Why a line outside of blocks is no comment.
pub(super) fn examine(text: &[u8]) -> Option<&'static str> {
    if is_boundary(text) {
        return Some(
            "this looks like the boundary of a block and is none; a boundary is a line of its own, without blanks in front",
        );
    }
    is_base64(text).then_some("there is base64 without a -----BEGIN line before it")
}

/// A boundary that was indented, commented out, cut or misspelt.
fn is_boundary(text: &[u8]) -> bool {
    let upper = text.to_ascii_uppercase();
    let has = |text: &[u8], needle: &[u8]| text.windows(needle.len()).any(|window| window == needle);
    // In lower case these words are part of comments, as in "--end of chain".
    if [&b"--BEGIN"[..], b"--END ", b"CERTIFICATE--"].iter().any(|needle| has(text, needle))
        || [&b"--BEGIN CERT"[..], b"--END CERT"].iter().any(|needle| has(&upper, needle))
    {
        return true;
    }
    // Word processors make other dashes of "--".
    let is_letter = |byte: &u8| byte.is_ascii_alphabetic();
    let (first, last) = (upper.iter().position(is_letter), upper.iter().rposition(is_letter));
    let words = first.zip(last).map_or(&[][..], |(first, last)| &upper[first..=last]);
    words.len() < upper.len() && [&b"BEGIN CERTIFICATE"[..], b"END CERTIFICATE"].contains(&words)
}

fn is_base64(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    text.len() >= MIN_BASE64_LEN
        && text.iter().all(is_digit)
        // Not a fingerprint in hexadecimal, and not a line of "====".
        && text.iter().any(u8::is_ascii_lowercase)
        && text.iter().any(u8::is_ascii_uppercase)
}
