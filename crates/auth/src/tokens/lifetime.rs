//! Parses how long an access token is valid.
//!
//! Invariant: a lifetime is a whole number of seconds, from one second to ten years, so that a time plus a lifetime is
//! a time.

use std::{fmt, str::FromStr, time::Duration};

use portcullis_text::{InvalidDuration, format_duration, parse_duration};

const MIN_LIFETIME: Duration = Duration::from_secs(1);
const MAX_LIFETIME: Duration = Duration::from_secs(3650 * 86_400);

/// How long an access token is valid after its creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenLifetime(Duration);

impl TokenLifetime {
    /// The lifetime as a duration.
    #[must_use]
    pub fn as_duration(self) -> Duration {
        self.0
    }
}

/// Why a text is not the lifetime of an access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTokenLifetime {
    /// It is not a duration.
    #[error(transparent)]
    Syntax(#[from] InvalidDuration),
    /// It is a duration out of the bounds.
    #[error("the duration must be between 1s and 3650d")]
    OutOfBounds,
}

impl FromStr for TokenLifetime {
    type Err = InvalidTokenLifetime;

    fn from_str(text: &str) -> Result<Self, InvalidTokenLifetime> {
        let lifetime = parse_duration(text)?;
        if (MIN_LIFETIME..=MAX_LIFETIME).contains(&lifetime) {
            Ok(Self(lifetime))
        } else {
            Err(InvalidTokenLifetime::OutOfBounds)
        }
    }
}

impl fmt::Display for TokenLifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_duration(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_between_a_second_and_ten_years_and_is_read_as_it_is_written() {
        for text in ["1s", "90s", "5m", "36h", "3650d"] {
            assert_eq!(text.parse::<TokenLifetime>().unwrap().to_string(), *text);
        }
        assert_eq!("120s".parse::<TokenLifetime>().unwrap().to_string(), "2m");
        for text in ["0s", "3651d", "18446744073709551615s"] {
            assert_eq!(text.parse::<TokenLifetime>(), Err(InvalidTokenLifetime::OutOfBounds), "{text}");
        }
        for text in ["", "soon", "1", "-1s", "18446744073709551616s", "18446744073709551615d"] {
            assert!(matches!(text.parse::<TokenLifetime>(), Err(InvalidTokenLifetime::Syntax(_))), "{text}");
        }
    }
}
