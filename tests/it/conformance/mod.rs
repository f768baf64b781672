//! Tests the registry protocol over TLS and with bearer tokens, one test for each statement of the specifications.
//!
//! The statements come from the OCI distribution specification, the Docker token specification, and from what the
//! Docker Engine, containerd, podman, skopeo and crane do in practice. Wherever content has a digest, both algorithms
//! are tried.

mod bearer_tokens;
mod blobs;
mod catalog;
mod challenges;
mod chunked_uploads;
mod invalid_manifests;
mod manifest_deletion;
mod manifest_references;
mod manifests;
mod mounts;
mod ranges;
mod referrers;
mod repository_deletion;
mod responses;
mod search;
mod tags;
pub(crate) mod token_contents;
mod token_endpoint;
mod upload_sessions;
mod uploads;

use std::fmt::Write as _;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};

use crate::support::portcullis_server::{ALICE, TestUser};
use crate::support::registry_client::{ClientResponse, RegistryClient};
use crate::support::{PortcullisServer, ServerDir};

/// The repository that most tests use.
const NAME: &str = "team/app";

/// A second repository.
const OTHER: &str = "team/other";

/// The scopes for all actions in both repositories.
const SCOPES: &[&str] = &["repository:team/app:pull,push,delete", "repository:team/other:pull,push,delete"];

/// A second user.
const BOB: TestUser = TestUser { name: "bob", password: "the builder, as it happens" };

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// The digest functions of all algorithms.
const ALGORITHMS: [fn(&[u8]) -> String; 2] = [sha256, sha512];

fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

fn sha512(bytes: &[u8]) -> String {
    format!("sha512:{}", hex(&Sha512::digest(bytes)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// A running server with the users Alice and Bob.
struct ConformanceServer {
    server: PortcullisServer,
    /// Alice, with a token for [`SCOPES`].
    alice: RegistryClient,
}

impl ConformanceServer {
    /// Starts a server without rules, which allows every signed-in user everything.
    fn start() -> Self {
        Self::configured("")
    }

    /// Starts a server with this configuration.
    fn configured(text: &str) -> Self {
        let server = ServerDir::new().with_users(&[ALICE, BOB]).with_configuration(text).start();
        let alice = RegistryClient::new(&server).with_user(&ALICE);
        let alice = if text.contains("challenge = \"basic\"") {
            alice.with_basic_authorization()
        } else {
            alice.with_token_for(SCOPES)
        };
        Self { server, alice }
    }

    /// Bob, with a token for [`SCOPES`].
    fn bob_client(&self) -> RegistryClient {
        RegistryClient::new(&self.server).with_user(&BOB).with_token_for(SCOPES)
    }

    /// A client without credentials.
    fn anonymous_client(&self) -> RegistryClient {
        RegistryClient::new(&self.server)
    }
}

/// The path of a blob.
fn blob(digest: &str) -> String {
    format!("/v2/{NAME}/blobs/{digest}")
}

/// The path of a manifest.
fn manifest(reference: &str) -> String {
    format!("/v2/{NAME}/manifests/{reference}")
}

/// The path at which uploads begin.
const UPLOADS: &str = "/v2/team/app/blobs/uploads/";

/// Uploads a blob in one request.
fn push_blob(client: &RegistryClient, name: &str, bytes: &[u8], digest: &str) {
    client.post(&format!("/v2/{name}/blobs/uploads/?digest={digest}")).body(bytes).send().expect(201);
}

/// Begins an upload session.
fn begin(client: &RegistryClient) -> ClientResponse {
    client.post(UPLOADS).send().expect(202)
}

/// The descriptor of some content, with its digest computed by `digest_of`.
fn descriptor(media_type: &str, bytes: &[u8], digest_of: fn(&[u8]) -> String) -> Value {
    json!({"mediaType": media_type, "digest": digest_of(bytes), "size": bytes.len()})
}

/// Pushes config and layer of an image to `name` and returns its manifest; `mark`, in its annotations, makes it
/// unique.
fn image(client: &RegistryClient, name: &str, mark: &str) -> Value {
    image_with(client, name, mark, sha256)
}

fn image_with(client: &RegistryClient, name: &str, mark: &str, digest_of: fn(&[u8]) -> String) -> Value {
    let (config, layer) = (b"{}".as_slice(), b"a layer".as_slice());
    push_blob(client, name, config, &digest_of(config));
    push_blob(client, name, layer, &digest_of(layer));
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, config, digest_of),
        "layers": [descriptor(LAYER, layer, digest_of)],
        "annotations": {"mark": mark},
    })
}

/// Puts a document under `reference`, with its own `mediaType` as the content type.
fn put(client: &RegistryClient, name: &str, reference: &str, document: &Value) -> ClientResponse {
    let media_type = document["mediaType"].as_str().unwrap();
    let path = format!("/v2/{name}/manifests/{reference}");
    client.put(&path).header("content-type", media_type).body(document.to_string().as_bytes()).send()
}

/// Puts an image under a tag of [`NAME`] and returns the manifest's bytes.
fn push_tagged(client: &RegistryClient, tag: &str) -> Vec<u8> {
    let document = image(client, NAME, tag);
    put(client, NAME, tag, &document).expect(201);
    document.to_string().into_bytes()
}

/// Bytes that differ from their neighbours.
fn counting(length: usize) -> Vec<u8> {
    (0..length).map(|index| u8::try_from(index % 251).unwrap()).collect()
}

/// The digest of content that no repository has.
fn absent_digest(digest_of: fn(&[u8]) -> String) -> String {
    digest_of(b"absent content")
}

/// Asserts that the blob `digest` is `bytes`, and that the answer gives its location.
fn check_stored(client: &RegistryClient, answer: ClientResponse, bytes: &[u8], digest: &str) {
    let answer = answer.expect(201);
    assert_eq!(answer.location(), blob(digest));
    assert_eq!(answer.header("docker-content-digest"), digest);
    assert_eq!(client.get(answer.location()).send().expect(200).body, bytes);
}

fn chunk(client: &RegistryClient, to: &ClientResponse, range: &str, bytes: &[u8]) -> ClientResponse {
    client.patch(to.location()).header("content-range", range).body(bytes).send()
}

fn close(client: &RegistryClient, at: &ClientResponse, digest: &str) -> ClientResponse {
    client.put(&at.location_with(&format!("digest={digest}"))).body(b"").send()
}

/// Puts a manifest of this text without changing it.
fn put_text(client: &RegistryClient, reference: &str, media_type: &str, text: &str) -> ClientResponse {
    client.put(&manifest(reference)).header("content-type", media_type).body(text.as_bytes()).send()
}
