//! Tests anonymous pull with signed-in push, and searches, with every client program.
//!
//! The ping is still answered with 401, so each client fetches an anonymous token for public images, and must sign in
//! for the rest.

use std::fs;

use super::containerd::{Containerd, write_hosts};
use super::docker_engine::DockerEngine;
use super::podman::Podman;
use super::skopeo::Skopeo;
use crate::support::oci_layout::{OciLayout, random_bytes};
use crate::support::portcullis_server::ALICE;
use crate::support::registry_test_name::RegistryTestName;
use crate::support::{PortcullisServer, ServerDir};

/// The first matching rule decides, so alice's comes first.
const RULES: &str = r#"
[[access]]
users        = ["alice"]
repositories = ["**"]
actions      = ["pull", "push"]

[[access]]
users        = ["anonymous", "*"]
repositories = ["public/**"]
actions      = ["pull"]
"#;

/// Pushes a public and a private image as alice.
fn fill(server: &PortcullisServer) -> OciLayout {
    let skopeo = Skopeo::signed_in(server);
    let image = OciLayout::image(&skopeo.folder("image"), &[100, 50_000]);
    for name in ["public/app:1", "team/secret:1"] {
        skopeo.copy(&image.reference(), &skopeo.remote(name)).run_ok();
    }
    image
}

const SIGN_IN: &[&str] =
    &["unauthorized", "authentication required", "no basic auth credentials", "denied", "authorization failed", "401"];

/// Asserts that skopeo pulls the public image of [`fill`], and needs a password for the private one and to push.
fn assert_skopeo_signs_in_for_all_but_the_public(server: &PortcullisServer, image: &OciLayout) {
    let nobody = Skopeo::new(server);
    let copied = format!("oci:{}", nobody.folder("copy").display());
    nobody.copy(&nobody.remote("public/app:1"), &copied).run_ok();
    let index = fs::read_to_string(nobody.folder("copy").join("index.json")).unwrap();
    assert!(index.contains(&image.digest), "the same image should arrive");
    nobody.copy(&nobody.remote("team/secret:1"), &copied).run_failing().assert_prints_one_of(SIGN_IN);
    nobody.copy(&copied, &nobody.remote("public/app:2")).run_failing().assert_prints_one_of(SIGN_IN);
}

#[test]
fn skopeo_pulls_what_is_public_and_signs_in_for_the_rest() {
    let server = ServerDir::new().with_configuration(RULES).start();
    assert_skopeo_signs_in_for_all_but_the_public(&server, &fill(&server));
}

#[test]
fn podman_pulls_what_is_public_and_signs_in_for_the_rest_and_finds_what_it_may_see() {
    let server = ServerDir::new().with_configuration(RULES).start();
    fill(&server);
    let podman = Podman::new();
    podman.trust(&server);
    let public = format!("{}/public/app:1", server.localhost_address());
    podman.call(&["pull", &public]).run_ok();
    let secret = format!("{}/team/secret:1", server.localhost_address());
    podman.call(&["pull", &secret]).run_failing().assert_prints_one_of(SIGN_IN);
    podman.call(&["push", &public]).run_failing().assert_prints_one_of(SIGN_IN);

    let term = format!("{}/app", server.localhost_address());
    let found = podman.call(&["search", &term]).run_ok();
    found.assert_prints_one_of(&[&format!("{}/public/app", server.localhost_address())]);
    let found = podman.call(&["search", &format!("{}/secret", server.localhost_address())]).run_ok();
    assert!(!found.stdout.contains("team/secret"), "{found}");
}

#[test]
fn podman_finds_by_the_catalog_where_nothing_is_public() {
    let server = PortcullisServer::start();
    fill(&server);
    let podman = Podman::new();
    podman.trust(&server);
    podman.login(&server, ALICE.password).run_ok();
    let term = format!("{}/secret", server.localhost_address());
    let found = podman.call(&["search", &term]).run_ok();
    found.assert_prints_one_of(&["team/secret"]);
}

#[test]
fn containerd_pulls_what_is_public_and_signs_in_for_the_rest() {
    let name = RegistryTestName::acquire();
    let server = ServerDir::on_registry_name(&name).with_configuration(RULES).start();
    let containerd = Containerd::start();
    let hosts = write_hosts(containerd.folder(), &server);
    let layout = OciLayout::image(&containerd.folder().join("image"), &[100, 50_000]);
    let archive = layout.archive(&containerd.folder().join("image.tar"));
    for path in ["public/app:1", "team/secret:1"] {
        let image = format!("{}/{path}", server.registry_test_address());
        containerd.images(&["import", "--no-unpack", "--index-name", &image]).arg(&archive).run_ok();
        let credentials = format!("{}:{}", ALICE.name, ALICE.password);
        containerd.transfer("push", &hosts, Some(&credentials), &image).run_ok();
        containerd.images(&["rm", "--sync", &image]).run_ok();
    }
    let public = format!("{}/public/app:1", server.registry_test_address());
    containerd.transfer("pull", &hosts, None, &public).run_ok();
    containerd.images(&["ls"]).run_ok().assert_prints_one_of(&[&layout.digest]);
    // A layer that the registry already has is not pushed, so the push would not be refused.
    let other = format!("{}/public/app:2", server.registry_test_address());
    containerd.images(&["tag", &public, &other]).run_ok();
    let refused = containerd.transfer("push", &hosts, None, &other).run_failing();
    // containerd stops sending when the response arrives, and sometimes reports that instead of the response.
    refused.assert_prints_one_of(&[SIGN_IN, &["read/write on closed pipe"]].concat());
    assert!(server.log().contains("path=/v2/public/app/manifests/2 status=401"), "{}", server.log());
    let secret = format!("{}/team/secret:1", server.registry_test_address());
    containerd.transfer("pull", &hosts, None, &secret).run_failing().assert_prints_one_of(SIGN_IN);
}

