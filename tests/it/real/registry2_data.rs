//! Tests a data directory shared with Debian's docker-registry (registry:2), in both directions and without
//! conversion.
//!
//! What both serve is compared byte for byte: catalog, tags, digests, media types, manifests and blobs.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use super::skopeo::Skopeo;
use crate::support::{
    ServerDir, ToolCommand,
    daemon::Daemon,
    free_port,
    oci_layout::{OciLayout, digest},
    portcullis_server::{ALICE, PortcullisServer},
    tool_command::require,
};

/// docker-registry over plain HTTP, as behind an nginx.
pub(super) struct OldRegistry {
    _daemon: Daemon,
    pub(super) port: u16,
    home: TempDir,
}

impl OldRegistry {
    pub(super) fn start(root: &Path) -> Self {
        let (port, home) = (free_port::free(), tempfile::tempdir().unwrap());
        let config = home.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nhttp: {{addr: '127.0.0.1:{port}', secret: test}}\n\
             storage: {{filesystem: {{rootdirectory: '{}'}}, delete: {{enabled: true}}}}\n",
            root.display()
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new(require("docker-registry"));
        command.arg("serve").arg(&config);
        let mut daemon = Daemon::start(command, home.path().join("log"));
        daemon.wait_until(Duration::from_secs(20), || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { _daemon: daemon, port, home }
    }

    fn copy(&self, from: &str, name: &str) -> ToolCommand {
        let to = format!("docker://127.0.0.1:{}/{name}", self.port);
        let copy = ToolCommand::new("skopeo").env("HOME", self.home.path());
        copy.args([
            "copy",
            "--all",
            "--preserve-digests",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
            from,
            &to,
        ])
    }

    fn client(&self) -> CurlClient {
        CurlClient::new(format!("http://127.0.0.1:{}", self.port), &[])
    }
}

/// A client of either registry, by curl.
struct CurlClient {
    base: String,
    options: Vec<String>,
    folder: TempDir,
}

struct CurlResponse {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl CurlResponse {
    fn header(&self, name: &str) -> Option<String> {
        let line = |line: &str| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        };
        self.head.lines().find_map(line)
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl CurlClient {
    fn new(base: String, options: &[&str]) -> Self {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        Self { base, options, folder: tempfile::tempdir().unwrap() }
    }

    fn for_server(server: &PortcullisServer) -> Self {
        let ca = server.ca();
        let user = format!("{}:{}", ALICE.name, ALICE.password);
        Self::new(
            format!("https://{}", server.localhost_address()),
            &["--cacert", ca.to_str().unwrap(), "--user", &user],
        )
    }

    fn get(&self, path: &str) -> CurlResponse {
        self.call(&[], path)
    }

    fn call(&self, options: &[&str], path: &str) -> CurlResponse {
        let (head, body) = (self.folder.path().join("head"), self.folder.path().join("body"));
        fs::write(&body, "").unwrap();
        let accept = "Accept: application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                      application/vnd.docker.distribution.manifest.v2+json, */*";
        let curl = ToolCommand::new("curl").args(["--silent", "--show-error", "--http1.1", "--header", accept]);
        let curl = curl.args(&self.options).args(options).args(["--write-out", "%{http_code}"]);
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) };
        let status = curl.arg("--dump-header").arg(&head).arg("--output").arg(&body).arg(url).run_ok().stdout;
        let head = fs::read_to_string(head).unwrap();
        CurlResponse { status: status.trim().parse().unwrap(), head, body: fs::read(body).unwrap() }
    }

    /// Everything that the registry serves: for each repository and tag, the digest, the media type and the document.
    fn all_manifests(&self) -> BTreeMap<String, (String, String, Vec<u8>)> {
        let mut view = BTreeMap::new();
        for name in strings(&self.get("/v2/_catalog").json()["repositories"]) {
            let tags = self.get(&format!("/v2/{name}/tags/list"));
            // registry:2 answers 404 for a repository without tags, and `null` for an empty tag list.
            for tag in strings(tags.json().get("tags").unwrap_or(&Value::Null)) {
                let answer = self.get(&format!("/v2/{name}/manifests/{tag}"));
                assert_eq!(answer.status, 200, "{name}:{tag}");
                let (digest, media_type) = (answer.header("docker-content-digest"), answer.header("content-type"));
                view.insert(format!("{name}:{tag}"), (digest.unwrap(), media_type.unwrap(), answer.body));
            }
        }
        view
    }

