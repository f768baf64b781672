//! A small image goes up, comes down, and goes away again.
//!
//! Invariant: what is pushed is random and has a tag of its own, so it is nobody else's, and no tag of anybody moves.

use bytes::Bytes;
use http::{HeaderName, Method, StatusCode, header};

use super::{
    Fault,
    challenge::local,
    exchange::{Answer, Caller, Question},
    refused::Deed,
};
use crate::oci::{Algorithm, Digest, RepositoryName};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const BYTES: &str = "application/octet-stream";

/// Large enough that a proxy with nginx's limit of 1 MiB refuses it, as it would refuse any layer.
pub(super) const SIZE: usize = 2 << 20;

/// An image in the making, in one repository.
pub(super) struct Image<'a> {
    pub(super) caller: &'a Caller<'a>,
    pub(super) user: Option<&'a str>,
    pub(super) authorization: Option<&'a str>,
    pub(super) repository: &'a RepositoryName,
    layer: Bytes,
    config: Bytes,
    manifest: Bytes,
    tag: String,
}

impl<'a> Image<'a> {
    /// An image around these bytes.
    pub(super) fn new(
        caller: &'a Caller<'a>,
        user: Option<&'a str>,
        authorization: Option<&'a str>,
        repository: &'a RepositoryName,
        layer: Bytes,
    ) -> Self {
        let digest = of(&layer);
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux", "config": {}, "rootfs": { "type": "layers", "diff_ids": [digest.to_string()] }
        });
        let config = Bytes::from(config.to_string());
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": { "mediaType": CONFIG, "size": config.len(), "digest": of(&config).to_string() },
            "layers": [{
                "mediaType": "application/vnd.oci.image.layer.v1.tar", "size": layer.len(), "digest": digest.to_string()
            }],
        });
        let tag = format!("selftest-{}", &digest.hex()[..16]);
        let manifest = Bytes::from(manifest.to_string());
        Self { caller, user, authorization, repository, layer, config, manifest, tag }
    }

    /// Layer, configuration and manifest, as docker and containerd send them.
    pub(super) async fn push(&self) -> Result<String, Fault> {
        self.upload(&self.layer).await?;
        self.upload(&self.config).await?;
        let path = self.path("manifests", &self.tag);
        let answer = self.caller.ask(self.question(Method::PUT, &path).body(MANIFEST, self.manifest.clone())).await?;
        self.expect("push", "PUT", &path, answer, &[StatusCode::CREATED])?;
        Ok(format!("{} bytes to {}:{}", self.layer.len(), self.repository, self.tag))
    }

    async fn upload(&self, bytes: &Bytes) -> Result<(), Fault> {
        let digest = of(bytes).to_string();
        let path = self.path("blobs", &digest);
        let answer = self.caller.ask(self.question(Method::HEAD, &path)).await?;
        if answer.status == StatusCode::OK {
            return Ok(());
        }
        self.expect("push", "HEAD", &path, answer, &[StatusCode::NOT_FOUND])?;

        let path = self.path("blobs", "uploads/");
        let answer = self.caller.ask(self.question(Method::POST, &path)).await?;
        let answer = self.expect("push", "POST", &path, answer, &[StatusCode::ACCEPTED])?;
        let place = self.location(&answer)?;
        let answer = self.caller.ask(self.question(Method::PATCH, &place).body(BYTES, bytes.clone())).await?;
        let answer = self.expect("push", "PATCH", &place, answer, &[StatusCode::ACCEPTED])?;
        let place = self.location(&answer)?;
        let separator = if place.contains('?') { '&' } else { '?' };
        let place = format!("{place}{separator}digest={digest}");
        let answer = self.caller.ask(self.question(Method::PUT, &place)).await?;
        self.expect("push", "PUT", &place, answer, &[StatusCode::CREATED])?;
        Ok(())
    }

    /// Where an upload goes on. A registry that does not know its own address sends clients astray.
    fn location(&self, answer: &Answer) -> Result<String, Fault> {
        let place = answer.header(&header::LOCATION).unwrap_or_default();
        local(place, self.caller.target).ok_or_else(|| {
            Fault::new(
                format!("the upload is to go on at \"{place}\", which is not on {}", self.caller.target),
                "the registry stands behind a proxy and does not know how clients name it; nginx: proxy_set_header Host $http_host; \
                 proxy_set_header X-Forwarded-Proto $scheme;",
            )
        })
    }

    /// The same bytes come back.
    pub(super) async fn pull(&self) -> Result<String, Fault> {
        let path = self.path("manifests", &self.tag);
        let question = self.question(Method::GET, &path).header(header::ACCEPT, MANIFEST);
        let answer = self.caller.ask(question).await?;
        let answer = self.expect("pull", "GET", &path, answer, &[StatusCode::OK])?;
        let kind = answer.header(&header::CONTENT_TYPE).unwrap_or("nothing").to_owned();
        if answer.body != self.manifest {
            return Err(changed(&path));
        }
        if kind != MANIFEST {
            return Err(Fault::new(
                format!("the manifest comes back as {kind}, and was pushed as {MANIFEST}"),
                "a proxy in between changes Content-Type: let it leave the answers of the registry alone",
            ));
        }
        let path = self.path("blobs", &of(&self.layer).to_string());
        let answer = self.caller.ask(self.question(Method::GET, &path)).await?;
        if answer.status.is_redirection() {
            return Ok("the manifest is the same; layers come from elsewhere, and were not fetched".to_owned());
        }
        let answer = self.expect("pull", "GET", &path, answer, &[StatusCode::OK])?;
        if answer.body != self.layer {
            return Err(changed(&path));
        }
        Ok("the same bytes came back".to_owned())
    }

    /// Removes what was pushed. `None` if it went; else why it stays, which is no fault.
    pub(super) async fn delete(&self) -> Result<Option<String>, Fault> {
        let digests = [("manifests", of(&self.manifest)), ("blobs", of(&self.layer)), ("blobs", of(&self.config))];
        for (kind, digest) in digests {
            let path = self.path(kind, &digest.to_string());
            let answer = self.caller.ask(self.question(Method::DELETE, &path)).await?;
            match answer.status {
                StatusCode::ACCEPTED | StatusCode::OK | StatusCode::NO_CONTENT => {}
                StatusCode::UNAUTHORIZED
                | StatusCode::FORBIDDEN
                | StatusCode::METHOD_NOT_ALLOWED
                | StatusCode::NOT_IMPLEMENTED
                | StatusCode::BAD_REQUEST => {
                    let who = self.user.unwrap_or("anonymous");
                    let place = format!("{}:{}", self.repository, self.tag);
                    return Ok(Some(format!(
                        "{who} may not delete here ({}), which is fine: {place} stays",
                        answer.status
                    )));
                }
                _ => {
                    self.expect("delete", "DELETE", &path, answer, &[])?;
                }
            }
        }
        Ok(None)
    }

    fn path(&self, kind: &str, rest: &str) -> String {
        format!("/v2/{}/{kind}/{rest}", self.repository)
    }

    fn question<'b>(&self, method: Method, path: &'b str) -> Question<'b> {
        let question = Question::new(method, path);
        match self.authorization {
            Some(value) => question.header(HeaderName::from_static("authorization"), value),
            None => question,
        }
    }

    fn expect(
        &self,
        action: &str,
        method: &str,
        path: &str,
        answer: Answer,
        fine: &[StatusCode],
    ) -> Result<Answer, Fault> {
        if fine.contains(&answer.status) {
            return Ok(answer);
        }
        // What stands behind the question mark is long, and the session's own affair.
        let path = path.split('?').next().unwrap_or_default();
        let about = Some((action, self.repository.as_str()));
        let deed = Deed { user: self.user, about, request: format!("{method} {path}") };
        Err(deed.refused(&answer))
    }
}

fn changed(path: &str) -> Fault {
    Fault::new(
        format!("GET {path}: other bytes came back than were pushed"),
        "a proxy in between changes or caches answers: let it leave those of the registry alone; else 'portcullis fsck'",
    )
}

fn of(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}
