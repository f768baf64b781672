//! Tests the verification of OIDC tokens, and the cache of issuer keys.

mod jwks_cache;
mod tokens;
