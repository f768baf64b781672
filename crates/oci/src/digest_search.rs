//! Finds every digest in a document, whatever the format of the document and the name of the field.
//!
//! Garbage collection must not depend on which formats this program understands: future formats may reference content
//! in unknown fields. So the text is searched, not parsed. Each run of exactly as many hexadecimal digits as a hash has
//! counts as a digest, with or without `sha256:` before it (in-toto writes the algorithm as a key), in upper or lower
//! case. The search covers the text as it is, the text with its JSON escapes decoded (`\u0061` is an `a`), and, because
//! descriptors can embed content (`data`), everything that decodes as base64, with or without line breaks.
//!
//! Rejected alternative: a JSON parser. It refuses documents that other parsers accept (lone surrogates, duplicate
//! keys), and no digest would be found in a refused document.
//!
//! Invariant: the search finds every text that any JSON reader could take for a digest; a false match only costs disk
//! space.

use std::{borrow::Cow, collections::HashSet};

use base64::{
    Engine as _,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::digest::{Algorithm, Digest};

/// The minimum length of a base64 text that can contain the hexadecimal digits of a SHA-256 hash.
const MIN_BASE64_LEN: usize = 86;

const LENIENT_CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);

const BASE64: [GeneralPurpose; 2] =
    [GeneralPurpose::new(&STANDARD, LENIENT_CONFIG), GeneralPurpose::new(&URL_SAFE, LENIENT_CONFIG)];

/// All digests in `document`, in any field, key or embedded document.
#[must_use]
pub fn find_digests(document: &[u8]) -> HashSet<Digest> {
    let mut search = DigestSearch::default();
    search.search_text(document);
    // The parts before and after a line break are also decoded separately, because the part before it may be base64 by
    // itself.
    let plain = unescaped(document);
    if plain.iter().copied().any(is_line_break) {
        search.search_base64(&plain);
    }
    search.found
}

#[derive(Default)]
struct DigestSearch {
    found: HashSet<Digest>,
    /// The number of bytes that were searched.
    searched: usize,
}

impl DigestSearch {
    /// Searches a text and the content embedded in it. Each piece is decoded in one way only, and decoding shortens it
    /// by a quarter, so the total work is a few times the length of the text, however deep content is nested.
    fn search_text(&mut self, text: &[u8]) {
        self.searched += text.len();
        add_hashes(text, &mut self.found);
        let plain = unescaped(text);
        if let Cow::Owned(plain) = &plain {
            add_hashes(plain, &mut self.found);
        }
        if plain.iter().copied().any(is_line_break) {
            // Go's base64 decoder ignores line breaks.
            let joined: Vec<u8> = plain.iter().copied().filter(|byte| !is_line_break(*byte)).collect();
            self.search_base64(&joined);
        } else {
            self.search_base64(&plain);
        }
    }

    fn search_base64(&mut self, plain: &[u8]) {
        for run in runs(plain, is_base64).filter(|run| run.len() >= MIN_BASE64_LEN) {
            let is_for_urls = run.iter().any(|byte| b"-_".contains(byte));
            if let Ok(content) = BASE64[usize::from(is_for_urls)].decode(run) {
                self.search_text(&content);
            }
        }
    }
}

fn is_line_break(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

/// Adds the runs of hexadecimal digits that are as long as a hash.
fn add_hashes(text: &[u8], found: &mut HashSet<Digest>) {
    for run in runs(text, |byte| byte.is_ascii_hexdigit()) {
        let algorithm = Algorithm::ALL.into_iter().find(|algorithm| run.len() == 2 * algorithm.size());
        let hex = str::from_utf8(run).map(str::to_ascii_lowercase).ok();
        found.extend(
            algorithm.zip(hex).and_then(|(algorithm, hex)| format!("{algorithm}:{hex}").parse::<Digest>().ok()),
        );
    }
}

/// Whether the byte belongs to one of the two base64 alphabets. Padding ends a run and is not needed for decoding.
fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte)
}

/// The maximal runs of bytes in a text for which `kind` is true.
fn runs(text: &[u8], kind: impl Fn(u8) -> bool) -> impl Iterator<Item = &[u8]> {
    text.split(move |byte| !kind(*byte)).filter(|run| !run.is_empty())
}

