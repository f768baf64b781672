//! Verifies passwords: parses stored hashes, computes them fairly and in the background, and caches verified passwords.

pub(crate) mod background_pool;
pub(crate) mod constant_effort;
pub(crate) mod fair_queue;
pub mod hash;
pub mod password;
pub mod password_verifier;
pub(crate) mod verified_cache;
