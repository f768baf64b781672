//! Defines the limits that bound the time of verifying one password.

/// The maximum number of rounds of SHA crypt, about a second of one processor. The format allows 999,999,999, a quarter
/// of an hour.
pub const MAX_ROUNDS: u32 = 1_000_000;

/// The maximum password length in bytes of crypt(3): libxcrypt refuses a password that does not fit into 512 bytes with
/// its terminating zero. The bound matters because the time of SHA crypt grows with the length.
pub(super) const CRYPT_MAX_PASSWORD_LEN: usize = 511;

/// The maximum password length in bytes for the formats that nginx computes itself, without a bound of its own: more
/// than a header of [`Credentials::MAX_BASIC_LEN`](crate::Credentials::MAX_BASIC_LEN) bytes can carry in base64.
pub(super) const NGINX_MAX_PASSWORD_LEN: usize = 12 * 1024;
