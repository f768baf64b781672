//! A write buffer with the memory alignment that direct I/O requires.
//!
//! Invariant: the address of its first byte is a multiple of [`ALIGNMENT`].

use bytes::Bytes;

/// Alignment in bytes of addresses, offsets and lengths with `O_DIRECT` (`open(2)`); sufficient for every disk.
pub(super) const ALIGNMENT: usize = 4096;

/// Capacity of a block in bytes, and so the length of one write.
pub(super) const BUFFER_LEN: usize = 512 << 10;

/// An aligned buffer of up to [`BUFFER_LEN`] bytes.
pub(super) struct AlignedBuffer {
    memory: Box<[u8]>,
    aligned_start: usize,
    filled: usize,
}

impl AlignedBuffer {
    pub(super) fn new() -> Self {
        let memory = vec![0; BUFFER_LEN + ALIGNMENT].into_boxed_slice();
        let begin = memory.as_ptr().align_offset(ALIGNMENT);
        Self { memory, aligned_start: begin, filled: 0 }
    }

    /// Returns the buffered bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.memory[self.aligned_start..self.aligned_start + self.filled]
    }

    /// Moves bytes from the front of `piece` into the buffer until it holds `limit` bytes, at most [`BUFFER_LEN`].
    /// Returns whether it holds that many.
    pub(super) fn fill(&mut self, piece: &mut Bytes, limit: usize) -> bool {
        let taken = piece.split_to(piece.len().min(limit.saturating_sub(self.filled)));
        let at = self.aligned_start + self.filled;
        self.memory[at..at + taken.len()].copy_from_slice(&taken);
        self.filled += taken.len();
        self.filled >= limit
    }

    /// Empties the buffer.
    pub(super) fn clear(&mut self) {
        self.filled = 0;
    }
}
