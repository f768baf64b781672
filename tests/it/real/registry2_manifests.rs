//! Tests manifests as other programs write them: documents that registry:2 accepts are accepted here, unless clients
//! would read them differently, and its stored documents survive garbage collection.

use std::{fmt::Write as _, fs, sync::Arc};

use http::Method;
use serde_json::{Value, json};

use super::registry2_data::OldRegistry;
use crate::support::{
    PortcullisServer, ServerDir, make_old,
    oci_layout::digest,
    portcullis_server::{ALICE, portcullis_command},
    registry_client::RegistryClient,
    seeded_random::SeededRandom,
};

const KINDS: [&str; 4] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

const INDEX: &str = KINDS[1];

const BLOBS: [&[u8]; 3] = [b"{}", b"layer one", b"layer two"];

/// A client of registry:2 over plain HTTP.
struct OldRegistryClient {
    runtime: tokio::runtime::Runtime,
    http: reqwest::Client,
    origin: String,
}

impl OldRegistryClient {
    fn new(registry: &OldRegistry) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { runtime, http, origin: format!("http://127.0.0.1:{}", registry.port) }
    }

    /// Sends a request; returns status, `Location` and body.
    fn ask(&self, method: Method, path: &str, media_type: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.origin) };
        let request = self.http.request(method, url).header("content-type", media_type).body(body.to_vec());
        self.runtime.block_on(async {
            let answer = request.send().await.unwrap();
            let location = answer.headers().get("location").and_then(|value| value.to_str().ok()).unwrap_or_default();
            let location = location.to_owned();
            (answer.status().as_u16(), location, answer.bytes().await.unwrap().to_vec())
        })
    }

    fn push(&self, name: &str, content: &[u8]) -> String {
        let (_, place, _) = self.ask(Method::POST, &format!("/v2/{name}/blobs/uploads/"), "", b"");
        let digest = digest(content);
        let closing = format!("{place}&digest={digest}");
        assert_eq!(self.ask(Method::PUT, &closing, "application/octet-stream", content).0, 201);
        digest
    }

    fn put(&self, name: &str, media_type: &str, document: &[u8]) -> u16 {
        self.ask(Method::PUT, &format!("/v2/{name}/manifests/t"), media_type, document).0
    }
}

fn push(client: &RegistryClient, name: &str, content: &[u8]) {
    let path = format!("/v2/{name}/blobs/uploads/?digest={}", digest(content));
    client.post(&path).body(content).send().expect(201);
}

/// A replacement for a field's value; `None` removes the field.
type Replacement = Option<Value>;