    /// Fetches every blob of an image, or of the images of an index, and compares its bytes with its digest.
    fn check_content(&self, name: &str, document: &[u8]) {
        let document: Value = serde_json::from_slice(document).unwrap();
        for child in document["manifests"].as_array().into_iter().flatten() {
            let child = child["digest"].as_str().unwrap();
            let answer = self.get(&format!("/v2/{name}/manifests/{child}"));
            assert_eq!(digest(&answer.body), child);
            self.check_content(name, &answer.body);
        }
        let config = document.get("config").into_iter();
        for blob in config.chain(document["layers"].as_array().into_iter().flatten()) {
            let blob = blob["digest"].as_str().unwrap();
            assert_eq!(digest(&self.get(&format!("/v2/{name}/blobs/{blob}")).body), blob);
        }
    }
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().map(|entry| entry.as_str().unwrap().to_owned()).collect()
}

/// Pushes images, an index and nested names, begins an upload without finishing it, and deletes some of the images.
fn fill(root: &Path, images: &Path) -> (CurlClient, OldRegistry) {
    let old = OldRegistry::start(root);
    let (one, two) =
        (OciLayout::image(&images.join("one"), &[10, 90_000]), OciLayout::index(&images.join("two"), &[5_000]));
    for name in ["app:1", "app:latest", "team/app:v1", "team/deep/er/app:x"] {
        old.copy(&one.reference(), name).run_ok();
    }
    for name in ["team/many:all", "team/app:index", "gone/app:1"] {
        old.copy(&two.reference(), name).run_ok();
    }
    let client = old.client();
    let half = client.call(&["--request", "POST"], "/v2/team/app/blobs/uploads/");
    let place = half.header("location").unwrap();
    let chunk = ["--request", "PATCH", "--header", "Content-Type: application/octet-stream", "--data-binary", "half"];
    assert_eq!(client.call(&chunk, &place).status, 202);
    let deleted = format!("/v2/gone/app/manifests/{}", two.digest);
    assert_eq!(client.call(&["--request", "DELETE"], &deleted).status, 202);
    (client, old)
}

#[test]
fn a_folder_of_registry_2_is_served_in_place() {
    let root = tempfile::tempdir().unwrap();
    let images = tempfile::tempdir().unwrap();
    let (old_client, old) = fill(root.path(), images.path());
    let before = old_client.all_manifests();
    assert_eq!(before.len(), 6, "{:?}", before.keys());
    let catalog = old_client.get("/v2/_catalog").json();
    drop(old);

    let server = ServerDir::new().with_data(root.path()).start();
    let client = CurlClient::for_server(&server);
    assert_eq!(client.all_manifests(), before);
    assert_eq!(client.get("/v2/_catalog").json(), catalog);
    for (image, (_, _, document)) in &before {
        client.check_content(image.split_once(':').unwrap().0, document);
    }
    assert_eq!(client.get("/v2/gone/app/manifests/1").status, 404);
}

#[test]
fn what_we_write_into_its_folder_is_served_by_registry_2() {
    let root = tempfile::tempdir().unwrap();
    let images = tempfile::tempdir().unwrap();
    let (old_client, old) = fill(root.path(), images.path());
    drop((old_client, old));

    let server = ServerDir::new().with_data(root.path()).start();
    let skopeo = Skopeo::signed_in(&server);
    let ours = OciLayout::index(&images.path().join("ours"), &[1, 200_000]);
    for name in ["team/app:ours", "new/name:1", "app:latest"] {
        skopeo.copy(&ours.reference(), &skopeo.remote(name)).run_ok();
    }
    let client = CurlClient::for_server(&server);
    let deleted = client.get("/v2/team/deep/er/app/manifests/x").header("docker-content-digest").unwrap();
    assert_eq!(client.call(&["--request", "DELETE"], &format!("/v2/team/deep/er/app/manifests/{deleted}")).status, 202);
    assert_eq!(client.call(&["--request", "DELETE"], "/v2/app/manifests/1").status, 202);
    let after = client.all_manifests();
    drop(skopeo);
    drop(server);

    let old = OldRegistry::start(root.path());
    let old_client = old.client();
    assert_eq!(old_client.all_manifests(), after);
    for (image, (_, _, document)) in &after {
        old_client.check_content(image.split_once(':').unwrap().0, document);
    }
    let away: PathBuf = images.path().join("away");
    let from = format!("docker://127.0.0.1:{}/new/name:1", old.port);
    let pull = ToolCommand::new("skopeo").args(["copy", "--all", "--src-tls-verify=false", &from]);
    pull.arg(format!("dir:{}", away.display())).run_ok();
}

#[test]
fn an_upload_that_registry_2_began_belongs_to_nobody_here() {
    let root = tempfile::tempdir().unwrap();
    let images = tempfile::tempdir().unwrap();
    drop(fill(root.path(), images.path()));
    let uploads = root.path().join("docker/registry/v2/repositories/team/app/_uploads");
    let half = fs::read_dir(&uploads).unwrap().next().unwrap().unwrap().file_name().into_string().unwrap();

    let server = ServerDir::new().with_data(root.path()).start();
    let client = CurlClient::for_server(&server);
    for method in ["GET", "PATCH", "DELETE"] {
        let answer = client.call(&["--request", method], &format!("/v2/team/app/blobs/uploads/{half}"));
        assert_eq!(answer.status, 404, "{method}");
        assert_eq!(answer.json()["errors"][0]["code"], "BLOB_UPLOAD_UNKNOWN");
    }
    assert!(uploads.join(half).join("data").exists(), "and it is not ours to throw away");
}
