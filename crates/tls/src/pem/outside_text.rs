//! Distinguishes text between PEM blocks that is a comment from text that is a damaged block.
//!
//! Invariant: only unmistakable text counts as damage. A line of dashes, the attributes that `openssl pkcs12` writes
//! and the text of `openssl x509 -text` are comments.

/// Minimum length of a line that counts as base64: PEM lines have 64 or 76 characters; fingerprints in base64 are
/// shorter.
const MIN_BASE64_LEN: usize = 60;

/// Returns why a line outside of blocks is not a comment; `None` if it is one.
pub(super) fn find_damage(text: &[u8]) -> Option<&'static str> {
    if is_boundary(text) {
        return Some(
            "this looks like the boundary of a block but is not; a boundary must be a line of its own, without leading spaces",
        );
    }
    is_base64(text).then_some("there is base64 without a -----BEGIN line before it")
}

/// Whether the line is a boundary that was indented, commented out, truncated or misspelt.
fn is_boundary(text: &[u8]) -> bool {
    let upper = text.to_ascii_uppercase();
    let has = |text: &[u8], needle: &[u8]| text.windows(needle.len()).any(|window| window == needle);
    // In lower case, these words occur in comments, such as "--end of chain".
    if [&b"--BEGIN"[..], b"--END ", b"CERTIFICATE--"].iter().any(|needle| has(text, needle))
        || [&b"--BEGIN CERT"[..], b"--END CERT"].iter().any(|needle| has(&upper, needle))
    {
        return true;
    }
    // Word processors replace "--" by other dashes.
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
        // Excludes fingerprints in hexadecimal, and lines of "====".
        && text.iter().any(u8::is_ascii_lowercase)
        && text.iter().any(u8::is_ascii_uppercase)
}
