//! Sends requests over HTTPS, each on a connection of its own.
//!
//! For these a pool of connections is not worth its state: a document is fetched once an hour, and an order of a
//! certificate sends some twenty requests in two months.
//!
//! Invariant: time and size of a response are bounded before the request, and no redirect is followed.

use std::{io, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};

use super::{
    ExchangeError, HttpsUrl, TrustedRoots,
    connector::{ConnectError, Connector},
    exchange::{PendingResponse, exchange},
};

/// The limits of one request.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimits {
    /// The longest time, from resolving the host name to the last byte.
    pub timeout: Duration,
    /// The largest body, in bytes.
    pub max_body_len: usize,
}

/// A document that was fetched.
#[derive(Clone, Debug)]
pub struct FetchedDocument {
    /// The response body.
    pub body: Bytes,
    /// How long it may be cached, from `Cache-Control`; `None`: not specified.
    pub max_age: Option<Duration>,
}

/// An HTTPS client with a fixed set of trusted roots.
#[derive(Clone)]
pub struct HttpsClient {
    connector: Connector,
}

impl HttpsClient {
    /// A client that trusts these authorities.
    pub fn new(trust: &TrustedRoots) -> Result<Self, rustls::Error> {
        Ok(Self { connector: Connector::new(trust)? })
    }

    /// Fetches the document at `url`. Every status except 200 is an error, redirects included.
    pub async fn get(&self, url: &HttpsUrl, limits: FetchLimits) -> Result<FetchedDocument, FetchError> {
        let request = Request::get(url.request_target())
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, concat!("portcullis/", env!("CARGO_PKG_VERSION")))
            .body(Bytes::new())
            .map_err(|_| FetchError::InvalidRequest)?;
        let fetched = async {
            let response = self.exchange(url, request).await?;
            if response.status() != StatusCode::OK {
                return Err(FetchError::Status(response.status().as_u16()));
            }
            let (head, body) = response.read(limits.max_body_len).await?.into_parts();
            Ok(FetchedDocument { body, max_age: max_age(&head.headers) })
        };
        within(limits.timeout, fetched).await
    }

    /// Sends a request of any method to `url` and returns the response, whatever its status. The request target and the
    /// headers `Host` and `Connection` are set here.
    pub async fn send(
        &self,
        url: &HttpsUrl,
        request: Request<Bytes>,
        limits: FetchLimits,
    ) -> Result<Response<Bytes>, FetchError> {
        let sent = async { Ok(self.exchange(url, request).await?.read(limits.max_body_len).await?) };
        within(limits.timeout, sent).await
    }

    async fn exchange(&self, url: &HttpsUrl, mut request: Request<Bytes>) -> Result<PendingResponse, FetchError> {
        *request.uri_mut() = url.request_target().parse().map_err(|_| FetchError::InvalidRequest)?;
        let host = url.authority().parse().map_err(|_| FetchError::InvalidRequest)?;
        request.headers_mut().insert(header::HOST, host);
        request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        let stream = self.connector.connect_tcp(url.host(), url.port()).await?;
        Ok(exchange(self.connector.connect_tls(url.host(), stream).await?, request).await?)
    }
}

async fn within<T>(timeout: Duration, fetched: impl Future<Output = Result<T, FetchError>>) -> Result<T, FetchError> {
    tokio::time::timeout(timeout, fetched).await.unwrap_or_else(|_elapsed| Err(FetchError::TimedOut(timeout)))
}

/// `Cache-Control: max-age`; zero for `no-store` and `no-cache`.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let directives: Vec<String> =
        values.flat_map(|value| value.split(',')).map(|directive| directive.trim().to_ascii_lowercase()).collect();
    if directives.iter().any(|directive| directive == "no-store" || directive == "no-cache") {
        return Some(Duration::ZERO);
    }
    let seconds = directives.iter().find_map(|directive| directive.strip_prefix("max-age="))?;
    seconds.trim_matches('"').parse().ok().map(Duration::from_secs)
}

/// Why a document could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The host name does not resolve, or the connection failed.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// The TLS handshake failed, or the certificate is not trusted.
    #[error("TLS handshake failed: {0}")]
    Tls(#[source] io::Error),
    /// There is no complete response within the limit of [`FetchLimits::max_body_len`].
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The response has another status than 200.
    #[error("answered {0} instead of 200; redirects are not followed")]
    Status(u16),
    /// The request took longer than [`FetchLimits::timeout`].
    #[error("did not answer within {} seconds", .0.as_secs())]
    TimedOut(Duration),
    /// The URL cannot be used in a request.
    #[error("the URL cannot be used in a request")]
    InvalidRequest,
}

