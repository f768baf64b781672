//! Tests that the clients trust the server after `portcullis cert trust --apply`.

use std::fs;
use std::path::Path;

use super::containerd::Containerd;
use super::engine::Engine;
use crate::support::image::Layout;
use crate::support::name::{Name, REGISTRY};
use crate::support::portcullis::{ALICE, cli};
use crate::support::{Portcullis, Setup, Tool};

fn trust(server: &Portcullis, client: &str, root: Option<&Path>) {
    let tool = cli().args(["cert", "trust", client, "--apply", "--host", &server.named(), "--ca"]).arg(server.ca());
    match root {
        Some(root) => tool.arg("--root").arg(root).succeeds(),
        None => tool.succeeds(),
    };
}

#[test]
fn docker_logs_in_once_it_was_made_to_trust_and_not_before() {
    let mut name = Name::take();
    let server = Setup::new().on_registry_name(&name).start();
    let engine = Engine::start(&name);
    let login = || engine.login(&server.named(), ALICE.name, ALICE.password);
    login().fails().says_one_of(&["certificate signed by unknown authority", "failed to verify certificate"]);
    name.forget(server.port());
    trust(&server, "docker", None);
    login().succeeds();
}

#[test]
fn containerd_pushes_with_the_hosts_file_that_was_written() {
    let name = Name::take();
    let server = Setup::new().on_registry_name(&name).start();
    let containerd = Containerd::start();
    let root = containerd.folder().join("image");
    let hosts = root.join("etc/containerd/certs.d");
    fs::create_dir_all(&hosts).unwrap();
    let archive = Layout::image(&containerd.folder().join("layout"), &[2000]).archive(&containerd.folder().join("tar"));
    let image = format!("{REGISTRY}:{}/trusted:1", server.port());
    containerd.images(&["import", "--no-unpack", "--index-name", &image]).arg(&archive).succeeds();
    let credentials = format!("{}:{}", ALICE.name, ALICE.password);
    let push = || containerd.transfer("push", &hosts, Some(&credentials), &image);
    push().fails().says_one_of(&["certificate signed by unknown authority", "failed to verify certificate"]);
    trust(&server, "containerd", Some(&root));
    push().succeeds();
}

#[test]
fn skopeo_logs_in_with_the_folder_that_was_written_for_podman() {
    let name = Name::take();
    let server = Setup::new().on_registry_name(&name).start();
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("image");
    let folder = root.join("etc/containers/certs.d").join(server.named());
    let login = |folder: &Path| {
        let skopeo = Tool::new("skopeo").env("REGISTRY_AUTH_FILE", home.path().join("auth.json"));
        let skopeo = skopeo.args(["login", "--username", ALICE.name, "--password-stdin", "--cert-dir"]).arg(folder);
        skopeo.arg(server.named()).input(ALICE.password)
    };
    fs::create_dir_all(&folder).unwrap();
    login(&folder).fails().says_one_of(&["certificate signed by unknown authority", "failed to verify certificate"]);
    trust(&server, "podman", Some(&root));
    login(&folder).succeeds();
}
