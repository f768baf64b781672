//! Pushes a small random image, pulls it, compares the bytes, and deletes it.
//!
//! Invariant: the image is random and has a tag derived from its digest, so that the test touches no other image and
//! moves no existing tag.

use bytes::Bytes;
use http::{HeaderName, Method, StatusCode, header};

use super::{
    Diagnosis,
    challenge::path_on_target,
    failed_request::FailedRequest,
    http_client::{RegistryRequest, RegistryResponse, SelfTestClient},
};
use portcullis_oci::{Algorithm, Digest, RepositoryName};

const MANIFEST_MEDIA_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_MEDIA_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_CONTENT_TYPE: &str = "application/octet-stream";

/// The size of the layer in bytes: more than nginx's default body limit of 1 MiB, which rejects real layers as well.
pub(super) const LAYER_BYTES: usize = 2 << 20;

/// The image of the test in one repository, with the credentials for its requests.
pub(super) struct TestImage<'a> {
    pub(super) caller: &'a SelfTestClient<'a>,
    pub(super) user: Option<&'a str>,
    pub(super) authorization: Option<&'a str>,
    pub(super) repository: &'a RepositoryName,
    layer: Bytes,
    config: Bytes,
    manifest: Bytes,
    tag: String,
}

impl<'a> TestImage<'a> {
    /// Creates an image with one layer of these bytes.
    pub(super) fn new(
        caller: &'a SelfTestClient<'a>,
        user: Option<&'a str>,
        authorization: Option<&'a str>,
        repository: &'a RepositoryName,
        layer: Bytes,
    ) -> Self {
        let digest = sha256(&layer);
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux", "config": {}, "rootfs": { "type": "layers", "diff_ids": [digest.to_string()] }
        });
        let config = Bytes::from(config.to_string());
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_MEDIA_TYPE,
            "config": { "mediaType": CONFIG_MEDIA_TYPE, "size": config.len(), "digest": sha256(&config).to_string() },
            "layers": [{
                "mediaType": "application/vnd.oci.image.layer.v1.tar", "size": layer.len(), "digest": digest.to_string()
            }],
        });
        let tag = format!("selftest-{}", &digest.hex()[..16]);
        let manifest = Bytes::from(manifest.to_string());
        Self { caller, user, authorization, repository, layer, config, manifest, tag }
    }

    /// Pushes layer, configuration and manifest with the same requests as docker and containerd.
    pub(super) async fn push(&self) -> Result<String, Diagnosis> {
        self.upload(&self.layer).await?;
        self.upload(&self.config).await?;
        let path = self.path("manifests", &self.tag);
        let answer = self
            .caller
            .send(self.authorized_request(Method::PUT, &path).body(MANIFEST_MEDIA_TYPE, self.manifest.clone()))
            .await?;
        self.expect_status("push", "PUT", &path, answer, &[StatusCode::CREATED])?;
        Ok(format!("{} bytes to {}:{}", self.layer.len(), self.repository, self.tag))
    }

    async fn upload(&self, bytes: &Bytes) -> Result<(), Diagnosis> {
        let digest = sha256(bytes).to_string();
        let path = self.path("blobs", &digest);
        let answer = self.caller.send(self.authorized_request(Method::HEAD, &path)).await?;
        if answer.status == StatusCode::OK {
            return Ok(());
        }
        self.expect_status("push", "HEAD", &path, answer, &[StatusCode::NOT_FOUND])?;

        let path = self.path("blobs", "uploads/");
        let answer = self.caller.send(self.authorized_request(Method::POST, &path)).await?;
        let answer = self.expect_status("push", "POST", &path, answer, &[StatusCode::ACCEPTED])?;
        let place = self.location(&answer)?;
        let answer = self
            .caller
            .send(self.authorized_request(Method::PATCH, &place).body(LAYER_CONTENT_TYPE, bytes.clone()))
            .await?;
        let answer = self.expect_status("push", "PATCH", &place, answer, &[StatusCode::ACCEPTED])?;
        let place = self.location(&answer)?;
        let separator = if place.contains('?') { '&' } else { '?' };
        let place = format!("{place}{separator}digest={digest}");
        let answer = self.caller.send(self.authorized_request(Method::PUT, &place)).await?;
        self.expect_status("push", "PUT", &place, answer, &[StatusCode::CREATED])?;
        Ok(())
    }

    /// The path of the upload session from the `Location` header. It must be on the registry itself: a registry that
    /// does not know its external name sends clients to another host.
    fn location(&self, answer: &RegistryResponse) -> Result<String, Diagnosis> {
        let place = answer.header(&header::LOCATION).unwrap_or_default();
        path_on_target(place, self.caller.target).ok_or_else(|| {
            Diagnosis::new(
                format!("the Location of the upload is \"{place}\", which is not on {}", self.caller.target),
                "the registry is behind a proxy and does not know the name that clients use; nginx: proxy_set_header Host $http_host; \
                 proxy_set_header X-Forwarded-Proto $scheme;",
            )
        })
    }

    /// Pulls manifest and layer, and compares them with the pushed bytes.
    pub(super) async fn pull(&self) -> Result<String, Diagnosis> {
        let path = self.path("manifests", &self.tag);
        let question = self.authorized_request(Method::GET, &path).header(header::ACCEPT, MANIFEST_MEDIA_TYPE);
        let answer = self.caller.send(question).await?;
        let answer = self.expect_status("pull", "GET", &path, answer, &[StatusCode::OK])?;
        let kind = answer.header(&header::CONTENT_TYPE).unwrap_or("nothing").to_owned();
        if answer.body != self.manifest {
            return Err(content_mismatch(&path));
        }
        if kind != MANIFEST_MEDIA_TYPE {
            return Err(Diagnosis::new(
                format!("the manifest is returned as {kind}, and was pushed as {MANIFEST_MEDIA_TYPE}"),
                "a proxy in between changes Content-Type: let it pass the responses of the registry on unchanged",
            ));
        }
        let path = self.path("blobs", &sha256(&self.layer).to_string());
        let answer = self.caller.send(self.authorized_request(Method::GET, &path)).await?;
        if answer.status.is_redirection() {
            return Ok("the manifest is the same; layers are on another server, and were not fetched".to_owned());
        }
        let answer = self.expect_status("pull", "GET", &path, answer, &[StatusCode::OK])?;
        if answer.body != self.layer {
            return Err(content_mismatch(&path));
        }
        Ok("the pulled bytes are the pushed ones".to_owned())
    }

    /// Deletes the pushed image. Returns `None` if it was deleted, or the reason why it stays, which is no fault.
    pub(super) async fn delete(&self) -> Result<Option<String>, Diagnosis> {
        let digests =
            [("manifests", sha256(&self.manifest)), ("blobs", sha256(&self.layer)), ("blobs", sha256(&self.config))];
        for (kind, digest) in digests {
            let path = self.path(kind, &digest.to_string());
            let answer = self.caller.send(self.authorized_request(Method::DELETE, &path)).await?;
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
                    self.expect_status("delete", "DELETE", &path, answer, &[])?;
                }
            }
        }
        Ok(None)
    }

    fn path(&self, kind: &str, rest: &str) -> String {
        format!("/v2/{}/{kind}/{rest}", self.repository)
    }

    fn authorized_request<'b>(&self, method: Method, path: &'b str) -> RegistryRequest<'b> {
        let question = RegistryRequest::new(method, path);
        match self.authorization {
            Some(value) => question.header(HeaderName::from_static("authorization"), value),
            None => question,
        }
    }

    fn expect_status(
        &self,
        action: &str,
        method: &str,
        path: &str,
        answer: RegistryResponse,
        fine: &[StatusCode],
    ) -> Result<RegistryResponse, Diagnosis> {
        if fine.contains(&answer.status) {
            return Ok(answer);
        }
        // The query of an upload session is long and of no use in a message.
        let path = path.split('?').next().unwrap_or_default();
        let about = Some((action, self.repository.as_str()));
        let deed = FailedRequest { user: self.user, about, request: format!("{method} {path}") };
        Err(deed.diagnose(&answer))
    }
}

fn content_mismatch(path: &str) -> Diagnosis {
    Diagnosis::new(
        format!("GET {path}: the pulled bytes differ from the pushed ones"),
        "a proxy in between may change or cache responses: let it pass them on unchanged; if there is none, run 'portcullis fsck'",
    )
}

fn sha256(bytes: &[u8]) -> Digest {
    Digest::compute(Algorithm::Sha256, bytes)
}
