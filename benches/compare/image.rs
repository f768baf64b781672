//! Creates images: as a folder that skopeo pushes, and as one small manifest in a registry.

use std::{fs, path::Path};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    contender::Contender,
    load::upload,
    random_blob::{self, RandomBlob},
};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// An image in a folder, in the layout of skopeo's `dir:` transport.
pub(crate) struct ImageFolder {
    folder: TempDir,
    layers: Vec<RandomBlob>,
}

impl ImageFolder {
    /// Creates an image of `layers` layers with `size` random bytes each.
    pub(crate) fn make(folder: TempDir, layers: usize, size: usize) -> Self {
        let layers = RandomBlob::make_many(folder.path(), layers, size);
        fs::write(folder.path().join("version"), "Directory Transport Version: 1.1\n").unwrap();
        let mut image = Self { folder, layers };
        image.randomize();
        image
    }

    /// Changes every layer to one that no server has.
    pub(crate) fn randomize(&mut self) {
        for layer in &mut self.layers {
            layer.randomize();
            layer.rename_to_digest();
        }
        let digests: Vec<&str> = self.layers.iter().map(RandomBlob::digest).collect();
        let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": digests}});
        let config = config.to_string();
        let digest = random_blob::digest(config.as_bytes());
        fs::write(self.folder.path().join(digest.strip_prefix("sha256:").unwrap()), &config).unwrap();
        let layers: Vec<Value> =
            self.layers.iter().map(|layer| descriptor(LAYER, layer.digest(), layer.size())).collect();
        let manifest = manifest(&descriptor(CONFIG, &digest, config.len()), &layers);
        fs::write(self.folder.path().join("manifest.json"), manifest).unwrap();
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// Pushes an image with one small layer, and returns the path of its manifest.
pub(crate) fn put_small(side: &Contender, repository: &str, tag: &str) -> String {
    let authorization = side.authorization(&format!("repository:{repository}:pull,push"));
    let authorization = authorization.as_deref();
    let (config, layer) = (b"{}".to_vec(), b"a layer that is never unpacked".to_vec());
    for bytes in [&config, &layer] {
        upload::push_bytes(side, repository, authorization, bytes);
    }
    let of = |kind: &str, bytes: &[u8]| descriptor(kind, &random_blob::digest(bytes), bytes.len());
    let manifest = manifest(&of(CONFIG, &config), &[of(LAYER, &layer)]);
    let path = format!("/v2/{repository}/manifests/{tag}");
    let answer = side.client.send(Method::PUT, &path, authorization, Some(MANIFEST), manifest.into_bytes());
    assert_eq!(answer.status, StatusCode::CREATED, "a manifest for {}", side.kind.name());
    path
}

fn manifest(config: &Value, layers: &[Value]) -> String {
    json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}).to_string()
}

fn descriptor(kind: &str, digest: &str, size: usize) -> Value {
    json!({"mediaType": kind, "digest": digest, "size": size})
}
