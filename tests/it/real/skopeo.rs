//! Tests skopeo, which needs no daemon and no privileges and compares digests.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use tempfile::TempDir;

use crate::grants;
use crate::support::image::{Layout, digest};
use crate::support::portcullis::{ALICE, first_password};
use crate::support::{Portcullis, Setup, Tool, eventually};

/// skopeo with a login file of its own and the server's CA.
pub(super) struct Skopeo<'a> {
    server: &'a Portcullis,
    home: TempDir,
}

impl<'a> Skopeo<'a> {
    pub(super) fn new(server: &'a Portcullis) -> Self {
        Self { server, home: tempfile::tempdir().unwrap() }
    }

    pub(super) fn signed_in(server: &'a Portcullis) -> Self {
        let skopeo = Self::new(server);
        skopeo.login(ALICE.name, ALICE.password).succeeds();
        skopeo
    }

    fn login(&self, user: &str, password: &str) -> Tool {
        let login = self.call("login").arg("--cert-dir").arg(self.server.trust());
        login.args(["--username", user, "--password-stdin", &self.server.local()]).input(password)
    }

    /// `skopeo copy --preserve-digests`: fails if anything would have to be changed.
    pub(super) fn copy(&self, from: &str, to: &str) -> Tool {
        let trust = self.server.trust();
        let copy = self.call("copy").args(["--all", "--preserve-digests"]);
        copy.arg("--src-cert-dir").arg(&trust).arg("--dest-cert-dir").arg(&trust).args([from, to])
    }

    fn raw_manifest(&self, reference: &str) -> String {
        let inspect = self.call("inspect").args(["--raw", "--cert-dir"]).arg(self.server.trust());
        inspect.arg(reference).succeeds().stdout
    }

    fn call(&self, verb: &str) -> Tool {
        Tool::new("skopeo").arg(verb).env("HOME", self.home.path()).env("REGISTRY_AUTH_FILE", self.folder("auth.json"))
    }

    pub(super) fn folder(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(super) fn remote(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.server.local())
    }
}

#[test]
fn a_wrong_password_is_refused_and_the_right_one_is_not() {
    let server = Portcullis::start();
    let skopeo = Skopeo::new(&server);
    skopeo.login(ALICE.name, "a guess").fails().says_one_of(&["unauthorized", "invalid username/password"]);
    skopeo.login("unknown", ALICE.password).fails().says_one_of(&["unauthorized", "invalid username/password"]);
    skopeo.login(ALICE.name, ALICE.password).succeeds().says_one_of(&["Login Succeeded"]);
}

#[test]
fn the_password_shown_at_the_first_start_logs_in() {
    let server = Setup::new().without_users_file().start();
    let log = server.log();
    let password = first_password(&log).unwrap_or_else(|| panic!("no password of 16 characters in\n{log}"));
    Skopeo::new(&server).login("admin", password).succeeds();
}

#[test]
fn nobody_pushes_or_pulls_without_signing_in() {
    let server = Portcullis::start();
    let stranger = Skopeo::new(&server);
    let image = Layout::image(&stranger.folder("image"), &[1_000]);
    let remote = stranger.remote("team/app:1");
    // skopeo's message for a 401 with `insufficient_scope`, which its anonymous token leads to.
    let refused = ["requested access to the resource is denied"];
    stranger.copy(&image.reference(), &remote).fails().says_one_of(&refused);
    Skopeo::signed_in(&server).copy(&image.reference(), &remote).succeeds();
    let away = format!("dir:{}", stranger.folder("away").display());
    stranger.copy(&remote, &away).fails().says_one_of(&refused);
}

#[test]
fn an_access_token_is_as_good_as_a_password_within_its_limits() {
    let server = Portcullis::start();
    let skopeo = Skopeo::new(&server);
    let image = Layout::image(&skopeo.folder("image"), &[1_000]);
    let remote = skopeo.remote("team/app:1");
    let pushes = grants::create(&server, "builder", &["--repository", "team/**", "--action", "push"]);
    let pulls = grants::create(&server, "runner", &[]);
    let credentials = |token: &str| format!("{}:{token}", ALICE.name);
    let push = |token: &str| skopeo.copy(&image.reference(), &remote).args(["--dest-creds", &credentials(token)]);
    push(&pulls).fails().says_one_of(&["alice may not push team/app with this access token"]);
    push(&pushes).succeeds();
    let away = format!("dir:{}", skopeo.folder("away").display());
    skopeo.copy(&remote, &away).args(["--src-creds", &credentials(&pulls)]).succeeds();
    let elsewhere = skopeo.copy(&image.reference(), &skopeo.remote("other/app:1"));
    elsewhere.args(["--dest-creds", &credentials(&pushes)]).fails().says_one_of(&["403 (Forbidden)"]);
    grants::token(&server, &["revoke", "runner"]).succeeds();
    let pull = || skopeo.copy(&remote, &away).args(["--src-creds", &credentials(&pulls)]).run();
    assert!(eventually(Duration::from_secs(5), || !pull().is_success()));
}

