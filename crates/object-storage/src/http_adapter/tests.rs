//! Tests of the adapter: the library's S3 client against a small server that plays a bucket.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use object_store::{
    GetOptions, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload, RetryConfig, UpdateVersion,
    aws::{AmazonS3, AmazonS3Builder},
};
use portcullis_http_client::{PoolConfig, TrustedRoots};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::*;

/// How the server ends a connection instead of responding, by key.
const KEY_OF_NO_RESPONSE: &str = "no-response";

/// An S3 bucket in memory with the requests that the tests make.
#[derive(Default)]
struct Bucket {
    objects: BTreeMap<String, Bytes>,
    /// Method, target and header of each request.
    requests: Vec<(Method, String, HeaderMap)>,
}

impl Bucket {
    fn respond(&mut self, method: &Method, key: &str, query: &str, header: &HeaderMap, body: Bytes) -> TestResponse {
        match *method {
            Method::GET if query.contains("list-type=2") => self.list(query),
            Method::GET | Method::HEAD => match self.objects.get(key) {
                Some(content) => response(StatusCode::OK, content.clone()),
                None => response(StatusCode::NOT_FOUND, "<Error><Code>NoSuchKey</Code></Error>"),
            },
            Method::PUT if !self.precondition_holds(key, header) => {
                response(StatusCode::PRECONDITION_FAILED, "<Error><Code>PreconditionFailed</Code></Error>")
            }
            Method::PUT => {
                self.objects.insert(key.to_owned(), body);
                response(StatusCode::OK, "")
            }
            _ => response(StatusCode::METHOD_NOT_ALLOWED, ""),
        }
    }

    fn precondition_holds(&self, key: &str, header: &HeaderMap) -> bool {
        if header.contains_key("if-match") {
            // No test names a version that holds.
            return false;
        }
        !(header.contains_key("if-none-match") && self.objects.contains_key(key))
    }

    /// One key a page.
    fn list(&self, query: &str) -> TestResponse {
        let after = query.split_once("continuation-token=").map(|(_, rest)| rest.split('&').next().unwrap_or_default());
        let mut left = self.objects.iter().skip_while(|(key, _)| after.is_some_and(|after| key.as_str() <= after));
        let mut page = "<ListBucketResult>".to_owned();
        if let Some((key, content)) = left.next() {
            let (time, len) = ("2026-01-02T03:04:05.000Z", content.len());
            write!(page, "<Contents><Key>{key}</Key><LastModified>{time}</LastModified><Size>{len}</Size></Contents>")
                .unwrap();
            if left.next().is_some() {
                write!(page, "<NextContinuationToken>{key}</NextContinuationToken>").unwrap();
            }
        }
        response(StatusCode::OK, page + "</ListBucketResult>")
    }
}

type TestResponse = Response<Full<Bytes>>;

fn response(status: StatusCode, body: impl Into<Bytes>) -> TestResponse {
    let response = Response::builder().status(status).header("ETag", "\"version\"");
    response.header("Last-Modified", "Fri, 02 Jan 2026 03:04:05 GMT").body(Full::new(body.into())).unwrap()
}

struct TestBucket {
    bucket: Arc<Mutex<Bucket>>,
    store: AmazonS3,
    _serving: AbortOnDropHandle<()>,
}

impl TestBucket {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let bucket = Arc::<Mutex<Bucket>>::default();
        let serving = AbortOnDropHandle::new(tokio::spawn(serve(listener, bucket.clone())));
        Self { bucket, store: store(&endpoint, true), _serving: serving }
    }

    fn request_count(&self) -> usize {
        self.bucket.lock().unwrap().requests.len()
    }
}

fn store(endpoint: &str, plaintext_is_allowed: bool) -> AmazonS3 {
    let plaintext_origins = if plaintext_is_allowed { vec![endpoint.parse().unwrap()] } else { Vec::new() };
    let config = PoolConfig { plaintext_origins, ..PoolConfig::new(TrustedRoots::Public) };
    AmazonS3Builder::new()
        .with_endpoint(endpoint)
        .with_bucket_name("images")
        .with_region("eu-central-1")
        .with_access_key_id("key")
        .with_secret_access_key("secret")
        .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
        .with_http_connector(HttpAdapter::new(PooledClient::new(&config).unwrap()))
        .build()
        .unwrap()
}

async fn serve(listener: TcpListener, bucket: Arc<Mutex<Bucket>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let bucket = bucket.clone();
        let service = service_fn(move |request| respond(request, bucket.clone()));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn respond(request: Request<Incoming>, bucket: Arc<Mutex<Bucket>>) -> Result<TestResponse, std::io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let key = head.uri.path().trim_start_matches("/images").trim_start_matches('/').to_owned();
    let mut bucket = bucket.lock().unwrap();
    bucket.requests.push((head.method.clone(), head.uri.to_string(), head.headers.clone()));
    if key == KEY_OF_NO_RESPONSE {
        return Err(std::io::Error::other("the connection ends here"));
    }
    Ok(bucket.respond(&head.method, &key, head.uri.query().unwrap_or_default(), &head.headers, body))
}