/// Decodes the JSON escapes (RFC 8259, section 7) of ASCII characters in a text. All other escapes become a space, so
/// that the letters of `\b` and `\f` are not taken for hexadecimal digits.
fn unescaped(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'\\' {
            plain.push(*byte);
            continue;
        }
        match rest.split_first() {
            Some((b'u', digits)) => {
                let code = digits.get(..4).and_then(|code| u32::from_str_radix(str::from_utf8(code).ok()?, 16).ok());
                let ascii = code.and_then(|code| u8::try_from(code).ok()).filter(u8::is_ascii);
                plain.push(ascii.unwrap_or(b' '));
                rest = if code.is_some() { &digits[4..] } else { digits };
            }
            Some((escaped, after)) => {
                plain.push(match escaped {
                    b'"' | b'\\' | b'/' => *escaped,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    _ => b' ',
                });
                rest = after;
            }
            None => {}
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn digest(name: &str) -> Digest {
        Digest::compute(Algorithm::Sha256, name.as_bytes())
    }

    /// Writes every character of a text as a JSON escape.
    fn escape_all(text: &str) -> String {
        text.chars().fold(String::new(), |escaped, char| format!("{escaped}\\u{:04x}", u32::from(char)))
    }

    fn names(document: impl AsRef<[u8]>, digest: &Digest) -> bool {
        find_digests(document.as_ref()).contains(digest)
    }

    #[test]
    fn a_digest_is_found_in_any_field_key_and_text() {
        let sought = [digest("layer"), Digest::compute(Algorithm::Sha512, b"layer")];
        for sought in sought {
            let (hex, algorithm) = (sought.hex(), sought.algorithm());
            for document in [
                json!({"manifests": [{"digest": sought}]}).to_string(),
                json!({"a field of tomorrow": {"deep": [[sought]]}}).to_string(),
                json!({sought.to_string(): null}).to_string(),
                json!({"digest": {algorithm.as_str(): hex}}).to_string(),
                json!({"tag": format!("{algorithm}-{hex}.sig")}).to_string(),
                json!({"url": format!("https://r.example/v2/a/blobs/{sought}?x=y")}).to_string(),
                json!({"upper": sought.to_string().to_uppercase()}).to_string(),
                format!("layers:\n  - {sought}\n"),
                format!("{{broken: {hex}"),
            ] {
                assert!(names(&document, &sought), "{document}");
            }
        }
    }

    #[test]
    fn a_digest_is_found_behind_escapes() {
        let sought = digest("layer");
        let escaped = escape_all(&sought.to_string());
        let partly = sought.to_string().replace(':', "\\u003a").replacen('a', "\\u0061", 1);
        let behind = |escape: &str| format!("{escape}{}", sought.hex());
        for text in
            [escaped, partly, behind("\\b"), behind("\\f"), behind("\\\\"), behind("\\ud800"), behind("\\u00e9")]
        {
            let document = format!(r#"{{"digest":"{text}"}}"#);
            assert!(names(&document, &sought), "{document}");
        }
    }

    #[test]
    fn a_digest_is_found_in_embedded_content_however_deep() {
        let sought = digest("layer");
        let inner = json!({"layers": [{"digest": sought}]}).to_string();
        let once = json!({"manifests": [{"data": BASE64_STANDARD.encode(&inner)}]}).to_string();
        let twice = json!({"payload": BASE64_URL_SAFE_NO_PAD.encode(&once)}).to_string();
        let hash_alone = json!({"data": BASE64_STANDARD.encode(sought.hex())}).to_string().replace('/', "\\/");
        for document in [&once, &twice, &hash_alone] {
            assert!(names(document, &sought), "{document}");
        }
    }

    #[test]
    fn base64_with_line_breaks_is_read_as_gos_decoder_reads_it() {
        let sought = digest("layer");
        let inner = json!({"layers": [{"digest": sought}], "padding": "x".repeat(100)}).to_string();
        let lines: Vec<String> = BASE64_STANDARD
            .encode(inner)
            .into_bytes()
            .chunks(76)
            .map(|line| String::from_utf8_lossy(line).into())
            .collect();
        for line_break in ["\n", "\r\n"] {
            let document = json!({"payload": lines.join(line_break) + line_break}).to_string();
            assert!(names(&document, &sought), "{document}");
        }
    }

    #[test]
    fn content_embedded_in_itself_however_deep_costs_a_few_times_its_length() {
        let sought = digest("layer");
        let mut text = format!("layer {}", sought.hex());
        for _ in 0..30 {
            text = BASE64_STANDARD.encode(format!("{text}\n")).replace(['+', '/', '='], "");
        }
        let document = json!({"nested": text}).to_string();
        let mut search = DigestSearch::default();
        search.search_text(document.as_bytes());
        assert!(search.searched < 5 * document.len(), "{} of {}", search.searched, document.len());
    }

    #[test]
    fn what_is_longer_or_shorter_than_a_hash_is_no_digest() {
        let hex = digest("layer").hex();
        for text in [format!("{hex}0"), hex[1..].to_owned(), hex.replace('a', "g")] {
            assert!(find_digests(text.as_bytes()).is_empty(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_search_panic(document: Vec<u8>) {
            let _ = find_digests(&document);
        }

        #[test]
        fn a_digest_is_found_between_any_bytes_that_are_no_digits(
            before in any::<Vec<u8>>(),
            after in any::<Vec<u8>>(),
        ) {
            let sought = digest("layer");
            let apart = |byte: &u8| *byte == b'"';
            let mut document: Vec<u8> = before.into_iter().filter(|byte| !apart(byte)).collect();
            document.push(b'"');
            document.extend(sought.to_string().bytes());
            document.push(b'"');
            document.extend(after);
            prop_assert!(names(&document, &sought));
        }
    }
}