fn descriptor(chance: &mut SeededRandom) -> Value {
    let blob = BLOBS[chance.below(BLOBS.len())];
    let mut descriptor =
        json!({"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest(blob), "size": blob.len()});
    let fields: [(&str, &[Replacement]); 9] = [
        (
            "mediaType",
            &[None, Some(Value::Null), Some(json!("")), Some(json!("text/plain; charset=utf-8")), Some(json!("json"))],
        ),
        ("size", &[None, Some(Value::Null), Some(json!(0)), Some(json!(-1))]),
        ("urls", &[Some(Value::Null), Some(json!([])), Some(json!(["https://example.com/layer"]))]),
        ("annotations", &[Some(Value::Null), Some(json!({})), Some(json!({"a": "b"})), Some(json!({"a": null}))]),
        ("data", &[Some(Value::Null), Some(json!("bm90IGl0"))]),
        ("artifactType", &[Some(Value::Null), Some(json!("")), Some(json!("a/b"))]),
        ("platform", &[Some(Value::Null), Some(json!({})), Some(json!({"os": "linux", "architecture": "amd64"}))]),
        ("Digest", &[Some(json!(digest(blob)))]),
        ("unknown", &[Some(json!([1])), Some(Value::Null)]),
    ];
    change(&mut descriptor, &fields, 25, chance);
    descriptor
}

fn document(kind: &str, chance: &mut SeededRandom) -> Value {
    let mut document = json!({"schemaVersion": 2, "mediaType": kind});
    let entries: Vec<Value> = (0..chance.below(3)).map(|_| descriptor(chance)).collect();
    if kind.contains("index") || kind.contains("list") {
        document["manifests"] = json!(entries);
    } else {
        document["config"] = descriptor(chance);
        document["layers"] = json!(entries);
    }
    let fields: [(&str, &[Replacement]); 10] = [
        ("mediaType", &[None, Some(Value::Null), Some(json!("")), Some(json!(KINDS[chance.below(4)]))]),
        ("config", &[None, Some(Value::Null), Some(descriptor(chance))]),
        ("layers", &[None, Some(Value::Null), Some(json!([])), Some(json!([descriptor(chance)]))]),
        ("manifests", &[None, Some(Value::Null), Some(json!([])), Some(json!([descriptor(chance)]))]),
        ("subject", &[Some(Value::Null), Some(descriptor(chance))]),
        ("annotations", &[Some(Value::Null), Some(json!({})), Some(json!({"a": "b"})), Some(json!({"a": null}))]),
        ("artifactType", &[Some(Value::Null), Some(json!("")), Some(json!("a/b"))]),
        ("history", &[Some(Value::Null), Some(json!([]))]),
        ("fsLayers", &[Some(Value::Null), Some(json!([]))]),
        ("Layers", &[Some(Value::Null), Some(json!([descriptor(chance)]))]),
    ];
    change(&mut document, &fields, 12, chance);
    document
}

/// Changes each of the fields in one of `one_in` cases.
fn change(object: &mut Value, fields: &[(&str, &[Replacement])], one_in: usize, chance: &mut SeededRandom) {
    for (field, others) in fields {
        if chance.one_in(one_in) {
            let object = object.as_object_mut().unwrap();
            match chance.pick(others).unwrap() {
                Some(other) => object.insert((*field).to_owned(), other),
                None => object.remove(*field),
            };
        }
    }
}

/// Reasons for which a document that registry:2 accepts may be refused here: clients would not agree about it.
const REASONS: [&str; 5] = [
    "is both an image",
    "written in the wrong case",
    "does not match its digest and size",
    // A negative size.
    "expected u64",
    // Without `mediaType` and `manifests`, a stored index looks like an image.
    "the field \"manifests\" is missing",
];

/// `DOCUMENTS` sets the number of documents, `SEED` the seed.
#[test]
fn what_registry_2_takes_is_taken_unless_clients_would_disagree_about_it() {
    let number = |name: &str, usual: u64| std::env::var(name).map_or(usual, |text| text.parse().unwrap());
    let (count, seed) = (number("DOCUMENTS", 2000), number("SEED", 1));
    let (root, server) = (tempfile::tempdir().unwrap(), PortcullisServer::start());
    let registry = OldRegistry::start(root.path());
    let (old, client) = (
        OldRegistryClient::new(&registry),
        RegistryClient::new(&server).with_user(&ALICE).with_token_for(&["repository:a/b:pull,push"]),
    );
    for blob in BLOBS {
        old.push("a/b", blob);
        push(&client, "a/b", blob);
    }
    let mut chance = SeededRandom::new(seed, 0);
    let (mut both, mut output) = (0, String::new());
    for _ in 0..count {
        let kind = KINDS[chance.below(KINDS.len())];
        let text = document(kind, &mut chance).to_string();
        if old.put("a/b", kind, text.as_bytes()) != 201 {
            continue;
        }
        let answer = client.put("/v2/a/b/manifests/t").header("content-type", kind).body(text.as_bytes()).send();
        if answer.status.as_u16() == 201 {
            both += 1;
            let read = client.get("/v2/a/b/manifests/t").send().expect(200);
            assert_eq!((read.header("content-type"), &*read.body), (kind, text.as_bytes()), "seed {seed}");
            continue;
        }
        let message = answer.json()["errors"][0]["message"].as_str().unwrap().to_owned();
        if !REASONS.iter().any(|reason| message.contains(reason)) {
            writeln!(output, "{} {message}\n  {text}", answer.status).unwrap();
        }
    }
    assert!(output.is_empty(), "seed {seed}: registry:2 takes these:\n{output}");
    assert!(both > count / 4, "only {both} of {count} were taken by both");
}

/// An index whose entries are layers and their description, as `BuildKit` writes its cache.
fn build_cache(blobs: &[(&str, &[u8])]) -> String {
    let entry = |(media_type, content): &(&str, &[u8])| json!({"mediaType": media_type, "digest": digest(content), "size": content.len()});
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": blobs.iter().map(entry).collect::<Vec<_>>()})
        .to_string()
}

const CACHE: [(&str, &[u8]); 2] = [
    ("application/vnd.oci.image.layer.v1.tar+gzip", b"layer bytes"),
    ("application/vnd.buildkit.cacheconfig.v0", br#"{"layers":[]}"#),
];

#[test]
fn a_build_cache_that_registry_2_stored_outlives_a_collection_and_is_sound() {
    let root = tempfile::tempdir().unwrap();
    let registry = OldRegistry::start(root.path());
    let old = OldRegistryClient::new(&registry);
    for (_, blob) in CACHE {
        old.push("team/cache", blob);
    }
    let orphan = old.push("team/cache", b"in no document");
    assert_eq!(old.put("team/cache", INDEX, build_cache(&CACHE).as_bytes()), 201);
    drop(registry);
    make_old(root.path());

    let server = ServerDir::new().with_data(root.path()).start();
    let tool = |command: &str| portcullis_command().folder(root.path()).arg(command).arg("--data").arg(root.path());
    tool("fsck").run_ok().assert_prints_one_of(&["\"findings\":[]"]);
    tool("gc").run_ok().assert_prints_one_of(&[&orphan]);
    let client = RegistryClient::new(&server).with_user(&ALICE).with_basic_authorization();
    let blob = |digest: &str| client.head(&format!("/v2/team/cache/blobs/{digest}")).send().status.as_u16();
    for (_, content) in CACHE {
        assert_eq!(blob(&digest(content)), 200);
    }
    assert_eq!(blob(&orphan), 404);
}

#[test]
fn a_build_cache_is_pushed_and_pulled_byte_for_byte() {
    let server = PortcullisServer::start();
    let client = RegistryClient::new(&server).with_user(&ALICE).with_basic_authorization();
    let text = build_cache(&CACHE);
    let put = || client.put("/v2/team/cache/manifests/t").header("content-type", INDEX).body(text.as_bytes()).send();
    put().expect_error(400, "MANIFEST_BLOB_UNKNOWN");
    for (_, blob) in CACHE {
        push(&client, "team/cache", blob);
    }
    put().expect(201);
    let read = client.get("/v2/team/cache/manifests/t").send().expect(200);
    assert_eq!((read.header("content-type"), &*read.body), (INDEX, text.as_bytes()));
}

#[test]
fn one_corrupt_tag_link_leaves_its_repository_out_and_is_named() {
    let root = Arc::new(tempfile::tempdir().unwrap());
    let server = ServerDir::new().with_data(root.path()).start();
    let client = RegistryClient::new(&server).with_user(&ALICE).with_basic_authorization();
    for name in ["broken", "whole"] {
        for (_, blob) in CACHE {
            push(&client, name, blob);
        }
        push(&client, name, format!("in no document of {name}").as_bytes());
        let path = format!("/v2/{name}/manifests/t");
        client.put(&path).header("content-type", INDEX).body(build_cache(&CACHE).as_bytes()).send().expect(201);
    }
    let link = root.path().join("docker/registry/v2/repositories/broken/_manifests/tags/t/current/link");
    fs::write(&link, "no digest").unwrap();
    make_old(root.path());
    let gc = portcullis_command().folder(root.path()).args(["gc", "--data"]).arg(root.path()).run_ok();
    assert!(gc.stdout.contains("broken  -  left out: tag t cannot be read"), "{gc}");
    assert!(gc.stderr.contains("warning: repository broken") && gc.stderr.contains("hint: `portcullis fsck`"), "{gc}");
    let log = server.log();
    assert!(log.contains("repository left out of the garbage collection") && log.contains("broken"), "{log}");
    let blob = |name: &str, content: &str| {
        client.head(&format!("/v2/{name}/blobs/{}", digest(content.as_bytes()))).send().status.as_u16()
    };
    assert_eq!(blob("broken", "in no document of broken"), 200);
    assert_eq!(blob("whole", "in no document of whole"), 404);
}
