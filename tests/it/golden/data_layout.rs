//! Compares the files that a push writes with registry:2's layout and the server's additional files.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use serde_json::{Value, json};

use super::assert_golden;
use crate::support::oci_layout::digest;
use crate::support::portcullis_server::ALICE;
use crate::support::registry_client::RegistryClient;
use crate::support::{PortcullisServer, eventually};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const NAME: &str = "team/app";

#[test]
fn a_push_leaves_what_registry_2_would_leave_and_little_else() {
    let server = PortcullisServer::start();
    let client = RegistryClient::new(&server).with_user(&ALICE).with_basic_authorization();
    let mut text = "An image with one layer, tagged v1.\n\n".to_owned();
    let config = push_blob(&client, b"{\"architecture\":\"amd64\",\"os\":\"linux\"}");
    let layer = push_blob(&client, b"a layer");
    let image = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
    let image = push_manifest(&client, &image, "v1");
    text += &listing(&server.data());

    text += "\nA signature of it beside it, by digest.\n\n";
    let before = listing(&server.data());
    let empty = push_blob(&client, b"{}");
    let signature = json!({"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/x.signature",
        "config": empty, "layers": [empty], "subject": image});
    let reference = digest(signature.to_string().as_bytes());
    push_manifest(&client, &signature, &reference);
    text += &added(&before, &listing(&server.data()));

    text += "\nAn upload that was begun, with its first chunk.\n\n";
    let before = listing(&server.data());
    let begun = client.post(&format!("/v2/{NAME}/blobs/uploads/")).send().expect(202);
    client.patch(begun.location()).body(b"half").send().expect(202);
    let id = begun.header("docker-upload-uuid");
    text += &added(&before, &listing(&server.data()).replace(id, "UUID"));

    text += "\nThe tag deleted, the upload cancelled.\n\n";
    client.delete(begun.location()).send().expect(204);
    client.delete(&format!("/v2/{NAME}/manifests/v1")).send().expect(202);
    assert!(eventually(|| !listing(&server.data()).contains("_uploads/")));
    text += &listing(&server.data());
    assert_golden("layout.txt", &text);
}

fn push_blob(client: &RegistryClient, bytes: &[u8]) -> Value {
    let digest = digest(bytes);
    client.post(&format!("/v2/{NAME}/blobs/uploads/?digest={digest}")).body(bytes).send().expect(201);
    json!({"mediaType": "application/octet-stream", "digest": digest, "size": bytes.len()})
}

fn push_manifest(client: &RegistryClient, manifest: &Value, reference: &str) -> Value {
    let text = manifest.to_string();
    let put = client.put(&format!("/v2/{NAME}/manifests/{reference}")).header("content-type", MANIFEST);
    put.body(text.as_bytes()).send().expect(201);
    json!({"mediaType": MANIFEST, "digest": digest(text.as_bytes()), "size": text.len()})
}

/// Every file below a directory with its size, sorted; for a link, its content.
fn listing(root: &Path) -> String {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files.iter().fold(String::new(), |mut text, file| {
        let path = file.strip_prefix(root).unwrap().display();
        if fs::symlink_metadata(file).unwrap().file_type().is_socket() {
            return text + &format!("{path}: socket\n");
        }
        let bytes = fs::read(file).unwrap();
        match file.file_name().and_then(|name| name.to_str()) {
            Some("link") => writeln!(text, "{path}: {}", String::from_utf8(bytes).unwrap()),
            // The size depends on the hash's state and on the time.
            Some("session" | "startedat") => writeln!(text, "{path}"),
            Some(_) | None => writeln!(text, "{path}: {} bytes", bytes.len()),
        }
        .unwrap();
        text
    })
}

/// The lines that are in `after` and not in `before`.
fn added(before: &str, after: &str) -> String {
    let known: Vec<&str> = before.lines().collect();
    after.lines().filter(|line| !known.contains(line)).fold(String::new(), |text, line| text + line + "\n")
}
