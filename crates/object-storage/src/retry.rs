//! Repeats requests that a store has refused for the moment, or that never reached it.
//!
//! Invariant: a request that must not be executed twice, because it is conditional or completes a multipart upload, is
//! repeated only if it was certainly not executed. All attempts together end within [`MAX_TOTAL`].

use std::{fmt, time::Duration};

use async_trait::async_trait;
use http::{Method, StatusCode, header};
use http_body_util::BodyExt as _;
use object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpService,
    },
};
use tokio::time::{Instant, sleep};

/// The time after which no further attempt begins: a client gets its answer within 15 s.
const MAX_TOTAL: Duration = Duration::from_secs(8);

/// The pause before the second attempt; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The largest error document that is read, in bytes.
const MAX_ERROR_LEN: usize = 4 << 10;

/// A connector whose clients repeat requests.
#[derive(Clone, Debug)]
pub(crate) struct Retrying<C> {
    inner: C,
}

impl<C> Retrying<C> {
    pub(crate) fn new(inner: C) -> Self {
        Self { inner }
    }
}

impl<C: HttpConnector> HttpConnector for Retrying<C> {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(RetryingClient { inner: self.inner.connect(options)? }))
    }
}

#[derive(Debug)]
struct RetryingClient {
    inner: HttpClient,
}

/// The refusal of a store that is ill or overloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoreRefusal {
    /// The status, which is 429 or at least 500.
    pub(crate) status: StatusCode,
    /// The beginning of the document that explains it.
    pub(crate) message: String,
}

impl fmt::Display for StoreRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the object store answered {}: {}", self.status, self.message)
    }
}

impl std::error::Error for StoreRefusal {}

#[async_trait]
impl HttpService for RetryingClient {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let is_repeatable = is_repeatable(&request);
        let (head, body) = request.into_parts();
        let (began, mut pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            let attempt = HttpRequest::from_parts(head.clone(), body.clone());
            let failed = match self.inner.execute(attempt).await {
                Ok(response) if !is_refusal(response.status()) => return Ok(response),
                Ok(response) => Failure::Refused(read_refusal(response).await),
                Err(error) => Failure::Broken(error),
            };
            let may_repeat = match &failed {
                // A store that refuses for overload has not begun; after any other error it may have.
                Failure::Refused(refusal) => is_repeatable || is_overload(refusal.status),
                Failure::Broken(error) => {
                    let is_lost = matches!(error.kind(), HttpErrorKind::Timeout | HttpErrorKind::Interrupted);
                    error.kind() == HttpErrorKind::Connect || is_lost && is_repeatable
                }
            };
            if !may_repeat || began.elapsed() + pause > MAX_TOTAL {
                return Err(failed.into());
            }
            sleep(pause).await;
            pause *= 2;
        }
    }
}

/// Why an attempt failed.
enum Failure {
    Refused(StoreRefusal),
    Broken(HttpError),
}

impl From<Failure> for HttpError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => Self::new(HttpErrorKind::Unknown, refusal),
            Failure::Broken(error) => error,
        }
    }
}

/// Whether executing the request twice has the effect of executing it once. A multipart upload that was begun twice
/// leaves one that expires.
fn is_repeatable(request: &http::Request<HttpRequestBody>) -> bool {
    let is_conditional =
        [header::IF_MATCH, header::IF_NONE_MATCH].iter().any(|name| request.headers().contains_key(name));
    match *request.method() {
        Method::GET | Method::HEAD => true,
        Method::PUT | Method::DELETE => !is_conditional,
        Method::POST => !is_conditional && !is_completion(request.uri().query().unwrap_or_default()),
        _ => false,
    }
}

/// Whether the query is that of `CompleteMultipartUpload`.
fn is_completion(query: &str) -> bool {
    query.split('&').any(|part| part.starts_with("uploadId="))
}

fn is_refusal(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
}

