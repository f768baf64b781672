//! Encodes and checks the text of crypt(3) hashes: their base64, and their salts.

/// The base64 alphabet of crypt(3): the position of a letter is its six-bit value.
const CRYPT_ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Whether a text is a salt of at most `max_len` bytes that crypt(3) accepts (libxcrypt excludes the characters that
/// have a meaning in `/etc/shadow`).
pub(super) fn is_salt(text: &str, max_len: usize) -> bool {
    text.len() <= max_len && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"$:;*!\\".contains(&byte))
}

/// Encodes in the base64 of crypt(3): of every three bytes the last one first, six bits at a time from the lowest on.
pub(super) fn encode_crypt_base64(groups: impl Iterator<Item = [u8; 3]>, rest: &[u8]) -> String {
    let letters = |bytes: &[u8]| {
        let bits = bytes.iter().fold(0, |bits, byte| bits << 8 | usize::from(*byte));
        let count = (bytes.len() * 8).div_ceil(6);
        (0..count).map(move |position| char::from(CRYPT_ALPHABET[bits >> (6 * position) & 63]))
    };
    groups.flat_map(|group| letters(&group)).chain(letters(rest)).collect()
}

/// Whether a text is base64 of crypt(3) whose last letter has a value below `last` (the unused bits must be zero).
pub(super) fn is_crypt_base64(text: &str, last: usize) -> bool {
    let value = |byte: u8| CRYPT_ALPHABET.iter().position(|letter| *letter == byte);
    text.bytes().all(|byte| value(byte).is_some())
        && text.bytes().last().and_then(value).is_some_and(|value| value < last)
}
