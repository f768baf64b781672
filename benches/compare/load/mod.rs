//! Generates load with external programs and hyper, and checks the results.
//!
//! Invariant: the benchmark stops if a load receives an unexpected response.

mod ab;
mod h2load;
mod skopeo;
pub(crate) mod upload;
mod wrk;

pub(crate) use {
    ab::handshakes,
    h2load::pull,
    skopeo::{CopyDirection, copy},
    wrk::requests,
};

/// The versions of HTTP that are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Http {
    One,
    Two,
}

impl Http {
    pub(crate) const BOTH: [Self; 2] = [Self::One, Self::Two];

    /// The version of a request in reqwest's type.
    pub(crate) fn version(self) -> reqwest::Version {
        match self {
            Self::One => reqwest::Version::HTTP_11,
            Self::Two => reqwest::Version::HTTP_2,
        }
    }

    /// The name in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::One => "HTTP/1.1",
            Self::Two => "HTTP/2",
        }
    }
}

/// The rest of the line that begins with `beginning`, trimmed.
fn field_after<'a>(said: &'a str, beginning: &str) -> &'a str {
    let found = said.lines().find_map(|line| line.trim_start().strip_prefix(beginning));
    found.unwrap_or_else(|| panic!("no line begins with {beginning:?}:\n{said}")).trim()
}
