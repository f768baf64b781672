//! Builds the image of the Dockerfile and runs it by docker-compose with the repository's `docker-compose.yml`.

use std::fs;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::docker_engine::DockerEngine;
use crate::support::portcullis_server::{BINARY, completes_handshake, first_password};
use crate::support::registry_test_name::{REGISTRY, RegistryTestName};
use crate::support::{ToolCommand, eventually, free_port};

const SOURCE: &str = env!("CARGO_MANIFEST_DIR");

/// The timeout of a build: a static binary without link-time optimisation takes this long from scratch.
const BUILDING: Duration = Duration::from_secs(900);

/// A project directory with the repository's files for compose, and a port.
struct ComposeProject<'a> {
    engine: &'a DockerEngine,
    folder: tempfile::TempDir,
    port: u16,
}

impl<'a> ComposeProject<'a> {
    fn up(engine: &'a DockerEngine) -> Self {
        let folder = tempfile::Builder::new().prefix("portcullis").tempdir().unwrap();
        for file in ["Dockerfile", ".dockerignore", "docker-compose.yml"] {
            fs::copy(Path::new(SOURCE).join(file), folder.path().join(file)).unwrap();
        }
        stage_image(&folder.path().join("target/image"));
        let project = Self { engine, folder, port: free_port::free() };
        project.compose(&["up", "--detach", "--build"]).run_ok();
        project
    }

    fn compose(&self, arguments: &[&str]) -> ToolCommand {
        let compose = self.engine.compose(self.folder.path(), arguments);
        compose.env("PORTCULLIS_HOSTNAMES", REGISTRY).env("PORTCULLIS_PORT", format!("[::1]:{}", self.port))
    }

    fn container(&self) -> String {
        self.compose(&["ps", "--quiet", "portcullis"]).run_ok().stdout.trim().to_owned()
    }

    /// The CA certificate, copied out of the container as a user would.
    fn ca(&self, container: &str) -> PathBuf {
        let ca = self.folder.path().join("ca.crt");
        let source = format!("{container}:/certs/ca.crt");
        let copied = eventually(|| self.engine.docker(&["cp", &source, ca.to_str().unwrap()]).run().is_success());
        assert!(copied, "no {source}; the log of the container:\n{}", self.log(container));
        ca
    }

    fn log(&self, container: &str) -> String {
        let logs = self.engine.docker(&["logs", container]).run_ok();
        logs.stdout + &logs.stderr
    }
}

impl Drop for ComposeProject<'_> {
    fn drop(&mut self) {
        // Also removes the project's bridge, which would outlive the engine.
        self.compose(&["down", "--volumes", "--timeout", "5"]).run();
    }
}

/// Copies the files that the Dockerfile expects. `make test` builds everything statically, so the image contains the
/// program under test; after a plain `cargo test` the Makefile builds a static one first.
fn stage_image(folder: &Path) {
    let make = ToolCommand::new("make").folder(Path::new(SOURCE)).arg("image-root").deadline(BUILDING);
    let make = make.arg(format!("IMAGE_ROOT={}", folder.display())).arg("IMAGE_PROFILE=dev");
    let linked = ToolCommand::new("ldd").arg(BINARY).run();
    let is_static = format!("{}{}", linked.stdout, linked.stderr).contains("statically linked");
    let make = if is_static { make.arg(format!("IMAGE_BINARY={BINARY}")) } else { make };
    make.run_ok();
}

#[test]
fn compose_brings_up_a_hardened_service_that_docker_logs_in_to() {
    let mut name = RegistryTestName::acquire();
    let engine = DockerEngine::start(&name);
    let project = ComposeProject::up(&engine);
    let container = project.container();
    let ca = project.ca(&container);
    let address = SocketAddr::from((Ipv6Addr::LOCALHOST, project.port));
    let answers = eventually(|| completes_handshake(address, &ca));
    assert!(answers, "no answer on {address}; the log of the container:\n{}", project.log(&container));

    is_hardened(&engine, &container);

    name.trust(project.port, &ca);
    let registry = format!("{REGISTRY}:{}", project.port);
    let log = project.log(&container);
    let password = first_password(&log).unwrap_or_else(|| panic!("no password of 16 characters in\n{log}"));
    engine.login(&registry, "admin", "a guess").run_failing().assert_prints_one_of(&["unauthorized"]);
    engine.login(&registry, "admin", password).run_ok().assert_prints_one_of(&["Login Succeeded"]);

    let add = ["exec", "-T", "portcullis", "/portcullis", "user", "add", "alice", "--password-stdin"];
    project.compose(&add).input("wonderland and back\n").run_ok();
    let noticed = eventually(|| engine.login(&registry, "alice", "wonderland and back").run().is_success());
    assert!(noticed, "a user who was added in the container cannot log in");

    let healthy = eventually(|| engine.inspect("{{.State.Health.Status}}", &container) == "healthy");
    assert!(healthy, "{}", engine.inspect("{{json .State.Health}}", &container));

    project.compose(&["stop"]).run_ok();
    assert_eq!(engine.inspect("{{.State.ExitCode}}", &container), "0", "{}", project.log(&container));

    // The volumes survive the container: the same users, the same CA.
    project.compose(&["rm", "--force"]).run_ok();
    project.compose(&["up", "--detach"]).run_ok();
    let again = eventually(|| completes_handshake(address, &ca));
    assert!(again, "the second container does not answer with the first one's CA");
    engine.login(&registry, "alice", "wonderland and back").run_ok();
}

fn is_hardened(engine: &DockerEngine, container: &str) {
    assert_eq!(engine.inspect("{{.Config.User}}", container), "65532:65532");
    assert_eq!(engine.inspect("{{.HostConfig.ReadonlyRootfs}}", container), "true");
    assert_eq!(engine.inspect("{{.HostConfig.CapDrop}} {{.HostConfig.CapAdd}}", container), "[ALL] [NET_BIND_SERVICE]");
    assert_eq!(engine.inspect("{{.HostConfig.SecurityOpt}}", container), "[no-new-privileges:true]");
    let process = engine.inspect("{{.State.Pid}}", container);
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    assert!(status.contains("\nUid:\t65532\t65532\t65532\t65532\n"), "{status}");
    assert!(status.contains("\nCapEff:\t0000000000000000\n"), "{status}");
}