#[test]
fn an_image_of_many_layers_comes_back_byte_for_byte() {
    let server = Portcullis::start();
    let skopeo = Skopeo::signed_in(&server);
    let image = Layout::image(&skopeo.folder("image"), &[0, 1, 70_000, 3_000_000, 20_000_000]);
    let remote = skopeo.remote("team/deep/app:1.0");

    skopeo.copy(&image.reference(), &remote).succeeds();
    assert_eq!(digest(skopeo.raw_manifest(&remote).as_bytes()), image.digest);

    // skopeo verifies every digest on the way; the manifest of the copy is a file of the `dir:` image.
    let back = skopeo.folder("back");
    skopeo.copy(&remote, &format!("dir:{}", back.display())).succeeds();
    assert_eq!(digest(&std::fs::read(back.join("manifest.json")).unwrap()), image.digest);
}

#[test]
fn what_was_pushed_lies_where_the_old_registry_would_look_and_survives_a_restart() {
    let server = Portcullis::start();
    let image = {
        let skopeo = Skopeo::signed_in(&server);
        let image = Layout::image(&skopeo.folder("image"), &[1_000, 100_000]);
        skopeo.copy(&image.reference(), &skopeo.remote("team/app:kept")).succeeds();
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
    let server = Setup::new().env("PORTCULLIS_LOG__LEVEL", "trace").start();
    let skopeo = Skopeo::signed_in(&server);
    let image = Layout::image(&skopeo.folder("image"), &[1_000]);
    skopeo.copy(&image.reference(), &skopeo.remote("team/app:1")).succeeds();
    let authorization = BASE64.encode(format!("{}:{}", ALICE.name, ALICE.password));
    let log = server.log();
    for secret in [ALICE.password, &authorization] {
        assert!(!log.contains(secret), "{secret} is in\n{log}");
    }
}

#[test]
fn a_copy_that_was_pulled_can_be_pushed_elsewhere_by_dir() {
    let server = Portcullis::start();
    let skopeo = Skopeo::signed_in(&server);
    let image = Layout::image(&skopeo.folder("image"), &[5_000, 500_000]);
    let folder = format!("dir:{}", skopeo.folder("copy").display());
    let (first, second) = (skopeo.remote("one:a"), skopeo.remote("other/two:b"));

    skopeo.copy(&image.reference(), &first).succeeds();
    skopeo.copy(&first, &folder).succeeds();
    skopeo.copy(&folder, &second).succeeds();
    assert_eq!(skopeo.raw_manifest(&second), skopeo.raw_manifest(&first));
}

#[test]
fn an_index_for_two_platforms_keeps_every_digest() {
    let server = Portcullis::start();
    let skopeo = Skopeo::signed_in(&server);
    let index = Layout::index(&skopeo.folder("index"), &[10_000, 2_000_000]);
    let remote = skopeo.remote("team/many:latest");

    skopeo.copy(&index.reference(), &remote).succeeds();
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
    skopeo.copy(&remote, &format!("dir:{}", skopeo.folder("back").display())).succeeds();
}

#[test]
fn tags_are_listed_and_a_deleted_image_is_gone() {
    let server = Portcullis::start();
    let skopeo = Skopeo::signed_in(&server);
    let image = Layout::image(&skopeo.folder("image"), &[1_000]);
    for tag in ["b", "a", "c"] {
        skopeo.copy(&image.reference(), &skopeo.remote(&format!("team/tags:{tag}"))).succeeds();
    }
    let list = skopeo.call("list-tags").arg("--cert-dir").arg(server.trust());
    let list = list.arg(skopeo.remote("team/tags")).succeeds();
    let list: serde_json::Value = serde_json::from_str(&list.stdout).unwrap();
    assert_eq!(list["Tags"], serde_json::json!(["a", "b", "c"]));

    let delete = skopeo.call("delete").arg("--cert-dir").arg(server.trust());
    delete.arg(skopeo.remote("team/tags:a")).succeeds();
    let inspect = skopeo.call("inspect").args(["--raw", "--cert-dir"]).arg(server.trust());
    inspect.arg(skopeo.remote("team/tags:a")).fails().says_one_of(&["manifest unknown", "not found"]);
}
