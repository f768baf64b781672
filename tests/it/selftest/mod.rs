//! Tests `portcullis selftest` against sound and faulty servers.
//!
//! Each fault has a real server with it: this server, nginx, docker-registry, or a socket that behaves as they would
//! not.

mod certificates;
mod docker_registry;
mod fake_servers;
mod portcullis_server;

use std::fs;
use std::path::Path;

use crate::support::ServerDir;
use crate::support::portcullis_server::TestUser;
use crate::support::tool_command::{ToolCommand, ToolOutput};

/// A selftest on a machine whose only client is podman, with its home in the stage's directory.
fn selftest(stage: &ServerDir, url: &str) -> ToolCommand {
    fs::create_dir_all(stage.path("bin")).unwrap();
    stage.write("bin/podman", "");
    let tool =
        stage.portcullis_command().args(["selftest", url]).env("PATH", stage.path("bin")).env("HOME", stage.folder());
    ["HTTPS_PROXY", "https_proxy", "SSL_CERT_FILE"].into_iter().fold(tool, |tool, name| tool.env(name, ""))
}

/// A selftest with a user's password that also trusts the stage's CA.
fn signed_in(stage: &ServerDir, url: &str, user: &TestUser) -> ToolCommand {
    let tool = selftest(stage, url).args(["--ca", "certs/ca.crt", "--user", user.name, "--password-stdin"]);
    tool.input(&format!("{}\n", user.password))
}

/// The outcome of each step: `ok ping`, `failed token`.
fn steps(output: &ToolOutput) -> Vec<String> {
    let line = |line: &str| {
        let (outcome, rest) = line.split_once(' ')?;
        let step = rest.trim_start().split(':').next()?;
        (!outcome.is_empty()).then(|| format!("{outcome} {step}"))
    };
    output.stdout.lines().filter_map(line).collect()
}

/// Asserts that this step is the first to fail, with this sentence and this fix, and the exit code of a failure.
#[track_caller]
fn assert_fails(output: &ToolOutput, step: &str, sentence: &str, fix: &str) {
    let mut lines = output.stdout.lines().skip_while(|line| !line.starts_with("failed"));
    let line = lines.next().unwrap_or_default();
    let below = lines.next().unwrap_or_default();
    assert!(line.starts_with(&format!("failed  {step}: ")) && line.contains(sentence), "{sentence}: {output}");
    assert!(below.starts_with("        fix: ") && below.contains(fix), "{fix}: {output}");
    assert!(output.to_string().contains("exit status: 1"), "{output}");
    assert!(output.stderr.contains(&format!(": {step} failed\nhint: ")), "{output}");
}

/// Puts a CA certificate where podman looks for that of a registry.
fn trust(stage: &ServerDir, port: u16, authority: &Path) {
    let folder = stage.path(&format!(".config/containers/certs.d/localhost:{port}"));
    fs::create_dir_all(&folder).unwrap();
    fs::copy(authority, folder.join("ca.crt")).unwrap();
}
