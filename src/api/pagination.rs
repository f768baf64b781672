//! Adds the `Link` header to the next page of a list (pagination).

use axum::response::Response;
use http::header;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::response::ResponseExt as _;
use crate::oci::{ListPage, PageRequest};

/// Adds a `Link` header to the next page (RFC 8288), if the list continues.
pub(super) fn add_next_link(
    response: Response,
    path: &str,
    page: &PageRequest,
    shown: &ListPage<impl AsRef<str>>,
) -> Response {
    let (true, Some(limit), Some(last)) = (shown.has_more, page.limit, shown.entries.last()) else { return response };
    let last = utf8_percent_encode(last.as_ref(), NON_ALPHANUMERIC);
    response.with_header(header::LINK, &format!("<{path}?last={last}&n={limit}>; rel=\"next\""))
}
