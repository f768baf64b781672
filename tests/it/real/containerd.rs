//! Tests containerd with its own client; the CA comes from a `hosts.toml`, the credentials from the call.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::daemon::Daemon;
use crate::support::oci_layout::OciLayout;
use crate::support::portcullis_server::ALICE;
use crate::support::registry_test_name::RegistryTestName;
use crate::support::tool_command::require;
use crate::support::{PortcullisServer, ServerDir, ToolCommand};

pub(super) struct Containerd {
    // Before the directory: containerd must have ended when its data is removed.
    daemon: Daemon,
    folder: TempDir,
}

impl Containerd {
    pub(super) fn start() -> Self {
        // A short path: sockets below it must stay under 108 bytes.
        let folder = tempfile::Builder::new().prefix("ctrd").tempdir_in("/tmp").unwrap();
        let config = folder.path().join("config.toml");
        fs::write(&config, "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n").unwrap();
        let mut command = Command::new(require("containerd"));
        command.arg("--config").arg(config).arg("--root").arg(folder.path().join("root"));
        command.arg("--state").arg(folder.path().join("state")).arg("--address").arg(folder.path().join("socket"));
        let daemon = Daemon::start(command, folder.path().join("log"));
        let mut containerd = Self { daemon, folder };
        let socket = containerd.socket();
        containerd.daemon.wait_until(Duration::from_secs(30), || ctr(&socket).arg("version").run().is_success());
        containerd
    }

    pub(super) fn images(&self, arguments: &[&str]) -> ToolCommand {
        ctr(&self.socket()).arg("images").args(arguments)
    }

    /// `ctr images push` or `pull` with the CA and, if given, these credentials.
    pub(super) fn transfer(&self, verb: &str, hosts: &Path, credentials: Option<&str>, image: &str) -> ToolCommand {
        let mut transfer = self.images(&[verb, "--hosts-dir"]).arg(hosts);
        if let Some(credentials) = credentials {
            transfer = transfer.args(["--user", credentials]);
        }
        transfer.arg(image)
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }
}

fn ctr(socket: &Path) -> ToolCommand {
    ToolCommand::new("ctr").arg("--address").arg(socket)
}

/// Writes the directory for `--hosts-dir`, laid out as containerd's documentation says.
pub(super) fn write_hosts(folder: &Path, server: &PortcullisServer) -> PathBuf {
    let hosts = folder.join("hosts");
    let registry = hosts.join(server.registry_test_address());
    fs::create_dir_all(&registry).unwrap();
    let (url, ca) = (format!("https://{}", server.registry_test_address()), server.ca());
    let text = format!("server = \"{url}\"\n[host.\"{url}\"]\n  ca = \"{}\"\n", ca.display());
    fs::write(registry.join("hosts.toml"), text).unwrap();
    hosts
}

#[test]
fn an_index_is_pushed_and_pulled_with_the_same_digest() {
    let name = RegistryTestName::acquire();
    let server = ServerDir::on_registry_name(&name).start();
    let containerd = Containerd::start();
    let hosts = write_hosts(containerd.folder.path(), &server);
    let index = OciLayout::index(&containerd.folder.path().join("index"), &[20_000, 4_000_000]);
    let archive = index.archive(&containerd.folder.path().join("index.tar"));

    let image = format!("{}/team/ctr:1", server.registry_test_address());
    let import = containerd.images(&["import", "--all-platforms", "--no-unpack", "--index-name", &image]);
    import.arg(&archive).run_ok();
    let credentials = format!("{}:{}", ALICE.name, ALICE.password);
    let refused = containerd.transfer("push", &hosts, Some(&format!("{}:a guess", ALICE.name)), &image).run_failing();
    refused.assert_prints_one_of(&["401", "unauthorized", "authorization failed"]);
    containerd.transfer("push", &hosts, Some(&credentials), &image).run_ok();

    containerd.images(&["rm", "--sync", &image]).run_ok();
    containerd.transfer("pull", &hosts, Some(&credentials), &image).arg("--all-platforms").run_ok();
    containerd.images(&["ls"]).run_ok().assert_prints_one_of(&[&index.digest]);
}

/// The method and status of each logged request to a path.
fn requests(server: &PortcullisServer, path: &str) -> Vec<String> {
    let log = server.log();
    let lines =
        log.lines().filter(|line| line.contains("portcullis::access") && line.contains(&format!("path={path}")));
    let field = |line: &str, name: &str| {
        let start = line.find(&format!("{name}=")).unwrap() + name.len() + 1;
        line[start..].split(' ').next().unwrap().to_owned()
    };
    lines.map(|line| format!("{} {}", field(line, "method"), field(line, "status"))).collect()
}

#[test]
fn an_image_whose_layers_lie_in_another_repository_is_mounted_and_not_uploaded_again() {
    let name = RegistryTestName::acquire();
    let server = ServerDir::on_registry_name(&name).start();
    let containerd = Containerd::start();
    let hosts = write_hosts(containerd.folder.path(), &server);
    let layout = OciLayout::image(&containerd.folder.path().join("image"), &[20_000, 300_000]);
    let archive = layout.archive(&containerd.folder.path().join("image.tar"));
    let [base, derived] = ["base/os:1", "team/app:1"].map(|path| format!("{}/{path}", server.registry_test_address()));
    containerd.images(&["import", "--no-unpack", "--index-name", &base]).arg(&archive).run_ok();
    let credentials = format!("{}:{}", ALICE.name, ALICE.password);
    containerd.transfer("push", &hosts, Some(&credentials), &base).run_ok();
    // containerd records from which repository it pulled a layer, and asks to mount it from there.
    containerd.images(&["rm", "--sync", &base]).run_ok();
    containerd.transfer("pull", &hosts, Some(&credentials), &base).run_ok();
    containerd.images(&["tag", &base, &derived]).run_ok();
    containerd.transfer("push", &hosts, Some(&credentials), &derived).run_ok();
    let asked = requests(&server, "/v2/team/app/blobs/uploads/");
    assert!(asked.iter().filter(|request| *request == "POST 201").count() == 3, "{asked:?}");
    assert!(!asked.iter().any(|request| request == "POST 202" || request.starts_with("PUT")), "{asked:?}");
}