impl From<ConnectError> for FetchError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::InvalidHost => Self::InvalidRequest,
            ConnectError::Unreachable(reason) => Self::Unreachable(reason),
            ConnectError::Tls(error) => Self::Tls(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::test_site::{TestResponse, TestSite},
        *,
    };

    const LIMITS: FetchLimits = FetchLimits { timeout: Duration::from_secs(10), max_body_len: 1000 };

    async fn fetched(reply: TestResponse) -> Result<FetchedDocument, FetchError> {
        let site = TestSite::start().await;
        site.set_response("/document", reply);
        HttpsClient::new(&site.trust()).unwrap().get(&site.url("/document"), LIMITS).await
    }

    #[tokio::test]
    async fn a_document_arrives_with_its_age() {
        let document = fetched(TestResponse::ok("{}").header("Cache-Control: public, Max-Age=600")).await.unwrap();
        assert_eq!((document.body.as_ref(), document.max_age), (b"{}".as_slice(), Some(Duration::from_secs(600))));
    }

    #[tokio::test]
    async fn redirects_are_not_followed_and_errors_are_no_documents() {
        let site = TestSite::start().await;
        site.set_response("/secret", TestResponse::ok("inside"));
        site.set_response("/document", TestResponse::status(302).header(&format!("Location: {}", site.url("/secret"))));
        let fetcher = HttpsClient::new(&site.trust()).unwrap();
        let refused = fetcher.get(&site.url("/document"), LIMITS).await;
        assert!(matches!(refused, Err(FetchError::Status(302))), "{refused:?}");
        assert_eq!(site.request_count("/secret"), 0);
        let missing = fetcher.get(&site.url("/nothing"), LIMITS).await;
        assert!(matches!(missing, Err(FetchError::Status(404))), "{missing:?}");
    }

    #[tokio::test]
    async fn a_document_over_the_limit_is_refused_with_a_length_and_without() {
        assert!(fetched(TestResponse::ok(&"x".repeat(1000))).await.is_ok());
        for reply in [TestResponse::ok(&"x".repeat(1001)), TestResponse::ok(&"x".repeat(100_000)).without_length()] {
            let refused = fetched(reply).await;
            assert!(matches!(refused, Err(FetchError::Exchange(ExchangeError::TooLarge(1000)))), "{refused:?}");
        }
    }

    #[tokio::test]
    async fn a_server_that_another_authority_vouches_for_is_not_believed() {
        let (site, other) = (TestSite::start().await, TestSite::start().await);
        site.set_response("/document", TestResponse::ok("{}"));
        for trust in [other.trust(), TrustedRoots::Public] {
            let refused = HttpsClient::new(&trust).unwrap().get(&site.url("/document"), LIMITS).await;
            assert!(matches!(refused, Err(FetchError::Tls(_))), "{refused:?}");
        }
        assert_eq!(site.request_count("/document"), 0);
    }

    #[tokio::test]
    async fn a_server_that_never_answers_is_given_up() {
        let site = TestSite::start().await;
        site.set_response("/document", TestResponse::no_response());
        let limits = FetchLimits { timeout: Duration::from_millis(300), ..LIMITS };
        let refused = HttpsClient::new(&site.trust()).unwrap().get(&site.url("/document"), limits).await;
        assert!(matches!(refused, Err(FetchError::TimedOut(_))), "{refused:?}");
    }

    #[tokio::test]
    async fn a_port_where_nobody_listens_is_unreachable() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap()).parse().unwrap();
        drop(listener);
        let refused = HttpsClient::new(&TrustedRoots::Public).unwrap().get(&url, LIMITS).await;
        assert!(matches!(refused, Err(FetchError::Unreachable(_))), "{refused:?}");
    }

    #[test]
    fn what_must_not_be_kept_is_good_for_no_time() {
        let age = |value: &str| {
            let headers = [(header::CACHE_CONTROL, value.parse().unwrap())].into_iter().collect();
            max_age(&headers).map(|age| age.as_secs())
        };
        assert_eq!(age("max-age=86400, public"), Some(86_400));
        assert_eq!(age("no-store, max-age=600"), Some(0));
        assert_eq!(age("private"), None);
        assert_eq!(age("max-age=-1"), None);
        assert_eq!(max_age(&HeaderMap::new()), None);
    }
}
