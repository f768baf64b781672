//! Makes random choices that a seed reproduces.
//!
//! Invariant: nothing here depends on the time or the machine. The scheduling of threads still does, so a seed
//! reproduces what each client tries, but not the moment at which the others did.

/// A generator of choices.
pub(crate) struct SeededRandom(fastrand::Rng);

impl SeededRandom {
    /// One of many independent streams of the same seed.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        // Streams of neighbouring numbers begin far from each other.
        Self(fastrand::Rng::with_seed(seed.wrapping_add(stream.wrapping_mul(0x9E37_79B9_7F4A_7C15))))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0.u64(..)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0.usize(..limit)
    }

    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    /// True with this probability, in percent.
    pub(crate) fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of the elements, of which there must be one.
    pub(crate) fn one_of<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// One of the elements; `None` if there are none.
    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() { None } else { Some(from[self.below(from.len())].clone()) }
    }

    /// Random content, unique with near certainty: usually short, seldom long.
    pub(crate) fn content(&mut self) -> Vec<u8> {
        let most = if self.one_in(8) { 3 << 20 } else { 60_000 };
        let length = 2 + self.below(most);
        let mut bytes = vec![0; length];
        self.0.fill(&mut bytes);
        bytes
    }
}
