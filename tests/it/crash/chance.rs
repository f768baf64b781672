//! Chance that can be had again: a seed says everything.
//!
//! One invariant: nothing here knows the time or the machine. What threads do beside each other is up to the machine all
//! the same, so a seed brings back what each client tries, not the moment at which the others did.

/// `SplitMix64`: small, and good enough to choose by.
pub(crate) struct Chance(u64);

impl Chance {
    /// One of many streams of the same seed.
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

    /// One of these, if there is any.
    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() { None } else { Some(from[self.below(from.len())].clone()) }
    }

    /// Content that nobody else has: mostly little, seldom much.
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