#[test]
fn the_docker_engine_pulls_what_is_public_signs_in_for_the_rest_and_searches() {
    let mut name = RegistryTestName::acquire();
    let server = ServerDir::on_registry_name(&name).with_configuration(RULES).start();
    let engine = DockerEngine::start(&name);
    name.trust(server.port(), &server.ca());
    let context = tempfile::tempdir().unwrap();
    fs::write(context.path().join("file"), random_bytes(10_000)).unwrap();
    fs::write(context.path().join("Dockerfile"), "FROM scratch\nCOPY file /file\n").unwrap();
    let [public, secret] =
        ["public/app:1", "team/secret:1"].map(|path| format!("{}/{path}", server.registry_test_address()));
    engine.docker(&["build", "--tag", &public, "--tag", &secret, context.path().to_str().unwrap()]).run_ok();
    engine.login(&server.registry_test_address(), ALICE.name, ALICE.password).run_ok();
    engine.docker(&["push", &public]).run_ok();
    engine.docker(&["push", &secret]).run_ok();

    let term = format!("{}/app", server.registry_test_address());
    engine.docker(&["search", &term]).run_ok().assert_prints_one_of(&["public/app"]);
    let signed_in = engine.docker(&["search", &format!("{}/secret", server.registry_test_address())]).run_ok();
    signed_in.assert_prints_one_of(&["team/secret"]);

    engine.docker(&["logout", &server.registry_test_address()]).run_ok();
    engine.docker(&["rmi", &public, &secret]).run_ok();
    engine.docker(&["pull", &public]).run_ok();
    engine.docker(&["push", &public]).run_failing().assert_prints_one_of(SIGN_IN);
    engine.docker(&["pull", &secret]).run_failing().assert_prints_one_of(SIGN_IN);
    engine.docker(&["search", &term]).run_ok().assert_prints_one_of(&["public/app"]);
    let signed_out = engine.docker(&["search", &format!("{}/secret", server.registry_test_address())]).run_ok();
    assert!(!signed_out.stdout.contains("team/secret"), "{signed_out}");
}

/// The same rules with a Basic challenge.
fn basic() -> String {
    format!("[auth]\nchallenge = \"basic\"\n{RULES}")
}

#[test]
fn skopeo_and_podman_pull_what_is_public_where_the_challenge_is_basic() {
    let server = ServerDir::new().with_configuration(&basic()).start();
    assert_skopeo_signs_in_for_all_but_the_public(&server, &fill(&server));

    let podman = Podman::new();
    podman.trust(&server);
    podman.call(&["pull", &format!("{}/public/app:1", server.localhost_address())]).run_ok();
    podman
        .call(&["pull", &format!("{}/team/secret:1", server.localhost_address())])
        .run_failing()
        .assert_prints_one_of(SIGN_IN);
}

#[test]
fn containerd_pulls_what_is_public_where_the_challenge_is_basic_and_the_docker_engine_does_not_ask() {
    let mut name = RegistryTestName::acquire();
    let server = ServerDir::on_registry_name(&name).with_configuration(&basic()).start();
    let containerd = Containerd::start();
    let hosts = write_hosts(containerd.folder(), &server);
    let layout = OciLayout::image(&containerd.folder().join("image"), &[100, 50_000]);
    let archive = layout.archive(&containerd.folder().join("image.tar"));
    let [public, secret] =
        ["public/app:1", "team/secret:1"].map(|path| format!("{}/{path}", server.registry_test_address()));
    for image in [&public, &secret] {
        containerd.images(&["import", "--no-unpack", "--index-name", image]).arg(&archive).run_ok();
        let credentials = format!("{}:{}", ALICE.name, ALICE.password);
        containerd.transfer("push", &hosts, Some(&credentials), image).run_ok();
        containerd.images(&["rm", "--sync", image]).run_ok();
    }
    containerd.transfer("pull", &hosts, None, &public).run_ok();
    containerd.images(&["ls"]).run_ok().assert_prints_one_of(&[&layout.digest]);
    containerd.transfer("pull", &hosts, None, &secret).run_failing().assert_prints_one_of(SIGN_IN);

    name.trust(server.port(), &server.ca());
    let engine = DockerEngine::start(&name);
    engine.docker(&["pull", &public]).run_failing().assert_prints_one_of(&["no basic auth credentials"]);
    engine.login(&server.registry_test_address(), ALICE.name, ALICE.password).run_ok();
    engine.docker(&["pull", &public]).run_ok();
}
