//! Tests the verification of OIDC tokens, and the caches of issuer keys and of verified signatures.

mod jwks_cache;
mod signature_cache;
mod tokens;
