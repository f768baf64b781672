//! Uploads: the bytes come from curl, the small requests before and after them from our own client.

use std::{fs::File, process::Stdio, thread};

use reqwest::{Method, StatusCode};

use super::Http;
use crate::{
    client::Answer,
    context::Context,
    data::{self, Blob},
    side::Side,
};

/// How a blob is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// As Docker does: POST, a PATCH of unknown length, PUT.
    Stream,
    /// POST, and everything in the PUT.
    Monolithic,
}

/// Pushes all of these at the same time.
pub(crate) fn push(push: &Push<'_>, blobs: &[Blob]) {
    thread::scope(|scope| {
        for blob in blobs {
            scope.spawn(|| push.blob(blob));
        }
    });
}

/// Pushes a few bytes in one request after the POST.
pub(crate) fn at_once(side: &Side, repository: &str, authorization: Option<&str>, bytes: &[u8]) {
    let upload = begin(side, repository, authorization);
    let url = finished(&upload, &data::digest(bytes));
    let answer = side.client.send(Method::PUT, &url, authorization, Some("application/octet-stream"), bytes.to_vec());
    insist(side, &answer, StatusCode::CREATED);
}

/// Puts one where it can be pulled from.
pub(crate) fn give(context: &Context, side: &Side, repository: &str, blob: &Blob) {
    let authorization = side.authorization(&format!("repository:{repository}:pull,push"));
    let authorization = authorization.as_deref();
    push(
        &Push { context, side, repository, authorization, http: Http::One, style: Style::Stream },
        std::slice::from_ref(blob),
    );
}

/// Where to, on whose behalf, and how.
pub(crate) struct Push<'a> {
    pub(crate) context: &'a Context,
    pub(crate) side: &'a Side,
    pub(crate) repository: &'a str,
    pub(crate) authorization: Option<&'a str>,
    pub(crate) http: Http,
    pub(crate) style: Style,
}

impl Push<'_> {
    fn blob(&self, blob: &Blob) {
        let upload = begin(self.side, self.repository, self.authorization);
        match self.style {
            Style::Stream => {
                let upload = self.curl("PATCH", blob, &upload, "202");
                let url = finished(&upload, blob.digest());
                let answer = self.side.client.send(Method::PUT, &url, self.authorization, None, Vec::new());
                insist(self.side, &answer, StatusCode::CREATED);
            }
            Style::Monolithic => {
                self.curl("PUT", blob, &finished(&upload, blob.digest()), "201");
            }
        }
    }

    /// Sends a file, and gives the answer's `Location`.
    fn curl(&self, method: &str, blob: &Blob, url: &str, wanted: &str) -> String {
        let mut curl = self.context.material.command("curl");
        curl.args(["--silent", "--show-error", "--output", "/dev/null", "--request", method, "--cacert"]);
        curl.arg(self.context.material.authority());
        curl.arg(if self.http == Http::One { "--http1.1" } else { "--http2" });
        // Docker does not ask first either.
        curl.args(["--header", "Expect:", "--header", "Content-Type: application/octet-stream"]);
        if let Some(authorization) = self.authorization {
            curl.arg("--header").arg(format!("Authorization: {authorization}"));
        }
        curl.args(["--write-out", "%{http_code} %{http_version} %header{location}", "--upload-file"]);
        if method == "PATCH" {
            // From standard input, because then it cannot say how much there is.
            curl.arg("-").stdin(File::open(blob.path()).unwrap());
        } else {
            curl.arg(blob.path()).stdin(Stdio::null());
        }
        let output = curl.arg(url).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let wanted = format!("{wanted} {} ", if self.http == Http::One { "1.1" } else { "2" });
        let location = said.strip_prefix(&wanted).filter(|_| output.status.success());
        let complained = String::from_utf8_lossy(&output.stderr);
        let location = location.unwrap_or_else(|| {
            panic!("{} to {}: {said:?}, not {wanted:?}\n{complained}", method, self.side.kind.name())
        });
        absolute(self.side, location)
    }
}

fn begin(side: &Side, repository: &str, authorization: Option<&str>) -> String {
    let path = format!("/v2/{repository}/blobs/uploads/");
    let answer = side.client.send(Method::POST, &path, authorization, None, Vec::new());
    insist(side, &answer, StatusCode::ACCEPTED);
    absolute(side, &answer.location.unwrap())
}

fn absolute(side: &Side, location: &str) -> String {
    if location.starts_with('/') { side.url(location) } else { location.to_owned() }
}

fn finished(upload: &str, digest: &str) -> String {
    let separator = if upload.contains('?') { '&' } else { '?' };
    format!("{upload}{separator}digest={digest}")
}

fn insist(side: &Side, answer: &Answer, wanted: StatusCode) {
    let said = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status, wanted, "an upload to {}: {said}", side.kind.name());
}
