//! Uploads blobs over HTTP/1.1 and HTTP/2, each on its own connection and thread: chunked as Docker does, or in one
//! request.
//!
//! It uses hyper and not an external program: curl 7.88 occupies a processor while it uploads over HTTP/2, and h2load
//! cannot finish an upload that it started.

use std::{fs::File, io::Read as _, thread};

use bytes::Bytes;
use futures_util::stream;
use reqwest::{Body, Method, StatusCode, header};
use tokio::runtime::Builder;

use super::Http;
use crate::{
    client,
    contender::Contender,
    context::BenchContext,
    random_blob::{self, RandomBlob},
};

/// The size of a chunk: the buffer of Go's `io.Copy`, which Docker uses.
const CHUNK: usize = 32 << 10;

/// How a blob is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum UploadStyle {
    /// As Docker uploads: POST, a PATCH of unknown length, PUT.
    Stream,
    /// POST, and a PUT with the whole content.
    Monolithic,
}

/// The parameters of a push: the server, the repository, the credentials, the protocol and the style.
pub(crate) struct PushJob<'a> {
    pub(crate) context: &'a BenchContext,
    pub(crate) side: &'a Contender,
    pub(crate) repository: &'a str,
    pub(crate) authorization: Option<&'a str>,
    pub(crate) http: Http,
    pub(crate) style: UploadStyle,
}

/// Pushes all blobs concurrently.
pub(crate) fn push(push: &PushJob<'_>, blobs: &[RandomBlob]) {
    thread::scope(|scope| {
        for blob in blobs {
            scope.spawn(|| {
                let upload = Upload { push, client: client::http_client(&push.context.fixtures, push.http, None) };
                Builder::new_current_thread().enable_all().build().unwrap().block_on(upload.blob(blob));
            });
        }
    });
}

/// Pushes one blob, so that it can be pulled later.
pub(crate) fn push_one(context: &BenchContext, side: &Contender, repository: &str, blob: &RandomBlob) {
    let authorization = side.authorization(&format!("repository:{repository}:pull,push"));
    let authorization = authorization.as_deref();
    let how = PushJob { context, side, repository, authorization, http: Http::One, style: UploadStyle::Stream };
    push(&how, std::slice::from_ref(blob));
}

/// Pushes a small blob with one PUT after the POST.
pub(crate) fn push_bytes(side: &Contender, repository: &str, authorization: Option<&str>, bytes: &[u8]) {
    let begun = side.client.send(Method::POST, &uploads_path(repository), authorization, None, Vec::new());
    let url = with_digest(&absolute_url(side, &begun.location.unwrap()), &random_blob::digest(bytes));
    let answer = side.client.send(Method::PUT, &url, authorization, Some("application/octet-stream"), bytes.to_vec());
    assert_eq!(answer.status, StatusCode::CREATED, "an upload to {}", side.kind.name());
}

struct Upload<'a> {
    push: &'a PushJob<'a>,
    client: reqwest::Client,
}

impl Upload<'_> {
    async fn blob(&self, blob: &RandomBlob) {
        let begun = self.push.side.url(&uploads_path(self.push.repository));
        let mut upload = self.send(Method::POST, &begun, Body::default(), StatusCode::ACCEPTED).await;
        let mut rest = body(blob);
        if self.push.style == UploadStyle::Stream {
            upload = self.send(Method::PATCH, &upload, rest, StatusCode::ACCEPTED).await;
            rest = Body::default();
        }
        self.send(Method::PUT, &with_digest(&upload, blob.digest()), rest, StatusCode::CREATED).await;
    }

    /// Sends a request, checks the status, and returns the `Location` of the response.
    async fn send(&self, method: Method, url: &str, body: Body, wanted: StatusCode) -> String {
        let mut request = self.client.request(method, url).body(body);
        request = request.header(header::CONTENT_TYPE, "application/octet-stream");
        if let Some(authorization) = self.push.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let answer = request.send().await.unwrap();
        let (status, version) = (answer.status(), answer.version());
        let location = answer.headers().get(header::LOCATION).map(|value| value.to_str().unwrap().to_owned());
        let said = answer.text().await.unwrap();
        assert_eq!(status, wanted, "an upload to {}: {said}", self.push.side.kind.name());
        assert_eq!(version, self.push.http.version());
        absolute_url(self.push.side, &location.unwrap())
    }
}

/// A streaming body of the file, without a `Content-Length`.
fn body(blob: &RandomBlob) -> Body {
    let mut file = File::open(blob.path()).unwrap();
    let chunks = std::iter::from_fn(move || {
        let mut chunk = vec![0; CHUNK];
        let length = file.read(&mut chunk).unwrap();
        chunk.truncate(length);
        (length > 0).then(|| Ok::<_, std::convert::Infallible>(Bytes::from(chunk)))
    });
    Body::wrap_stream(stream::iter(chunks))
}

fn uploads_path(repository: &str) -> String {
    format!("/v2/{repository}/blobs/uploads/")
}

fn absolute_url(side: &Contender, location: &str) -> String {
    if location.starts_with('/') { side.url(location) } else { location.to_owned() }
}

fn with_digest(upload: &str, digest: &str) -> String {
    let separator = if upload.contains('?') { '&' } else { '?' };
    format!("{upload}{separator}digest={digest}")
}
