//! Makes random choices that a seed reproduces.
//!
//! Invariant: nothing here depends on the time or the machine. The scheduling of threads still does, so a seed
//! reproduces what each client tries, but not the moment at which the others did.

/// A `SplitMix64` generator: small, and good enough for choices.
pub(crate) struct SeededRandom(u64);

impl SeededRandom {
    /// One of many independent streams of the same seed.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        Self(seed.wrapping_add(stream.wrapping_mul(0xA076_1D64_78BD_642F)))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    /// One of the elements; `None` if there are none.
    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() { None } else { Some(from[self.below(from.len())].clone()) }
    }

    /// Random content, unique with near certainty: usually short, seldom long.
    pub(crate) fn content(&mut self) -> Vec<u8> {
        let most = if self.one_in(8) { 3 << 20 } else { 60_000 };
        let length = 2 + self.below(most);
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend(self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}
