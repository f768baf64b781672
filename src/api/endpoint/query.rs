//! Parses the query of a request: form-decodes it once and parses each parameter as its type.
//!
//! Invariant: unknown parameters are ignored.

use super::{
    super::error::{ApiError, ErrorCode},
    operation::SearchQuery,
};
use crate::{
    oci::{Digest, PageRequest, Tag},
    registry::ReferrersFilter,
};

/// The number of search results if the client sends no valid `n`.
const DEFAULT_RESULTS: usize = 25;
/// The maximum number of search results.
const MAX_RESULTS: usize = 100;

/// The maximum number of tags that a manifest push may set beside its digest (the specification asks for at least ten).
pub(super) const MAX_TAGS: usize = 32;

/// The query of a request, still encoded.
#[derive(Clone, Copy)]
pub(super) struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    /// Wraps the query as the client sent it, without the question mark.
    pub(super) fn new(text: &'a str) -> Self {
        Self(text)
    }

    fn pairs(&self) -> form_urlencoded::Parse<'_> {
        form_urlencoded::parse(self.0.as_bytes())
    }

    /// The decoded value of the first parameter of this name.
    pub(super) fn parameter(&self, key: &str) -> Option<String> {
        self.pairs().find(|(name, _)| name == key).map(|(_, value)| value.into_owned())
    }

    /// The requested page of a list, from `n` and `last`.
    ///
    /// Errors: `n` is not a number.
    pub(super) fn page(&self) -> Result<PageRequest, ApiError> {
        let limit = self.parameter("n").map(|n| {
            let digits = !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit());
            // A number that does not fit is larger than any list, so it means the whole list.
            if digits { Ok(n.parse().unwrap_or(usize::MAX)) } else { Err(invalid_page(&n)) }
        });
        Ok(PageRequest { limit: limit.transpose()?, last: self.parameter("last") })
    }

    /// The parameters of a search. Clients send all sorts of values for `n`; an invalid one is replaced by the default,
    /// because rejecting it would break the search.
    pub(super) fn search(&self) -> SearchQuery {
        let limit = self.parameter("n").and_then(|n| n.parse().ok()).unwrap_or(DEFAULT_RESULTS).clamp(1, MAX_RESULTS);
        SearchQuery { text: self.parameter("q").unwrap_or_default(), limit }
    }

    /// The filter and the page of a referrers list, from `artifactType` and `last`.
    pub(super) fn referrers_filter(&self) -> Result<ReferrersFilter, ApiError> {
        let last = self.parameter("last").map(|last| parse_digest(&last)).transpose()?;
        Ok(ReferrersFilter { artifact_type: self.parameter("artifactType"), last })
    }

    /// The tags that a manifest push sets beside its reference, from all `tag` parameters.
    ///
    /// Errors: more than [`MAX_TAGS`] tags, or an invalid one.
    pub(super) fn tags(&self) -> Result<Vec<Tag>, ApiError> {
        let tags: Vec<_> = self.pairs().filter(|(name, _)| name == "tag").map(|(_, value)| value).collect();
        if tags.len() > MAX_TAGS {
            let message = format!("a manifest push may set at most {MAX_TAGS} tags");
            return Err(ApiError::new(ErrorCode::TooManyTags, message));
        }
        tags.iter().map(|tag| tag.parse().map_err(|error| ApiError::new(ErrorCode::TagInvalid, error))).collect()
    }
}

fn invalid_page(n: &str) -> ApiError {
    ApiError::new(ErrorCode::PaginationNumberInvalid, format!("n must be a number, not {n:?}"))
}

/// Parses a digest of the path or the query.
pub(super) fn parse_digest(text: &str) -> Result<Digest, ApiError> {
    text.parse().map_err(|error| ApiError::new(ErrorCode::DigestInvalid, error))
}
