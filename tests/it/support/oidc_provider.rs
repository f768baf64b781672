//! Runs a real OIDC provider, panva's oidc-provider, that issues tokens to CI jobs.
//!
//! Invariant: it listens on loopback, has the name in its certificate, and ends with its value.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, KeyPair};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::daemon::Daemon;
use super::tool_command::require;
use super::{ToolCommand, eventually, free_port};

/// A running provider; dropping it ends it.
pub(crate) struct OidcProvider {
    daemon: Daemon,
    port: u16,
    folder: TempDir,
}

impl OidcProvider {
    /// Starts a provider whose tokens have these claims, by client name.
    pub(crate) fn start(claims: &Value) -> Self {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oidc");
        assert!(
            project.join("node_modules/oidc-provider").is_dir(),
            "oidc-provider is not installed, and this test needs it\nhint: scripts/install-test-parts"
        );
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        let port = free_port::free();
        let mut command = std::process::Command::new(require("node"));
        command.current_dir(&project).arg("provider.js").arg(port.to_string());
        command.arg(write("certificate.pem", &certificate.pem())).arg(write("key.pem", &key.serialize_pem()));
        command.arg(write("claims.json", &claims.to_string()));
        let log = folder.path().join("log");
        let mut daemon = Daemon::start(command, log.clone());
        daemon.wait_until(|| says(&log, "ready at"));
        Self { daemon, port, folder }
    }

    /// The issuer, which is also its URL.
    pub(crate) fn issuer(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// Its self-signed certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    /// A token for `audience`, as the job of `client` gets it.
    pub(crate) fn token(&self, client: &str, audience: &str) -> String {
        let form = format!(
            "grant_type=client_credentials&client_id={client}&client_secret={client}&scope=push&resource={audience}"
        );
        let url = format!("{}/token", self.issuer());
        let curl = ToolCommand::new("curl").args([
            "--silent",
            "--show-error",
            "--fail-with-body",
            "--noproxy",
            "*",
            "--cacert",
        ]);
        let answered = curl.arg(self.certificate()).args(["--data", &form, &url]).run_ok();
        let answer: Value = serde_json::from_str(&answered.stdout).unwrap();
        answer["access_token"].as_str().unwrap_or_else(|| panic!("no token: {answer}")).to_owned()
    }

    /// Signs with another key from now on; the previous one stays published.
    pub(crate) fn rotate(&self) {
        self.daemon.signal(Signal::HUP);
        let log = self.folder.path().join("log");
        assert!(eventually(|| says(&log, "rotated to")), "{}", self.daemon.log());
    }

    /// Ends it, as if it were unreachable.
    pub(crate) fn stop(&mut self) {
        self.daemon.stop();
    }
}

fn says(log: &Path, words: &str) -> bool {
    fs::read_to_string(log).is_ok_and(|said| said.contains(words))
}
