//! Implements the HTTP client of the ACME library over hyper and rustls.
//!
//! The responses of the directory are untrusted input.
//!
//! Invariant: requests use HTTPS only, certificates are verified against the configured authorities or the public ones,
//! and every response is bounded in time and size.

use std::{path::Path, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    Request, Response,
    header::{HeaderMap, RETRY_AFTER},
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as Pool, connect::HttpConnector},
    rt::TokioExecutor,
};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    version::{TLS12, TLS13},
};

use super::OrderError;
use portcullis_tls::acme::authorities;

/// Limit for one request, from the connection to the last byte of the response.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Limit for a response body, in bytes. The largest responses are certificate chains of some 10 KiB.
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;
/// The largest `Retry-After` that is passed to the library, in seconds; the library adds it to the clock unchecked.
const MAX_RETRY_AFTER_SECONDS: u64 = 60 * 60;

/// The HTTP client of one order.
pub(super) struct AcmeHttpClient {
    pool: Pool<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>,
}

impl AcmeHttpClient {
    /// Trusts only the authorities in the file `ca`, or the public ones if there is no such file.
    pub(super) fn new(ca: Option<&Path>) -> Result<Self, OrderError> {
        let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_root_certificates(roots(ca)?)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().build();
        Ok(Self { pool: Pool::builder(TokioExecutor::new()).build(connector) })
    }
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, OrderError> {
    let mut roots = RootCertStore::empty();
    match ca {
        // Compiled in, because the program may run where the system has no list of authorities.
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(ca) => {
            for certificate in authorities(ca)? {
                roots.add(certificate)?;
            }
        }
    }
    Ok(roots)
}

impl HttpClient for AcmeHttpClient {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let answer = self.pool.request(request);
        Box::pin(async move {
            let whole = async {
                let (mut parts, body) = answer.await.map_err(|error| Error::Other(Box::new(error)))?.into_parts();
                remove_unusable_retry_after(&mut parts.headers);
                let body = Limited::new(body, MAX_RESPONSE_BYTES).collect().await.map_err(Error::Other)?;
                Ok(Response::from_parts(parts, Full::new(body.to_bytes())).into())
            };
            tokio::time::timeout(REQUEST_TIMEOUT, whole)
                .await
                .unwrap_or_else(|_| Err(Error::Other("the request to the directory timed out".into())))
        })
    }
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
