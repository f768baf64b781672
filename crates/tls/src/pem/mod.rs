//! Reads PEM blocks as OpenSSL 3 reads them (`PEM_read_bio`), so that every file that nginx loads can be loaded here.
//!
//! OpenSSL ignores all text outside of blocks. This reader examines it: text that looks like a damaged block (a damaged
//! boundary, base64 without a boundary) is returned as [`PemItem::Skipped`] with its line, because otherwise only
//! clients would notice the truncated chain.
//!
//! Invariant: a block that OpenSSL would read only in part (it stops at a `-` in the base64) is an error.

mod base64;
mod damage;
mod lines;
mod outside_text;

pub(super) use damage::PemDamage;
use lines::{LinePiece, LineReader};

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";

/// Maximum length of a line, without its newline, after a blank line within a block.
const MAX_LINE_AFTER_HEADER: usize = 64;

/// A PEM block: its label, its header and the decoded bytes.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct PemBlock {
    /// Line of its `-----BEGIN`.
    pub(super) line: usize,
    pub(super) label: String,
    /// Empty, except if a key is encrypted in OpenSSL's older format.
    pub(super) header: String,
    pub(super) data: Vec<u8>,
}

/// A part of a PEM file.
pub(super) enum PemItem {
    Block(PemBlock),
    /// Text outside of blocks that looks like a damaged block.
    Skipped(PemDamage),
}

/// Iterates over the blocks of a file, up to the first damaged one.
pub(super) struct PemReader<'a> {
    lines: LineReader<'a>,
    /// Whether a byte order mark is ignored at this position: at the start of the file, and after a block.
    is_first: bool,
    is_damaged: bool,
}

impl<'a> PemReader<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { lines: LineReader::new(text), is_first: true, is_damaged: false }
    }
}

impl Iterator for PemReader<'_> {
    type Item = Result<PemItem, PemDamage>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_damaged {
            return None;
        }
        loop {
            let piece = self.lines.next()?;
            if let Some(damage) = piece.damage() {
                self.is_damaged = true;
                return Some(Ok(PemItem::Skipped(damage)));
            }
            let is_first = std::mem::replace(&mut self.is_first, false);
            let text = if is_first { piece.without_byte_order_mark() } else { piece.text() };
            if let Some(label) = begin_label(text) {
                let read = read_block(&mut self.lines, piece.line, label);
                self.is_first = true;
                self.is_damaged = read.is_err();
                return Some(read.map(PemItem::Block));
            }
            if let Some(reason) = outside_text::find_damage(text) {
                return Some(Ok(PemItem::Skipped(PemDamage::new(piece.line, reason))));
            }
        }
    }
}

/// Returns the label of a boundary that begins a block.
fn begin_label(text: &[u8]) -> Option<&[u8]> {
    text.strip_prefix(BEGIN)?.strip_suffix(DASHES)
}

/// Whether the lines read so far belong to the header of a block or to its data; unknown until a colon or a blank line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BlockPart {
    Unknown,
    Header,
    Data,
}

/// Reads the rest of a block whose first line has been read.
fn read_block(lines: &mut LineReader<'_>, line: usize, label: &[u8]) -> Result<PemBlock, PemDamage> {
    let name = String::from_utf8_lossy(label).into_owned();
    let (mut part, mut before, mut after) = (BlockPart::Unknown, Vec::new(), Vec::new());
    let (mut is_partial, mut is_at_end) = (false, false);
    loop {
        let Some(piece) = lines.next() else {
            return Err(PemDamage::new(line, format!("the block has no -----END {name}-----")));
        };
        if let Some(damage) = piece.damage() {
            return Err(damage);
        }
        let follows_partial = std::mem::replace(&mut is_partial, piece.is_partial());
        if part == BlockPart::Unknown && piece.bytes.contains(&b':') {
            part = BlockPart::Header;
        }
        let text = piece.text();
        if text.is_empty() {
            match part {
                _ if follows_partial => {}
                BlockPart::Data => return Err(PemDamage::new(piece.line, "a blank line within the block")),
                BlockPart::Unknown | BlockPart::Header => part = BlockPart::Data,
            }
            continue;
        }
        if let Some(ended) = text.strip_prefix(END) {
            if ended.strip_suffix(DASHES) == Some(label) {
                break;
            }
            let reason = format!("this is not the -----END {name}----- of the block that begins in line {line}");
            return Err(PemDamage::new(piece.line, reason));
        }
        if is_at_end {
            return Err(PemDamage::new(piece.line, "a line of base64 after a shorter one"));
        }
        if part == BlockPart::Data {
            if text.len() > MAX_LINE_AFTER_HEADER {
                return Err(PemDamage::new(
                    piece.line,
                    "a line of more than 64 characters after a blank line in the block",
                ));
            }
            is_at_end = text.len() < MAX_LINE_AFTER_HEADER;
            after.push(piece);
        } else {
            before.push(piece);
        }
    }
    // Without a header, all lines are data.
    let (header, data) = if part == BlockPart::Unknown { (after, before) } else { (before, after) };
    let data = decode(&data, line, &name)?;
    let header = header.iter().map(|piece| String::from_utf8_lossy(piece.text())).collect::<Vec<_>>().join("\n");
    Ok(PemBlock { line, label: name, header, data })
}

fn decode(pieces: &[LinePiece<'_>], line: usize, name: &str) -> Result<Vec<u8>, PemDamage> {
    let mut decoder = base64::Decoder::default();
    for piece in pieces {
        let text = piece.text();
        if text.contains(&b'-') {
            let reason = if text.starts_with(BEGIN) {
                format!("a block begins within the one of line {line}, which has no -----END {name}-----")
            } else {
                "a '-' within the base64 of the block, where OpenSSL stops reading it".to_owned()
            };
            return Err(PemDamage::new(piece.line, reason));
        }
        decoder.push_line(text).ok_or_else(|| PemDamage::new(piece.line, "this is not base64"))?;
    }
    let data = decoder.finish().ok_or_else(|| PemDamage::new(line, "the base64 of this block is not complete"))?;
    if data.is_empty() { Err(PemDamage::new(line, "this block is empty")) } else { Ok(data) }
}

#[cfg(test)]
mod tests;
