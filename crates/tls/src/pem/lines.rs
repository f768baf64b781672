//! Splits a file into lines as OpenSSL does: `BIO_gets` with a buffer of 255 bytes, trailing blanks removed.

use super::damage::PemDamage;

/// Maximum number of bytes per piece; a longer line is returned in several pieces.
const MAX_PIECE_LEN: usize = 254;

/// Byte order mark of UTF-8.
const BYTE_ORDER_MARK: &[u8] = &[0xef, 0xbb, 0xbf];

/// A line, or a part of a long one.
#[derive(Clone, Copy)]
pub(super) struct LinePiece<'a> {
    /// Line number, counted from 1.
    pub(super) line: usize,
    /// Bytes including the newline.
    pub(super) bytes: &'a [u8],
}

impl<'a> LinePiece<'a> {
    /// Whether the line continues in the next piece.
    pub(super) fn is_partial(&self) -> bool {
        self.bytes.len() == MAX_PIECE_LEN && !self.bytes.ends_with(b"\n")
    }

    /// Returns the damage if the line contains a NUL byte, which C programs treat as the end of the line or file.
    pub(super) fn damage(&self) -> Option<PemDamage> {
        let reason = "there is a NUL byte in this line: the file is not text in ASCII or UTF-8";
        self.bytes.contains(&0).then(|| PemDamage::new(self.line, reason))
    }

    /// Returns the bytes without what OpenSSL treats as trailing blanks: control characters and, where `char` is
    /// signed, bytes that are not ASCII.
    pub(super) fn text(&self) -> &'a [u8] {
        let is_blank = |byte: &u8| *byte <= b' ' || *byte >= 0x80;
        let end = self.bytes.iter().rposition(|byte| !is_blank(byte)).map_or(0, |last| last + 1);
        &self.bytes[..end]
    }

    /// Returns the text as [`text`](Self::text) does, and without a leading byte order mark.
    pub(super) fn without_byte_order_mark(&self) -> &'a [u8] {
        let bytes = self.bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(self.bytes);
        LinePiece { line: self.line, bytes }.text()
    }
}

/// Iterator over the lines of a file, in pieces.
pub(super) struct LineReader<'a> {
    rest: &'a [u8],
    line: usize,
}

impl<'a> LineReader<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { rest: text, line: 1 }
    }
}

impl<'a> Iterator for LineReader<'a> {
    type Item = LinePiece<'a>;

    fn next(&mut self) -> Option<LinePiece<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let whole = self.rest.iter().position(|byte| *byte == b'\n').map_or(self.rest.len(), |newline| newline + 1);
        let (bytes, rest) = self.rest.split_at(whole.min(MAX_PIECE_LEN));
        let line = self.line;
        self.line += usize::from(bytes.ends_with(b"\n"));
        self.rest = rest;
        Some(LinePiece { line, bytes })
    }
}
