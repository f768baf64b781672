//! Tests skopeo, which needs no daemon and no privileges and compares digests.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use tempfile::TempDir;

use crate::credentials;
use crate::support::oci_layout::{OciLayout, digest};
use crate::support::portcullis_server::{ALICE, first_password};
use crate::support::{PortcullisServer, ServerDir, ToolCommand, eventually};

/// skopeo with a login file of its own and the server's CA.
pub(super) struct Skopeo<'a> {
    server: &'a PortcullisServer,
    home: TempDir,
}

impl<'a> Skopeo<'a> {
    pub(super) fn new(server: &'a PortcullisServer) -> Self {
        Self { server, home: tempfile::tempdir().unwrap() }
    }

    pub(super) fn signed_in(server: &'a PortcullisServer) -> Self {
        let skopeo = Self::new(server);
        skopeo.login(ALICE.name, ALICE.password).run_ok();
        skopeo
    }

    fn login(&self, user: &str, password: &str) -> ToolCommand {
        let login = self.call("login").arg("--cert-dir").arg(self.server.ca_dir());
        login.args(["--username", user, "--password-stdin", &self.server.localhost_address()]).input(password)
    }

    /// `skopeo copy --preserve-digests`: fails if anything would have to be changed.
    pub(super) fn copy(&self, from: &str, to: &str) -> ToolCommand {
        let trust = self.server.ca_dir();
        let copy = self.call("copy").args(["--all", "--preserve-digests"]);
        copy.arg("--src-cert-dir").arg(&trust).arg("--dest-cert-dir").arg(&trust).args([from, to])
    }

    fn raw_manifest(&self, reference: &str) -> String {
        let inspect = self.call("inspect").args(["--raw", "--cert-dir"]).arg(self.server.ca_dir());
        inspect.arg(reference).run_ok().stdout
    }

    fn call(&self, verb: &str) -> ToolCommand {
        ToolCommand::new("skopeo")
            .arg(verb)
            .env("HOME", self.home.path())
            .env("REGISTRY_AUTH_FILE", self.folder("auth.json"))
    }

    pub(super) fn folder(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(super) fn remote(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.server.localhost_address())
    }
}

#[test]
fn a_wrong_password_is_refused_and_the_right_one_is_not() {
    let server = PortcullisServer::start();
    let skopeo = Skopeo::new(&server);
    skopeo
        .login(ALICE.name, "a guess")
        .run_failing()
        .assert_prints_one_of(&["unauthorized", "invalid username/password"]);
    skopeo
        .login("unknown", ALICE.password)
        .run_failing()
        .assert_prints_one_of(&["unauthorized", "invalid username/password"]);
    skopeo.login(ALICE.name, ALICE.password).run_ok().assert_prints_one_of(&["Login Succeeded"]);
}

#[test]
fn the_password_shown_at_the_first_start_logs_in() {
    let server = ServerDir::without_files().start();
    let log = server.log();
    let password = first_password(&log).unwrap_or_else(|| panic!("no password of 16 characters in\n{log}"));
    Skopeo::new(&server).login("admin", password).run_ok();
}

#[test]
fn nobody_pushes_or_pulls_without_signing_in() {
    let server = PortcullisServer::start();
    let stranger = Skopeo::new(&server);
    let image = OciLayout::image(&stranger.folder("image"), &[1_000]);
    let remote = stranger.remote("team/app:1");
    // skopeo's message for a 401 with `insufficient_scope`, which its anonymous token leads to.
    let refused = ["requested access to the resource is denied"];
    stranger.copy(&image.reference(), &remote).run_failing().assert_prints_one_of(&refused);
    Skopeo::signed_in(&server).copy(&image.reference(), &remote).run_ok();
    let away = format!("dir:{}", stranger.folder("away").display());
    stranger.copy(&remote, &away).run_failing().assert_prints_one_of(&refused);
}

#[test]
fn an_access_token_is_as_good_as_a_password_within_its_limits() {
    let server = PortcullisServer::start();
    let skopeo = Skopeo::new(&server);
    let image = OciLayout::image(&skopeo.folder("image"), &[1_000]);
    let remote = skopeo.remote("team/app:1");
    let pushes = credentials::create(&server, "builder", &["--repository", "team/**", "--action", "push"]);
    let pulls = credentials::create(&server, "runner", &[]);
    let credentials = |token: &str| format!("{}:{token}", ALICE.name);
    let push = |token: &str| skopeo.copy(&image.reference(), &remote).args(["--dest-creds", &credentials(token)]);
    push(&pulls).run_failing().assert_prints_one_of(&["alice may not push team/app with this access token"]);
    push(&pushes).run_ok();
    let away = format!("dir:{}", skopeo.folder("away").display());
    skopeo.copy(&remote, &away).args(["--src-creds", &credentials(&pulls)]).run_ok();
    let elsewhere = skopeo.copy(&image.reference(), &skopeo.remote("other/app:1"));
    elsewhere.args(["--dest-creds", &credentials(&pushes)]).run_failing().assert_prints_one_of(&["403 (Forbidden)"]);
    credentials::token(&server, &["revoke", "runner"]).run_ok();
    let pull = || skopeo.copy(&remote, &away).args(["--src-creds", &credentials(&pulls)]).run();
    assert!(eventually(Duration::from_secs(5), || !pull().is_success()));
}

