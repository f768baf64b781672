//! Tests podman as root, with its storage in a temporary directory.
//!
//! podman compresses layers while it pushes, so every upload is a stream of unknown length.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::support::image::Layout;
use crate::support::portcullis::ALICE;
use crate::support::{Portcullis, Tool};

pub(super) struct Podman {
    home: TempDir,
}

impl Podman {
    pub(super) fn new() -> Self {
        // podman derives a repository name from a layout's path, and repository names have no capital letters.
        let name = format!("podman-{}", uuid::Uuid::new_v4().simple());
        let home = tempfile::Builder::new().prefix(&name).rand_bytes(0).tempdir().unwrap();
        // A login file that is named must exist, even for a user who never signed in.
        fs::write(home.path().join("auth.json"), "{}").unwrap();
        Self { home }
    }

    /// Installs the server's CA for commands that have no option for it.
    pub(super) fn trust(&self, server: &Portcullis) {
        let folder = self.folder(".config/containers/certs.d").join(server.local());
        fs::create_dir_all(&folder).unwrap();
        fs::copy(server.ca(), folder.join("ca.crt")).unwrap();
    }

    pub(super) fn call(&self, arguments: &[&str]) -> Tool {
        let podman = Tool::new("podman").env("HOME", self.home.path()).env("XDG_RUNTIME_DIR", self.folder("runtime"));
        // `vfs` and `cgroupfs` need neither overlay mounts nor systemd.
        let podman =
            podman.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none"]);
        let podman = podman.arg("--root").arg(self.folder("root")).arg("--runroot").arg(self.folder("run"));
        podman.env("REGISTRY_AUTH_FILE", self.folder("auth.json")).args(arguments)
    }

    pub(super) fn login(&self, server: &Portcullis, password: &str) -> Tool {
        let trust = server.trust();
        let arguments = ["login", "--cert-dir", trust.to_str().unwrap(), "--username", ALICE.name, "--password-stdin"];
        self.call(&arguments).arg(server.local()).input(password)
    }

    fn image_id(&self, reference: &str) -> String {
        self.call(&["image", "inspect", "--format", "{{.Id}}", reference]).succeeds().stdout
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }
}

#[test]
fn a_wrong_password_is_refused_and_the_right_one_is_not() {
    let server = Portcullis::start();
    let podman = Podman::new();
    podman.login(&server, "a guess").fails().says_one_of(&["unauthorized", "invalid username/password"]);
    podman.login(&server, ALICE.password).succeeds().says_one_of(&["Login Succeeded"]);
}

#[test]
fn an_authority_that_nobody_vouches_for_is_refused() {
    let server = Portcullis::start();
    let login = Podman::new().call(&["login", "--username", ALICE.name, "--password-stdin", &server.local()]);
    login.input(ALICE.password).fails().says_one_of(&["x509: certificate signed by unknown authority"]);
}

#[test]
fn an_image_that_was_pushed_and_removed_is_the_same_after_a_pull() {
    let server = Portcullis::start();
    let podman = Podman::new();
    let trust = server.trust();
    let trust = trust.to_str().unwrap();
    podman.login(&server, ALICE.password).succeeds();

    let image = Layout::image(&podman.folder("image"), &[100, 400_000, 9_000_000]);
    let made = podman.call(&["pull", "--quiet", &image.reference()]).succeeds().stdout;
    let remote = format!("{}/team/app:1", server.local());
    podman.call(&["tag", made.trim(), &remote]).succeeds();
    let before = podman.image_id(&remote);

    podman.call(&["push", "--cert-dir", trust, &remote]).succeeds();
    podman.call(&["rmi", "--all", "--force"]).succeeds();
    podman.call(&["image", "exists", &remote]).fails();
    podman.call(&["pull", "--cert-dir", trust, &remote]).succeeds();
    assert_eq!(podman.image_id(&remote), before);

    podman.call(&["logout", &server.local()]).succeeds();
    let refused = podman.call(&["pull", "--cert-dir", trust, &remote]).fails();
    refused.says_one_of(&["unauthorized", "authentication required"]);
}
