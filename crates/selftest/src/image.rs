//! Pushes a small random image, pulls it, compares the bytes, and deletes it.
//!
//! Invariant: the image is random and has a tag derived from its digest, so that the test touches no other image and
//! moves no existing tag.

use bytes::Bytes;
use http::{HeaderName, Method, StatusCode, header};

use super::{
    Fault,
    challenge::local,
    exchange::{Answer, Caller, Question},
    refused::Deed,
};
use portcullis_oci::{Algorithm, Digest, RepositoryName};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const BYTES: &str = "application/octet-stream";

/// The size of the layer in bytes: more than nginx's default body limit of 1 MiB, which rejects real layers as well.
pub(super) const SIZE: usize = 2 << 20;

/// The image of the test in one repository, with the credentials for its requests.
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
    /// Creates an image with one layer of these bytes.
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

    /// Pushes layer, configuration and manifest with the same requests as docker and containerd.
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

    /// The path of the upload session from the `Location` header. It must be on the registry itself: a registry that
    /// does not know its external name sends clients to another host.
    fn location(&self, answer: &Answer) -> Result<String, Fault> {
        let place = answer.header(&header::LOCATION).unwrap_or_default();
        local(place, self.caller.target).ok_or_else(|| {
            Fault::new(
                format!("the Location of the upload is \"{place}\", which is not on {}", self.caller.target),
                "the registry is behind a proxy and does not know the name that clients use; nginx: proxy_set_header Host $http_host; \
                 proxy_set_header X-Forwarded-Proto $scheme;",
            )
        })
    }

    /// Pulls manifest and layer, and compares them with the pushed bytes.
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
                format!("the manifest is returned as {kind}, and was pushed as {MANIFEST}"),
                "a proxy in between changes Content-Type: let it pass the responses of the registry on unchanged",
            ));
        }
        let path = self.path("blobs", &of(&self.layer).to_string());
        let answer = self.caller.ask(self.question(Method::GET, &path)).await?;
        if answer.status.is_redirection() {
            return Ok("the manifest is the same; layers are on another server, and were not fetched".to_owned());
        }
        let answer = self.expect("pull", "GET", &path, answer, &[StatusCode::OK])?;
        if answer.body != self.layer {
            return Err(changed(&path));
        }
        Ok("the pulled bytes are the pushed ones".to_owned())
    }

    /// Deletes the pushed image. Returns `None` if it was deleted, or the reason why it stays, which is no fault.
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
        // The query of an upload session is long and of no use in a message.
        let path = path.split('?').next().unwrap_or_default();
        let about = Some((action, self.repository.as_str()));
        let deed = Deed { user: self.user, about, request: format!("{method} {path}") };
        Err(deed.refused(&answer))
    }
}

fn changed(path: &str) -> Fault {
    Fault::new(
        format!("GET {path}: the pulled bytes differ from the pushed ones"),
        "a proxy in between may change or cache responses: let it pass them on unchanged; if there is none, run 'portcullis fsck'",
    )
}

fn of(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}