#[tokio::test]
async fn an_object_is_written_and_read_as_a_stream() {
    let test = TestBucket::start().await;
    let content = Bytes::from(vec![7; 5 << 20]);
    let payload = PutPayload::from_iter([content.slice(..1000), content.slice(1000..)]);
    test.store.put(&"blobs/a".into(), payload).await.unwrap();
    let mut stream = test.store.get(&"blobs/a".into()).await.unwrap().into_stream();
    let (mut pieces, mut len) = (0, 0);
    while let Some(piece) = stream.try_next().await.unwrap() {
        (pieces, len) = (pieces + 1, len + piece.len());
    }
    assert_eq!(len, content.len());
    assert!(pieces > 1, "the content must arrive in pieces");
    let bucket = test.bucket.lock().unwrap();
    let (_, target, header) = &bucket.requests[0];
    assert_eq!(target, "/images/blobs/a");
    assert_eq!(header["content-length"], (5 << 20).to_string());
    assert_eq!(header["user-agent"], USER_AGENT);
    assert!(header["authorization"].to_str().unwrap().starts_with("AWS4-HMAC-SHA256 Credential=key/"));
    assert!(!header.contains_key("transfer-encoding") && !header.contains_key("x-amz-trailer"), "{header:?}");
}

#[tokio::test]
async fn a_listing_is_read_to_its_last_page() {
    let test = TestBucket::start().await;
    for key in ["a", "b", "c"] {
        test.store.put(&key.into(), "content".into()).await.unwrap();
    }
    let listed: Vec<_> = test.store.list(None).try_collect().await.unwrap();
    let listed: Vec<_> = listed.iter().map(|object| (object.location.as_ref(), object.size)).collect();
    assert_eq!(listed, [("a", 7), ("b", 7), ("c", 7)]);
}

#[tokio::test]
async fn preconditions_that_fail_and_objects_that_are_missing_are_errors_of_their_own() {
    let test = TestBucket::start().await;
    let path = "a".into();
    let put = |mode: PutMode| test.store.put_opts(&path, "content".into(), mode.into());
    put(PutMode::Create).await.unwrap();
    let refused = put(PutMode::Create).await.unwrap_err();
    assert!(matches!(refused, object_store::Error::AlreadyExists { .. }), "{refused:?}");
    let version = UpdateVersion { e_tag: Some("\"other\"".to_owned()), version: None };
    let refused = put(PutMode::Update(version)).await.unwrap_err();
    assert!(matches!(refused, object_store::Error::Precondition { .. }), "{refused:?}");
    for head in [true, false] {
        let options = GetOptions { head, ..GetOptions::default() };
        let missing = test.store.get_opts(&"missing".into(), options).await.unwrap_err();
        assert!(matches!(missing, object_store::Error::NotFound { .. }), "{missing:?}");
        assert!(super::super::bucket::cause::<RequestError>(&missing).is_none());
    }
}

#[tokio::test]
async fn a_write_whose_response_was_lost_is_sent_once_and_reported_as_possibly_delivered() {
    let test = TestBucket::start().await;
    test.store.put(&"first".into(), "content".into()).await.unwrap();
    let path = KEY_OF_NO_RESPONSE.into();
    let failed = test.store.put_opts(&path, "content".into(), PutMode::Create.into()).await.unwrap_err();
    let cause = super::super::bucket::cause::<RequestError>(&failed).unwrap();
    assert!(matches!(cause, RequestError::Disconnected { delivery: Delivery::MaybeSent, .. }), "{cause:?}");
    assert_eq!(kind(cause), HttpErrorKind::Interrupted);
    assert_eq!(test.request_count(), 2);
}

#[tokio::test]
async fn a_store_that_is_down_is_reported_as_not_reached() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let failed = store(&endpoint, true).put(&"a".into(), "content".into()).await.unwrap_err();
    let cause = super::super::bucket::cause::<RequestError>(&failed).unwrap();
    assert_eq!((cause.delivery(), kind(cause)), (Delivery::NotSent, HttpErrorKind::Connect));
    let refused = store(&endpoint, false).put(&"a".into(), "content".into()).await.unwrap_err();
    assert!(
        matches!(super::super::bucket::cause::<RequestError>(&refused), Some(RequestError::PlaintextRefused(_))),
        "{refused:?}"
    );
}

#[test]
fn only_what_was_not_sent_has_the_kind_that_is_always_repeated() {
    let limit = Duration::from_secs(1);
    for (error, expected) in [
        (RequestError::Unreachable("refused".to_owned()), HttpErrorKind::Connect),
        (RequestError::ConnectTimedOut(limit), HttpErrorKind::Connect),
        (RequestError::SendTimedOut { timeout: limit, delivery: Delivery::NotSent }, HttpErrorKind::Connect),
        (RequestError::SendTimedOut { timeout: limit, delivery: Delivery::MaybeSent }, HttpErrorKind::Timeout),
        (RequestError::ResponseTimedOut(limit), HttpErrorKind::Timeout),
        (RequestError::ReceiveTimedOut(limit), HttpErrorKind::Timeout),
        (RequestError::InvalidRequest, HttpErrorKind::Unknown),
    ] {
        assert_eq!(kind(&error), expected, "{error}");
        assert!(expected != HttpErrorKind::Connect || error.delivery() == Delivery::NotSent, "{error}");
    }
}
