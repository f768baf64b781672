//! Decodes base64 as OpenSSL does: accepts blanks anywhere and padding only at the end, and ignores unused bits.

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{
        DecodePaddingMode,
        general_purpose::{GeneralPurpose, GeneralPurposeConfig},
    },
};

const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// A base64 decoder that receives text line by line.
#[derive(Default)]
pub(super) struct Decoder {
    letters: Vec<u8>,
    is_padded: bool,
}

impl Decoder {
    /// Adds a line; `None` if it contains other characters than base64, or base64 after the padding.
    pub(super) fn push_line(&mut self, text: &[u8]) -> Option<()> {
        for letter in text {
            match letter {
                b' ' | b'\t' | b'\r' | b'\n' => {}
                b'=' => {
                    self.is_padded = true;
                    self.letters.push(*letter);
                }
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' if !self.is_padded => self.letters.push(*letter),
                _ => return None,
            }
        }
        Some(())
    }

    /// Returns the decoded bytes; `None` if characters are missing, or the padding is too long.
    pub(super) fn finish(self) -> Option<Vec<u8>> {
        ENGINE.decode(&self.letters).ok()
    }
}