#[test]
fn an_image_of_many_layers_comes_back_byte_for_byte() {
    let server = PortcullisServer::start();
    let skopeo = Skopeo::signed_in(&server);
    let image = OciLayout::image(&skopeo.folder("image"), &[0, 1, 70_000, 3_000_000, 20_000_000]);
    let remote = skopeo.remote("team/deep/app:1.0");

    skopeo.copy(&image.reference(), &remote).run_ok();
    assert_eq!(digest(skopeo.raw_manifest(&remote).as_bytes()), image.digest);

    // skopeo verifies every digest on the way; the manifest of the copy is a file of the `dir:` image.
    let back = skopeo.folder("back");
    skopeo.copy(&remote, &format!("dir:{}", back.display())).run_ok();
    assert_eq!(digest(&std::fs::read(back.join("manifest.json")).unwrap()), image.digest);
}

#[test]
fn what_was_pushed_lies_where_the_old_registry_would_look_and_survives_a_restart() {
    let server = PortcullisServer::start();
    let image = {
        let skopeo = Skopeo::signed_in(&server);
        let image = OciLayout::image(&skopeo.folder("image"), &[1_000, 100_000]);
        skopeo.copy(&image.reference(), &skopeo.remote("team/app:kept")).run_ok();
        image
    };
    let registry = server.data().join("docker/registry/v2");
    let link = registry.join("repositories/team/app/_manifests/tags/kept/current/link");
    assert_eq!(std::fs::read_to_string(link).unwrap(), image.digest);
    let hex = image.digest.strip_prefix("sha256:").unwrap();
    let manifest = std::fs::read(registry.join("blobs/sha256").join(&hex[..2]).join(hex).join("data")).unwrap();
    assert_eq!(digest(&manifest), image.digest);

    let authority = std::fs::read(server.ca()).unwrap();
    let server = server.restart();
    assert_eq!(std::fs::read(server.ca()).unwrap(), authority);
    let skopeo = Skopeo::signed_in(&server);
    assert_eq!(digest(skopeo.raw_manifest(&skopeo.remote("team/app:kept")).as_bytes()), image.digest);
}

#[test]
fn the_most_talkative_log_holds_no_password() {
    let server = ServerDir::new().with_env("PORTCULLIS_LOG__LEVEL", "trace").start();
    let skopeo = Skopeo::signed_in(&server);
    let image = OciLayout::image(&skopeo.folder("image"), &[1_000]);
    skopeo.copy(&image.reference(), &skopeo.remote("team/app:1")).run_ok();
    let authorization = BASE64.encode(format!("{}:{}", ALICE.name, ALICE.password));
    let log = server.log();
    for secret in [ALICE.password, &authorization] {
        assert!(!log.contains(secret), "{secret} is in\n{log}");
    }
}

#[test]
fn a_copy_that_was_pulled_can_be_pushed_elsewhere_by_dir() {
    let server = PortcullisServer::start();
    let skopeo = Skopeo::signed_in(&server);
    let image = OciLayout::image(&skopeo.folder("image"), &[5_000, 500_000]);
    let folder = format!("dir:{}", skopeo.folder("copy").display());
    let (first, second) = (skopeo.remote("one:a"), skopeo.remote("other/two:b"));

    skopeo.copy(&image.reference(), &first).run_ok();
    skopeo.copy(&first, &folder).run_ok();
    skopeo.copy(&folder, &second).run_ok();
    assert_eq!(skopeo.raw_manifest(&second), skopeo.raw_manifest(&first));
}

#[test]
fn an_index_for_two_platforms_keeps_every_digest() {
    let server = PortcullisServer::start();
    let skopeo = Skopeo::signed_in(&server);
    let index = OciLayout::index(&skopeo.folder("index"), &[10_000, 2_000_000]);
    let remote = skopeo.remote("team/many:latest");

    skopeo.copy(&index.reference(), &remote).run_ok();
    let raw = skopeo.raw_manifest(&remote);
    assert_eq!(digest(raw.as_bytes()), index.digest);

    let document: serde_json::Value = serde_json::from_str(&raw).unwrap();
    let children = document["manifests"].as_array().unwrap();
    assert_eq!(children.len(), 2);
    for child in children {
        let child = child["digest"].as_str().unwrap();
        let by_digest = skopeo.remote(&format!("team/many@{child}"));
        assert_eq!(digest(skopeo.raw_manifest(&by_digest).as_bytes()), child);
    }
    skopeo.copy(&remote, &format!("dir:{}", skopeo.folder("back").display())).run_ok();
}

#[test]
fn tags_are_listed_and_a_deleted_image_is_gone() {
    let server = PortcullisServer::start();
    let skopeo = Skopeo::signed_in(&server);
    let image = OciLayout::image(&skopeo.folder("image"), &[1_000]);
    for tag in ["b", "a", "c"] {
        skopeo.copy(&image.reference(), &skopeo.remote(&format!("team/tags:{tag}"))).run_ok();
    }
    let list = skopeo.call("list-tags").arg("--cert-dir").arg(server.ca_dir());
    let list = list.arg(skopeo.remote("team/tags")).run_ok();
    let list: serde_json::Value = serde_json::from_str(&list.stdout).unwrap();
    assert_eq!(list["Tags"], serde_json::json!(["a", "b", "c"]));

    let delete = skopeo.call("delete").arg("--cert-dir").arg(server.ca_dir());
    delete.arg(skopeo.remote("team/tags:a")).run_ok();
    let inspect = skopeo.call("inspect").args(["--raw", "--cert-dir"]).arg(server.ca_dir());
    inspect.arg(skopeo.remote("team/tags:a")).run_failing().assert_prints_one_of(&["manifest unknown", "not found"]);
}
