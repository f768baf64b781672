//! Connects the ACME library to the HTTP client of this workspace.
//!
//! The responses of the directory are untrusted input.
//!
//! Invariant: requests use HTTPS only, certificates are verified against the configured authorities or the public ones,
//! and every response is bounded in time and size.

use std::{path::Path, pin::Pin, time::Duration};

use bytes::Bytes;
use http::{
    Request, Response,
    header::{HeaderMap, RETRY_AFTER},
};
use http_body_util::{BodyExt as _, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};

use super::OrderError;
use portcullis_http_client::{FetchLimits, HttpsClient, HttpsUrl, TrustedRoots};
use portcullis_tls::acme::authorities;

/// Limits of one request. The largest responses are certificate chains of some 10 KiB.
const REQUEST_LIMITS: FetchLimits = FetchLimits { timeout: Duration::from_secs(30), max_body_len: 1024 * 1024 };
/// The largest `Retry-After` that is passed to the library, in seconds; the library adds it to the clock unchecked.
const MAX_RETRY_AFTER_SECONDS: u64 = 60 * 60;

/// The HTTP client of one order.
pub(super) struct AcmeHttpClient(HttpsClient);

impl AcmeHttpClient {
    /// Trusts only the authorities in the file `ca`, or the public ones if there is no such file.
    pub(super) fn new(ca: Option<&Path>) -> Result<Self, OrderError> {
        let roots = match ca {
            None => TrustedRoots::Public,
            Some(ca) => TrustedRoots::Custom(authorities(ca)?),
        };
        Ok(Self(HttpsClient::new(&roots)?))
    }
}

impl HttpClient for AcmeHttpClient {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let client = self.0.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let url: HttpsUrl = parts.uri.to_string().parse().map_err(other)?;
            let body = body.collect().await.map_err(other)?.to_bytes();
            let answer = client.send(&url, Request::from_parts(parts, body), REQUEST_LIMITS).await.map_err(other)?;
            let (mut parts, body) = answer.into_parts();
            remove_unusable_retry_after(&mut parts.headers);
            Ok(Response::from_parts(parts, Full::new(body)).into())
        })
    }
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Other(Box::new(error))
}

/// Removes a `Retry-After` that is malformed or too long: the library adds any number of seconds to the clock, and
/// panics on overflow.
fn remove_unusable_retry_after(headers: &mut HeaderMap) {
    let wait = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
    if wait.is_none_or(|seconds| seconds > MAX_RETRY_AFTER_SECONDS) {
        headers.remove(RETRY_AFTER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_without_end_is_not_handed_on() {
        for (value, is_kept) in
            [("5", true), ("3600", true), ("18446744073709551615", false), ("-1", false), ("", false)]
        {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            remove_unusable_retry_after(&mut headers);
            assert_eq!(headers.contains_key(RETRY_AFTER), is_kept, "{value}");
        }
    }
}
