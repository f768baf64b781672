//! Makes images without a network: OCI layouts on disk whose layers are random, so that nothing is cached or shared.

use std::fs;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::fill;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{ToolCommand, tar};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// The tag under which a layout holds its image.
pub(crate) const TAG: &str = "made";

/// `sha256:` and the hexadecimal digest of these bytes.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// So many random bytes, new for each call.
pub(crate) fn random_bytes(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fill(&mut bytes).unwrap();
    bytes
}

/// An OCI layout in a directory of its own.
pub(crate) struct OciLayout {
    folder: PathBuf,
    /// The digest of the manifest or index with the tag [`TAG`].
    pub(crate) digest: String,
}

impl OciLayout {
    /// An image for this platform with one layer per size, in bytes.
    pub(crate) fn image(folder: &Path, sizes: &[usize]) -> Self {
        let mut layout = Self::empty(folder);
        let root = layout.add_image(architecture(), sizes);
        layout.finish(&root)
    }

    /// An index with one image for each of two platforms.
    pub(crate) fn index(folder: &Path, sizes: &[usize]) -> Self {
        let mut layout = Self::empty(folder);
        let platforms = ["amd64", "arm64"];
        let manifests: Vec<Value> = platforms.iter().map(|platform| layout.add_image(platform, sizes)).collect();
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        let root = layout.add_json(INDEX, &index);
        layout.finish(&root)
    }

    /// The name of the layout for skopeo and podman.
    pub(crate) fn reference(&self) -> String {
        format!("oci:{}:{TAG}", self.folder.display())
    }

    /// The layout as one archive file, for `ctr images import`.
    pub(crate) fn archive(&self, path: &Path) -> PathBuf {
        ToolCommand::new("tar").arg("-C").arg(&self.folder).arg("-cf").arg(path).arg(".").run_ok();
        path.to_owned()
    }

    fn empty(folder: &Path) -> Self {
        fs::create_dir_all(folder.join("blobs/sha256")).unwrap();
        fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        Self { folder: folder.to_owned(), digest: String::new() }
    }

    fn finish(mut self, root: &Value) -> Self {
        let mut root = root.clone();
        root["annotations"] = json!({"org.opencontainers.image.ref.name": TAG});
        root["digest"].as_str().unwrap().clone_into(&mut self.digest);
        let index = json!({"schemaVersion": 2, "manifests": [root]});
        fs::write(self.folder.join("index.json"), index.to_string()).unwrap();
        self
    }

    /// Adds layers, configuration and manifest; returns the manifest's descriptor with its platform.
    fn add_image(&mut self, architecture: &str, sizes: &[usize]) -> Value {
        let layers: Vec<Value> = sizes.iter().enumerate().map(|(number, size)| self.add_layer(number, *size)).collect();
        let diff_ids: Vec<&Value> = layers.iter().map(|layer| &layer["digest"]).collect();
        let rootfs = json!({"type": "layers", "diff_ids": diff_ids});
        let config = json!({"architecture": architecture, "os": "linux", "config": {}, "rootfs": rootfs});
        let config = self.add_json(CONFIG, &config);
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
        let mut descriptor = self.add_json(MANIFEST, &manifest);
        descriptor["platform"] = json!({"architecture": architecture, "os": "linux"});
        descriptor
    }

    fn add_layer(&mut self, number: usize, size: usize) -> Value {
        self.add(LAYER, &tar::archive(&[(&format!("layer-{number}"), &random_bytes(size))]))
    }

    fn add_json(&mut self, media_type: &str, document: &Value) -> Value {
        self.add(media_type, document.to_string().as_bytes())
    }

    fn add(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = digest(bytes);
        fs::write(self.folder.join("blobs").join(digest.replace(':', "/")), bytes).unwrap();
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }
}

/// This machine's platform in the words of the image specification.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
