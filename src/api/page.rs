//! Adds the `Link` header to the next page of a list (pagination).

use axum::response::Response;
use http::header;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::reply::With as _;
use crate::oci::{Page, Paged};

/// Adds a `Link` header to the next page (RFC 8288), if the list continues.
pub(super) fn link(response: Response, path: &str, page: &Page, shown: &Paged<impl AsRef<str>>) -> Response {
    let (true, Some(limit), Some(last)) = (shown.more, page.limit, shown.entries.last()) else { return response };
    let last = utf8_percent_encode(last.as_ref(), NON_ALPHANUMERIC);
    response.with(header::LINK, &format!("<{path}?last={last}&n={limit}>; rel=\"next\""))
}
