//! Memory that a disk can read by itself.
//!
//! Invariant: its first byte lies at an address that is a multiple of [`ALIGNMENT`].

use bytes::Bytes;

/// Enough for every disk: with `O_DIRECT`, addresses, offsets and lengths are multiples of it (`open(2)`).
pub(super) const ALIGNMENT: usize = 4096;

/// How much is written at once.
pub(super) const BLOCK: usize = 512 << 10;

/// Up to [`BLOCK`] bytes that are to be written.
pub(super) struct Block {
    memory: Box<[u8]>,
    begin: usize,
    filled: usize,
}

impl Block {
    pub(super) fn new() -> Self {
        let memory = vec![0; BLOCK + ALIGNMENT].into_boxed_slice();
        let begin = memory.as_ptr().align_offset(ALIGNMENT);
        Self { memory, begin, filled: 0 }
    }

    /// What is in it.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.memory[self.begin..self.begin + self.filled]
    }

    /// Moves bytes from the front of `piece` until it holds `limit` bytes, at most [`BLOCK`]; says whether it does.
    pub(super) fn fill(&mut self, piece: &mut Bytes, limit: usize) -> bool {
        let taken = piece.split_to(piece.len().min(limit.saturating_sub(self.filled)));
        let at = self.begin + self.filled;
        self.memory[at..at + taken.len()].copy_from_slice(&taken);
        self.filled += taken.len();
        self.filled >= limit
    }

    /// Forgets what is in it.
    pub(super) fn clear(&mut self) {
        self.filled = 0;
    }
}
