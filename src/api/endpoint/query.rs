//! Reads the query of a request: form-decoded once, each parameter parsed as what it must be.
//!
//! Invariant: a parameter that nothing here asks for changes nothing.

use super::{
    super::error::{ApiError, Code},
    Endpoint, Search, digest,
};
use crate::{
    oci::{Page, Tag},
    registry::Referring,
};

/// The number of results of a search that names none.
const DEFAULT_RESULTS: usize = 25;
/// The most results of a search.
const MAX_RESULTS: usize = 100;

/// The query of a request.
#[derive(Clone, Copy)]
pub(super) struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    /// The query as it was sent.
    pub(super) fn new(text: &'a str) -> Self {
        Self(text)
    }

    fn pairs(&self) -> form_urlencoded::Parse<'_> {
        form_urlencoded::parse(self.0.as_bytes())
    }

    /// The value of the first parameter of this name.
    pub(super) fn first(&self, key: &str) -> Option<String> {
        self.pairs().find(|(name, _)| name == key).map(|(_, value)| value.into_owned())
    }

    /// The part of a list that is asked for.
    pub(super) fn page(&self) -> Result<Page, ApiError> {
        let limit = self.first("n").map(|n| {
            let digits = !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit());
            // More digits than a number holds is more than any list has.
            if digits { Ok(n.parse().unwrap_or(usize::MAX)) } else { Err(invalid_page(&n)) }
        });
        Ok(Page { limit: limit.transpose()?, last: self.first("last") })
    }

    /// What a search looks for. Clients write what they like for `n`; a search that fails for that helps nobody.
    pub(super) fn search(&self) -> Search {
        let limit = self.first("n").and_then(|n| n.parse().ok()).unwrap_or(DEFAULT_RESULTS).clamp(1, MAX_RESULTS);
        Search { text: self.first("q").unwrap_or_default(), limit }
    }

    /// Which referrers are asked for.
    pub(super) fn referring(&self) -> Result<Referring, ApiError> {
        let last = self.first("last").map(|last| digest(&last)).transpose()?;
        Ok(Referring { artifact_type: self.first("artifactType"), last })
    }

    /// The tags that a manifest is given beside its reference.
    pub(super) fn tags(&self) -> Result<Vec<Tag>, ApiError> {
        let tags: Vec<_> = self.pairs().filter(|(name, _)| name == "tag").map(|(_, value)| value).collect();
        if tags.len() > Endpoint::MAX_TAGS {
            let message = format!("a manifest may be given at most {} tags at a time", Endpoint::MAX_TAGS);
            return Err(ApiError::new(Code::TooManyTags, message));
        }
        tags.iter().map(|tag| tag.parse().map_err(|error| ApiError::new(Code::TagInvalid, error))).collect()
    }
}

fn invalid_page(n: &str) -> ApiError {
    ApiError::new(Code::PaginationNumberInvalid, format!("n must be a number of entries, not {n:?}"))
}
