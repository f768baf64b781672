//! Byte ranges: of a blob download (`Range`) and of an upload chunk (`Content-Range`).
//!
//! Invariant: a resolved [`Selection`] is within the content; a [`ChunkRange`] is not empty and does not overflow.

use std::{fmt, ops::Range, str::FromStr};

/// A `Range` header of one range in bytes (RFC 9110 section 14.1.2), before the size of the content is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// `bytes=first-last`, or `bytes=first-`.
    From {
        /// The offset of the first byte.
        first: u64,
        /// The offset of the last byte, inclusive; `None` for the end of the content.
        last: Option<u64>,
    },
    /// `bytes=-length`: the last `length` bytes.
    Suffix {
        /// The number of bytes.
        length: u64,
    },
    /// `bytes=` with an invalid range.
    Malformed,
}

/// The part of the content to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// The whole content; the status is 200.
    Whole,
    /// A part of the content; the status is 206.
    Part(Range<u64>),
    /// No byte of the content is in the range; the status is 416.
    Unsatisfiable,
}

impl ByteRange {
    /// Parses a `Range` header. `None` if the header has another unit or several ranges; RFC 9110 lets a server ignore
    /// such a header.
    #[must_use]
    pub fn from_header(text: &str) -> Option<Self> {
        let spec = text.trim().strip_prefix("bytes=")?.trim();
        if spec.contains(',') {
            return None;
        }
        Some(Self::parse(spec).unwrap_or(Self::Malformed))
    }

    fn parse(spec: &str) -> Option<Self> {
        let (first, last) = spec.split_once('-')?;
        match (first, last) {
            ("", length) => Some(Self::Suffix { length: parse_offset(length)? }),
            (first, "") => Some(Self::From { first: parse_offset(first)?, last: None }),
            (first, last) => Some(Self::From { first: parse_offset(first)?, last: Some(parse_offset(last)?) }),
        }
    }

    /// Applies the range to content of `size` bytes. A range that ends before it begins is unsatisfiable (other
    /// registries respond so, and the conformance suite expects it); a range that ends beyond the content is shortened.
    #[must_use]
    pub fn select(self, size: u64) -> Selection {
        let (start, end) = match self {
            Self::From { first, last } => (first, last.map_or(size, |last| size.min(last.saturating_add(1)))),
            Self::Suffix { length } => (size.saturating_sub(length), size),
            Self::Malformed => return Selection::Unsatisfiable,
        };
        if start < end { Selection::Part(start..end) } else { Selection::Unsatisfiable }
    }
}

/// The `Content-Range` of an upload chunk: `start-end`, both inclusive, without a unit (distribution specification,
/// "Pushing a blob in chunks"). The HTTP form `bytes start-end/total` is accepted as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRange {
    start: u64,
    end: u64,
}

impl ChunkRange {
    /// The offset of the first byte.
    #[must_use]
    pub fn start(self) -> u64 {
        self.start
    }

    /// The number of bytes in the chunk.
    #[must_use]
    pub fn length(self) -> u64 {
        self.end - self.start + 1
    }
}

impl FromStr for ChunkRange {
    type Err = InvalidChunkRange;

    fn from_str(text: &str) -> Result<Self, InvalidChunkRange> {
        let spec = text.trim();
        let spec = spec.strip_prefix("bytes").map_or(spec, |rest| rest.trim_start_matches(['=', ' ']));
        let spec = spec.split('/').next().unwrap_or_default();
        let (start, end) = spec.split_once('-').ok_or(InvalidChunkRange)?;
        let (start, end) = (parse_digits(start).ok_or(InvalidChunkRange)?, parse_digits(end).ok_or(InvalidChunkRange)?);
        if start <= end && end < u64::MAX { Ok(Self { start, end }) } else { Err(InvalidChunkRange) }
    }
}

impl fmt::Display for ChunkRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start, self.end)
    }
}

/// Parses a decimal number of digits only; `parse` alone would accept a plus sign.
fn parse_digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Parses an offset into existing content. A number that does not fit becomes `u64::MAX`, which is beyond every end:
/// RFC 9110 requires such a range to be shortened, not refused.
fn parse_offset(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

/// The error for a text that is not the range of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the Content-Range of a chunk must be start-end, both inclusive")]
pub struct InvalidChunkRange;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_of_a_blob_of_2048_bytes() {
        for (header, selection) in [
            ("bytes=500-1499", Selection::Part(500..1500)),
            ("bytes=500-", Selection::Part(500..2048)),
            ("bytes=-500", Selection::Part(1548..2048)),
            ("bytes=-5000", Selection::Part(0..2048)),
            ("bytes=2000-5000", Selection::Part(2000..2048)),
            ("bytes=0-0", Selection::Part(0..1)),
            ("bytes=500-0", Selection::Unsatisfiable),
            ("bytes=5000-10000", Selection::Unsatisfiable),
            ("bytes=2048-", Selection::Unsatisfiable),
            ("bytes=-0", Selection::Unsatisfiable),
            ("bytes=x", Selection::Unsatisfiable),
            ("bytes=+1-2", Selection::Unsatisfiable),
            ("bytes=0-18446744073709551615", Selection::Part(0..2048)),
            ("bytes=0-99999999999999999999", Selection::Part(0..2048)),
            ("bytes=7-00000000000000000000000000009", Selection::Part(7..10)),
            ("bytes=-99999999999999999999", Selection::Part(0..2048)),
            ("bytes=99999999999999999999-", Selection::Unsatisfiable),
            ("bytes=99999999999999999999-99999999999999999999", Selection::Unsatisfiable),
            ("bytes=-", Selection::Unsatisfiable),
        ] {
            assert_eq!(ByteRange::from_header(header).unwrap().select(2048), selection, "{header}");
        }
    }

    #[test]
    fn several_ranges_and_other_units_are_ignored() {
        assert_eq!(ByteRange::from_header("bytes=0-1,3-4"), None);
        assert_eq!(ByteRange::from_header("lines=1-2"), None);
    }

    #[test]
    fn a_chunk_range_has_no_unit_but_may() {
        for text in ["0-9", "bytes 0-9", "bytes=0-9", "bytes 0-9/*"] {
            let range: ChunkRange = text.parse().unwrap();
            assert_eq!((range.start(), range.length()), (0, 10), "{text}");
        }
        for text in ["", "-", "1", "9-0", "a-b", "0-18446744073709551615", "-5", "5-"] {
            assert!(text.parse::<ChunkRange>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_selection_lies_within_the_content(header in "bytes=[0-9]{0,4}-?[0-9]{0,4}", size in 0u64..3000) {
            if let Some(Selection::Part(range)) = ByteRange::from_header(&header).map(|range| range.select(size)) {
                prop_assert!(range.start < range.end && range.end <= size);
            }
        }
    }
}
