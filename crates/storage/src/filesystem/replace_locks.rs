//! Locks records while they are compared and replaced. Records share the locks by the hash of their path.

use std::{
    hash::{BuildHasher as _, RandomState},
    path::Path,
};

use parking_lot::{Mutex, MutexGuard};

/// The locks.
#[derive(Debug)]
pub(super) struct ReplaceLocks {
    hasher: RandomState,
    shards: [Mutex<()>; 64],
}

impl Default for ReplaceLocks {
    fn default() -> Self {
        Self { hasher: RandomState::new(), shards: std::array::from_fn(|_| Mutex::new(())) }
    }
}

impl ReplaceLocks {
    pub(super) fn lock(&self, place: &Path) -> MutexGuard<'_, ()> {
        let hash = self.hasher.hash_one(place);
        // The remainder is below 64 on every machine.
        #[expect(clippy::cast_possible_truncation, reason = "taken modulo the number of shards first")]
        let index = (hash % self.shards.len() as u64) as usize;
        self.shards[index].lock()
    }
}
