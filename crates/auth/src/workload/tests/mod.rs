//! Tests the verification of OIDC tokens, and the cache of issuer keys.

mod issuers;
mod tokens;
