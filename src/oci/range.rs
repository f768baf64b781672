//! Byte ranges: the ones a client asks a blob for, and the ones it announces for a chunk of an upload.
//!
//! Invariant: a resolved [`Selection`] lies within the content; a [`ChunkRange`] is not empty and does not overflow.

use std::{fmt, ops::Range, str::FromStr};

/// A `Range` header of one range in bytes (RFC 9110 section 14.1.2), before the size of the content is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// `bytes=first-last`, or `bytes=first-`.
    From {
        /// The first byte.
        first: u64,
        /// The last byte, included.
        last: Option<u64>,
    },
    /// `bytes=-length`: the last bytes.
    Suffix {
        /// How many.
        length: u64,
    },
    /// `bytes=` and something that is no range.
    Malformed,
}

/// What part of the content to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All of it: 200.
    Whole,
    /// Some of it: 206.
    Part(Range<u64>),
    /// Nothing of it: 416.
    Unsatisfiable,
}

impl ByteRange {
    /// Reads the header. `None`: the header is of another unit or asks for several ranges, and may be ignored, as RFC 9110
    /// leaves to the server.
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
            ("", length) => Some(Self::Suffix { length: offset(length)? }),
            (first, "") => Some(Self::From { first: offset(first)?, last: None }),
            (first, last) => Some(Self::From { first: offset(first)?, last: Some(offset(last)?) }),
        }
    }

    /// What the range selects of `size` bytes. A range that ends before it begins is unsatisfiable (registries answer so,
    /// and the conformance suite expects it), one that ends late is cut.
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

/// The `Content-Range` of an uploaded chunk: `start-end`, both included, without a unit (distribution specification,
/// "Pushing a blob in chunks"). `bytes start-end/total`, as HTTP writes it, is understood as well.
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

    /// How many bytes there are.
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
        let (start, end) = (number(start).ok_or(InvalidChunkRange)?, number(end).ok_or(InvalidChunkRange)?);
        if start <= end && end < u64::MAX { Ok(Self { start, end }) } else { Err(InvalidChunkRange) }
    }
}

impl fmt::Display for ChunkRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start, self.end)
    }
}

/// Digits only: `parse` alone would take a plus sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A position in content that is there already. One with more digits than a number holds lies behind any end, where
/// RFC 9110 has a range cut, not refused.
fn offset(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

/// A text is not the range of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the Content-Range of a chunk is written start-end, both included")]
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
