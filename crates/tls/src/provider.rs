//! The cryptographic provider of every TLS configuration and signature check.
//!
//! Invariant: the provider is selected explicitly and never taken from a process-wide default, so a library that
//! installs another one changes nothing.

use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// Returns the only cryptographic provider: aws-lc.
///
/// Its cipher suites are AEAD with ephemeral keys only, in TLS 1.2 too: rustls has no CBC, RSA key exchange or static
/// Diffie-Hellman that would have to be disabled. Its first key exchange is X25519MLKEM768, so that traffic recorded
/// today cannot be decrypted with future quantum computers.
pub(super) fn provider() -> CryptoProvider {
    aws_lc_rs::default_provider()
}
