//! Runs a Docker Engine with its data, sockets and process id in one temporary directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::ToolCommand;
use crate::support::daemon::Daemon;
use crate::support::registry_test_name::RegistryTestName;
use crate::support::tool_command::require;

/// A running `dockerd`; dropping it stops the engine and unmounts its mounts.
pub(crate) struct DockerEngine {
    // Before the directory: the engine must have ended when its data is removed.
    daemon: Daemon,
    _mounts: EngineMounts,
    folder: TempDir,
}

impl DockerEngine {
    /// Starts an engine. Requires the name, because tests that hold it run one after another, and two engines at a
    /// time would interfere.
    pub(crate) fn start(_held: &RegistryTestName) -> Self {
        // A short path: sockets below it must stay under 108 bytes.
        let folder = tempfile::Builder::new().prefix("engine").tempdir_in("/tmp").unwrap();
        let driver = if overlay_works_in(folder.path()) { "overlay2" } else { "vfs" };
        let daemon = Daemon::start(command(folder.path(), driver), folder.path().join("log"));
        let mut engine = Self { daemon, _mounts: EngineMounts { below: folder.path().to_owned() }, folder };
        let socket = engine.socket();
        let client = engine.folder.path().join("client");
        engine.daemon.wait_until(|| socket.exists() && docker(&socket, &client).args(["version"]).run().is_success());
        engine
    }

    /// The engine's client, `/usr/bin/docker`, with a login file for this engine only.
    pub(crate) fn docker(&self, arguments: &[&str]) -> ToolCommand {
        docker(&self.socket(), &self.folder.path().join("client")).args(arguments)
    }

    /// docker-compose with this engine, in a project directory.
    pub(crate) fn compose(&self, project: &Path, arguments: &[&str]) -> ToolCommand {
        let compose = ToolCommand::new("docker-compose").folder(project).args(["--ansi", "never"]).args(arguments);
        compose.env("DOCKER_HOST", self.host()).env("DOCKER_CONFIG", self.folder.path().join("client"))
    }

    /// Shell lines in a directory, in which `docker` is this engine's client.
    pub(crate) fn shell(&self, folder: &Path, lines: &str) -> ToolCommand {
        let shell = ToolCommand::new("sh").folder(folder).args(["-e", "-x", "-c", lines]);
        let search_path = format!("/usr/bin:{}", std::env::var("PATH").unwrap_or_default());
        let shell = shell.env("PATH", search_path).env("DOCKER_HOST", self.host());
        shell.env("DOCKER_CONFIG", self.folder.path().join("client"))
    }

    /// `docker login` with the password on standard input.
    pub(crate) fn login(&self, registry: &str, user: &str, password: &str) -> ToolCommand {
        self.docker(&["login", "--username", user, "--password-stdin", registry]).input(password)
    }

    /// The file in which the client stores its logins.
    pub(crate) fn login_file(&self) -> PathBuf {
        self.folder.path().join("client/config.json")
    }

    /// One value of `docker inspect`.
    pub(crate) fn inspect(&self, format: &str, what: &str) -> String {
        self.docker(&["inspect", "--format", format, what]).run_ok().stdout.trim().to_owned()
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }
}

fn docker(socket: &Path, client: &Path) -> ToolCommand {
    ToolCommand::new("docker").env("DOCKER_HOST", format!("unix://{}", socket.display())).env("DOCKER_CONFIG", client)
}

fn command(folder: &Path, driver: &str) -> Command {
    let mut command = Command::new(require("dockerd"));
    command.arg("--data-root").arg(folder.join("data")).arg("--exec-root").arg(folder.join("exec"));
    command.arg("--pidfile").arg(folder.join("pid")).args(["--storage-driver", driver]);
    command.arg("--host").arg(format!("unix://{}", folder.join("docker.sock").display()));
    // No default bridge and no firewall rules: the machine's network stays unchanged. A compose project still gets a
    // bridge of its own, and the engine's proxy process still publishes ports.
    command.args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"]);
    command
}

/// Whether an overlay can be mounted here; inside a container it often cannot.
fn overlay_works_in(folder: &Path) -> bool {
    let probe = folder.join("probe");
    let paths = ["lower", "upper", "work", "merged"].map(|name| probe.join(name));
    for path in &paths {
        fs::create_dir_all(path).unwrap();
    }
    let [lower, upper, work, merged] = paths.map(|path| path.display().to_string());
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    let mounted =
        ToolCommand::new("mount").args(["-t", "overlay", "overlay", "-o", &options, &merged]).run().is_success();
    if mounted {
        ToolCommand::new("umount").arg(&merged).run_ok();
    }
    mounted
}

/// Unmounts the mounts that a killed engine left.
struct EngineMounts {
    below: PathBuf,
}

impl Drop for EngineMounts {
    fn drop(&mut self) {
        let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let points = table.lines().filter_map(|line| line.split_whitespace().nth(1));
        let mut points: Vec<&str> = points.filter(|point| Path::new(point).starts_with(&self.below)).collect();
        points.reverse(); // the last mounted first
        for point in points {
            ToolCommand::new("umount").args(["--lazy", point]).run();
        }
    }
}
