//! Tests that the clients trust the server after `portcullis cert trust --apply`.

use std::fs;
use std::path::Path;

use super::containerd::Containerd;
use super::docker_engine::DockerEngine;
use crate::support::oci_layout::OciLayout;
use crate::support::portcullis_server::{ALICE, portcullis_command};
use crate::support::registry_test_name::{REGISTRY, RegistryTestName};
use crate::support::{PortcullisServer, ServerDir, ToolCommand};

fn trust(server: &PortcullisServer, client: &str, root: Option<&Path>) {
    let tool = portcullis_command()
        .args(["cert", "trust", client, "--apply", "--host", &server.registry_test_address(), "--ca"])
        .arg(server.ca());
    match root {
        Some(root) => tool.arg("--root").arg(root).run_ok(),
        None => tool.run_ok(),
    };
}

#[test]
fn docker_logs_in_once_it_was_made_to_trust_and_not_before() {
    let mut name = RegistryTestName::acquire();
    let server = ServerDir::on_registry_name(&name).start();
    let engine = DockerEngine::start(&name);
    let login = || engine.login(&server.registry_test_address(), ALICE.name, ALICE.password);
    login()
        .run_failing()
        .assert_prints_one_of(&["certificate signed by unknown authority", "failed to verify certificate"]);
    name.remove_at_end(server.port());
    trust(&server, "docker", None);
    login().run_ok();
}

#[test]
fn containerd_pushes_with_the_hosts_file_that_was_written() {
    let name = RegistryTestName::acquire();
    let server = ServerDir::on_registry_name(&name).start();
    let containerd = Containerd::start();
    let root = containerd.folder().join("image");
    let hosts = root.join("etc/containerd/certs.d");
    fs::create_dir_all(&hosts).unwrap();
    let archive =
        OciLayout::image(&containerd.folder().join("layout"), &[2000]).archive(&containerd.folder().join("tar"));
    let image = format!("{REGISTRY}:{}/trusted:1", server.port());
    containerd.images(&["import", "--no-unpack", "--index-name", &image]).arg(&archive).run_ok();
    let credentials = format!("{}:{}", ALICE.name, ALICE.password);
    let push = || containerd.transfer("push", &hosts, Some(&credentials), &image);
    push()
        .run_failing()
        .assert_prints_one_of(&["certificate signed by unknown authority", "failed to verify certificate"]);
    trust(&server, "containerd", Some(&root));
    push().run_ok();
}

#[test]
fn skopeo_logs_in_with_the_folder_that_was_written_for_podman() {
    let name = RegistryTestName::acquire();
    let server = ServerDir::on_registry_name(&name).start();
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("image");
    let folder = root.join("etc/containers/certs.d").join(server.registry_test_address());
    let login = |folder: &Path| {
        let skopeo = ToolCommand::new("skopeo").env("REGISTRY_AUTH_FILE", home.path().join("auth.json"));
        let skopeo = skopeo.args(["login", "--username", ALICE.name, "--password-stdin", "--cert-dir"]).arg(folder);
        skopeo.arg(server.registry_test_address()).input(ALICE.password)
    };
    fs::create_dir_all(&folder).unwrap();
    login(&folder)
        .run_failing()
        .assert_prints_one_of(&["certificate signed by unknown authority", "failed to verify certificate"]);
    trust(&server, "podman", Some(&root));
    login(&folder).run_ok();
}
