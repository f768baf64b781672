//! Defines why a bearer token is rejected.

/// Why a token was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// Not a token, not signed by this registry, not for this service, or altered. The client does not learn which.
    #[error("the token is not valid here")]
    Unverifiable,
    /// The token was valid once.
    #[error("the token has expired")]
    Expired,
    /// The validity of the token has not begun, by more than the clock leeway.
    #[error("the token is not valid yet; compare the clocks of the two machines")]
    NotYetValid,
    /// The user was removed or has a new password, or the workload rule of the token was changed or removed.
    #[error("the token was issued for an earlier password or rule, or its user was removed")]
    CredentialChanged,
    /// The access token or refresh token that it was issued for has ended.
    #[error("the access or refresh token that this token was issued for was revoked or has expired")]
    Revoked,
}
