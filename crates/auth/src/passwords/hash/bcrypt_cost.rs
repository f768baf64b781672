//! The cost parameter of bcrypt, within bounds that a server can bear.

use std::{fmt, str::FromStr};

/// The cost parameter of bcrypt: the number of rounds is two to the power of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BcryptCost(pub(super) u32);

impl BcryptCost {
    /// The lowest cost that bcrypt defines.
    pub const MIN: Self = Self(4);
    /// About four seconds of one processor. With 17, which Apache's `htpasswd` can write, a handful of sign-ins would
    /// occupy every processor.
    pub const MAX: Self = Self(16);
    /// The default cost, about fifty milliseconds of one processor.
    pub const DEFAULT: Self = Self(10);

    /// Creates a cost from a number between [`BcryptCost::MIN`] and [`BcryptCost::MAX`].
    pub fn new(cost: u32) -> Result<Self, InvalidBcryptCost> {
        if (Self::MIN.0..=Self::MAX.0).contains(&cost) { Ok(Self(cost)) } else { Err(InvalidBcryptCost(cost)) }
    }

    /// The costs from this one up to `other`, exclusive. One hash of each takes together the difference between a hash
    /// of `other` and a hash of this cost: 2^4 + 2^5 + 2^6 = 2^7 - 2^4.
    pub(crate) fn costs_up_to(self, other: Self) -> impl Iterator<Item = Self> {
        (self.0..other.0).map(Self)
    }
}

impl fmt::Display for BcryptCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for BcryptCost {
    type Err = InvalidBcryptCost;

    fn from_str(text: &str) -> Result<Self, InvalidBcryptCost> {
        // A text that is not a number is reported as cost 0, which is out of bounds too.
        Self::new(text.parse().unwrap_or(0))
    }
}

/// The error for a cost out of bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bcrypt cost {0} is out of bounds: it must lie between {min} and {max}, where each step doubles the time of a sign-in", min = BcryptCost::MIN, max = BcryptCost::MAX)]
pub struct InvalidBcryptCost(u32);
