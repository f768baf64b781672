//! Connects the ACME library to the HTTP client of this workspace.
//!
//! The responses of the directory are untrusted input.
//!
//! Invariant: requests use HTTPS only, certificates are verified against the configured authorities or the public ones,
//! and every response is bounded in time and size.

use std::{
    path::Path,
    pin::Pin,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{
    Request, Response,
    header::{HeaderMap, HeaderValue, RETRY_AFTER},
};
use http_body_util::{BodyExt as _, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};

use time::{OffsetDateTime, format_description::well_known::Rfc2822};

use super::{OrderError, schedule};
use portcullis_http_client::{FetchLimits, HttpsClient, HttpsUrl, TrustedRoots};
use portcullis_tls::acme::authorities;

/// Limits of one request. The largest responses are certificate chains of some 10 KiB.
const REQUEST_LIMITS: FetchLimits = FetchLimits { timeout: Duration::from_secs(30), max_body_len: 1024 * 1024 };
/// The largest `Retry-After` that is passed to the library, in seconds; the library adds it to the clock unchecked.
const MAX_RETRY_AFTER_SECONDS: u64 = 60 * 60;

/// What the library uses `Retry-After` for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RetryAfterUse {
    /// The wait before the status of an order is polled again. An unusable value is removed.
    Polling,
    /// The wait before renewal information is fetched again. The library requires a value, so every response gets one.
    RenewalInfo { now: SystemTime },
}

/// The HTTP client of one order, or of one query of renewal information.
pub(super) struct AcmeHttpClient {
    retry_after: RetryAfterUse,
    client: HttpsClient,
}

impl AcmeHttpClient {
    /// Trusts only the authorities in the file `ca`, or the public ones if there is no such file.
    pub(super) fn new(ca: Option<&Path>, retry_after: RetryAfterUse) -> Result<Self, OrderError> {
        let roots = match ca {
            None => TrustedRoots::Public,
            Some(ca) => TrustedRoots::Custom(authorities(ca)?),
        };
        Ok(Self { retry_after, client: HttpsClient::new(&roots)? })
    }
}

impl HttpClient for AcmeHttpClient {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let (client, retry_after) = (self.client.clone(), self.retry_after);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let url: HttpsUrl = parts.uri.to_string().parse().map_err(other)?;
            let body = body.collect().await.map_err(other)?.to_bytes();
            let answer = client.send(&url, Request::from_parts(parts, body), REQUEST_LIMITS).await.map_err(other)?;
            let (mut parts, body) = answer.into_parts();
            match retry_after {
                RetryAfterUse::Polling => remove_unusable_retry_after(&mut parts.headers),
                RetryAfterUse::RenewalInfo { now } => bound_retry_after(&mut parts.headers, now),
            }
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

/// Replaces `Retry-After` with a number of seconds that is within the bounds of renewal information, also if the header
/// is missing or malformed.
fn bound_retry_after(headers: &mut HeaderMap, now: SystemTime) {
    let text = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::trim);
    let wait = text.and_then(|text| {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            // A number that is too large is a very long wait.
            return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
        }
        let date = OffsetDateTime::parse(text, &Rfc2822).ok()?;
        Some(SystemTime::from(date).duration_since(now).unwrap_or_default())
    });
    headers.insert(RETRY_AFTER, HeaderValue::from(schedule::renewal_info_interval(wait).as_secs()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_for_renewal_information_is_a_minute_at_least_and_a_day_at_most() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (value, seconds) in [
            (Some("21600"), 21_600),
            (Some("0"), 60),
            (Some("18446744073709551615"), 86_400),
            (Some("99999999999999999999999"), 86_400),
            (Some("Sun, 06 Nov 1994 09:49:37 GMT"), 3600),
            (Some("Sun, 06 Nov 1994 08:00:00 GMT"), 60),
            (Some("Fri, 31 Dec 9999 23:59:59 GMT"), 86_400),
            (Some("-1"), 21_600),
            (Some("soon"), 21_600),
            (Some(""), 21_600),
            (None, 21_600),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(RETRY_AFTER, value.parse().unwrap());
            }
            bound_retry_after(&mut headers, now);
            assert_eq!(headers[RETRY_AFTER], seconds.to_string(), "{value:?}");
        }
    }

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
