//! Tests podman as root, with its storage in a temporary directory.
//!
//! podman compresses layers while it pushes, so every upload is a stream of unknown length.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::support::oci_layout::OciLayout;
use crate::support::portcullis_server::ALICE;
use crate::support::{PortcullisServer, ToolCommand};

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
    pub(super) fn trust(&self, server: &PortcullisServer) {
        let folder = self.folder(".config/containers/certs.d").join(server.localhost_address());
        fs::create_dir_all(&folder).unwrap();
        fs::copy(server.ca(), folder.join("ca.crt")).unwrap();
    }

    pub(super) fn call(&self, arguments: &[&str]) -> ToolCommand {
        let podman =
            ToolCommand::new("podman").env("HOME", self.home.path()).env("XDG_RUNTIME_DIR", self.folder("runtime"));
        // `vfs` and `cgroupfs` need neither overlay mounts nor systemd.
        let podman =
            podman.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none"]);
        let podman = podman.arg("--root").arg(self.folder("root")).arg("--runroot").arg(self.folder("run"));
        podman.env("REGISTRY_AUTH_FILE", self.folder("auth.json")).args(arguments)
    }

    pub(super) fn login(&self, server: &PortcullisServer, password: &str) -> ToolCommand {
        let trust = server.ca_dir();
        let arguments = ["login", "--cert-dir", trust.to_str().unwrap(), "--username", ALICE.name, "--password-stdin"];
        self.call(&arguments).arg(server.localhost_address()).input(password)
    }

    fn image_id(&self, reference: &str) -> String {
        self.call(&["image", "inspect", "--format", "{{.Id}}", reference]).run_ok().stdout
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }
}

#[test]
fn a_wrong_password_is_refused_and_the_right_one_is_not() {
    let server = PortcullisServer::start();
    let podman = Podman::new();
    podman.login(&server, "a guess").run_failing().assert_prints_one_of(&["unauthorized", "invalid username/password"]);
    podman.login(&server, ALICE.password).run_ok().assert_prints_one_of(&["Login Succeeded"]);
}

#[test]
fn an_authority_that_nobody_vouches_for_is_refused() {
    let server = PortcullisServer::start();
    let login =
        Podman::new().call(&["login", "--username", ALICE.name, "--password-stdin", &server.localhost_address()]);
    login.input(ALICE.password).run_failing().assert_prints_one_of(&["x509: certificate signed by unknown authority"]);
}

#[test]
fn an_image_that_was_pushed_and_removed_is_the_same_after_a_pull() {
    let server = PortcullisServer::start();
    let podman = Podman::new();
    let trust = server.ca_dir();
    let trust = trust.to_str().unwrap();
    podman.login(&server, ALICE.password).run_ok();

    let image = OciLayout::image(&podman.folder("image"), &[100, 400_000, 9_000_000]);
    let made = podman.call(&["pull", "--quiet", &image.reference()]).run_ok().stdout;
    let remote = format!("{}/team/app:1", server.localhost_address());
    podman.call(&["tag", made.trim(), &remote]).run_ok();
    let before = podman.image_id(&remote);

    podman.call(&["push", "--cert-dir", trust, &remote]).run_ok();
    podman.call(&["rmi", "--all", "--force"]).run_ok();
    podman.call(&["image", "exists", &remote]).run_failing();
    podman.call(&["pull", "--cert-dir", trust, &remote]).run_ok();
    assert_eq!(podman.image_id(&remote), before);

    podman.call(&["logout", &server.localhost_address()]).run_ok();
    let refused = podman.call(&["pull", "--cert-dir", trust, &remote]).run_failing();
    refused.assert_prints_one_of(&["unauthorized", "authentication required"]);
}
