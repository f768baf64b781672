//! Parses stored password hashes, computes them fairly and in the background, and caches verified passwords.
//!
//! Nothing in it refers to the users file: `password_verifier` combines the two.

pub(crate) mod background_pool;
pub(crate) mod constant_effort;
pub(crate) mod fair_queue;
pub mod hash;
pub mod password;
pub(crate) mod verified_cache;