fn is_overload(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

async fn read_refusal(response: HttpResponse) -> StoreRefusal {
    let (status, mut body) = (response.status(), response.into_body());
    let mut text = Vec::new();
    while text.len() < MAX_ERROR_LEN
        && let Some(Ok(frame)) = body.frame().await
    {
        if let Ok(piece) = frame.into_data() {
            text.extend_from_slice(&piece[..piece.len().min(MAX_ERROR_LEN - text.len())]);
        }
    }
    let message = String::from_utf8_lossy(&text).chars().filter(|letter| !letter.is_control()).collect();
    StoreRefusal { status, message }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, sync::Arc};

    use bytes::Bytes;
    use http::Request;
    use object_store::client::HttpResponseBody;
    use parking_lot::Mutex;

    use super::*;

    /// Answers with these results in turn, and counts the requests.
    #[derive(Clone, Debug)]
    struct Script {
        results: Arc<Mutex<VecDeque<Result<u16, HttpErrorKind>>>>,
        count: Arc<Mutex<usize>>,
    }

    #[async_trait]
    impl HttpService for Script {
        async fn call(&self, _: HttpRequest) -> Result<HttpResponse, HttpError> {
            *self.count.lock() += 1;
            match self.results.lock().pop_front().unwrap_or(Ok(200)) {
                Ok(status) => {
                    let body = HttpResponseBody::from(Bytes::from_static(b"<Code>SlowDown</Code>"));
                    Ok(http::Response::builder().status(status).body(body).unwrap())
                }
                Err(kind) => Err(HttpError::new(kind, std::io::Error::other("scripted"))),
            }
        }
    }

    async fn sent(request: HttpRequest, script: &[Result<u16, HttpErrorKind>]) -> (Option<u16>, usize) {
        let script = Script { results: Arc::new(Mutex::new(script.iter().copied().collect())), count: Arc::default() };
        let client = RetryingClient { inner: HttpClient::new(script.clone()) };
        let status = client.call(request).await.ok().map(|response| response.status().as_u16());
        let count = *script.count.lock();
        (status, count)
    }

    fn request(method: &str, target: &str, header: Option<(&str, &str)>) -> HttpRequest {
        let builder = Request::builder().method(method).uri(format!("http://store{target}"));
        let builder = header.into_iter().fold(builder, |builder, (name, value)| builder.header(name, value));
        builder.body(HttpRequestBody::empty()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_be_executed_twice_is_repeated_until_it_succeeds() {
        for (method, target) in
            [("GET", "/b/k"), ("HEAD", "/b/k"), ("PUT", "/b/k"), ("DELETE", "/b/k"), ("POST", "/b/?delete")]
        {
            let troubles = [Err(HttpErrorKind::Interrupted), Ok(500), Ok(503), Ok(429), Err(HttpErrorKind::Timeout)];
            assert_eq!(sent(request(method, target, None), &troubles).await, (Some(200), 6), "{method} {target}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_conditional_write_or_a_completion_is_not_repeated_when_it_may_have_been_executed() {
        let conditional = || request("PUT", "/b/k", Some(("if-none-match", "*")));
        let completion = || request("POST", "/b/k?uploadId=1", None);
        for trouble in [Err(HttpErrorKind::Interrupted), Err(HttpErrorKind::Timeout), Ok(500), Ok(502)] {
            assert_eq!(sent(conditional(), &[trouble]).await, (None, 1), "{trouble:?}");
            assert_eq!(sent(completion(), &[trouble]).await, (None, 1), "{trouble:?}");
        }
        for trouble in [Err(HttpErrorKind::Connect), Ok(503), Ok(429)] {
            assert_eq!(sent(conditional(), &[trouble]).await, (Some(200), 2), "{trouble:?}");
            assert_eq!(sent(completion(), &[trouble]).await, (Some(200), 2), "{trouble:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_that_stays_ends_within_the_time_of_a_client() {
        let began = Instant::now();
        let (status, count) = sent(request("GET", "/b/k", None), &[Ok(503); 100]).await;
        assert!(status.is_none() && count > 3 && count < 20, "{count}");
        assert!(began.elapsed() <= MAX_TOTAL);
    }

    #[tokio::test(start_paused = true)]
    async fn other_refusals_are_passed_on() {
        for status in [400, 403, 404, 409, 412] {
            assert_eq!(sent(request("GET", "/b/k", None), &[Ok(status)]).await, (Some(status), 1));
        }
    }
}
