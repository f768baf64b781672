//! Makes the host name `registry.test` resolve to `::1` while a test holds it.
//!
//! Docker treats every registry on 127.0.0.0/8 as insecure and does not verify it, so a test of certificate
//! verification needs a name that resolves elsewhere. The name is in `/etc/hosts` and its trust in
//! `/etc/docker/certs.d`, which all tests share: a lock file lets one test at a time have both.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::test_ca::IssuedPair;

/// The name in certificates, image references and `/etc/hosts`.
pub(crate) const REGISTRY: &str = "registry.test";

const HOSTS: &str = "/etc/hosts";
const LINE: &str = "::1 registry.test # put here by the tests of portcullis, gone when they end";
const CERTIFICATES: &str = "/etc/docker/certs.d";

/// Held while `registry.test` resolves; dropping it restores the files.
pub(crate) struct RegistryTestName {
    trusted: Vec<PathBuf>,
    /// Released by the kernel when the file closes, also if this process is killed.
    _lock: File,
}

impl RegistryTestName {
    /// Waits until no other test holds the name, then makes it resolve.
    pub(crate) fn acquire() -> Self {
        let lock = File::create(std::env::temp_dir().join("portcullis-registry-test.lock")).unwrap();
        lock.lock().unwrap();
        // A line found while holding the lock was left by a test that was killed.
        let hosts = without_our_line(&fs::read_to_string(HOSTS).unwrap());
        write_hosts(&format!("{hosts}{LINE}\n"));
        Self { trusted: Vec::new(), _lock: lock }
    }

    /// Puts a CA certificate where the Docker Engine looks for that of `registry.test:port`.
    pub(crate) fn trust(&mut self, port: u16, ca: &Path) {
        let folder = PathBuf::from(format!("{CERTIFICATES}/{REGISTRY}:{port}"));
        fs::create_dir_all(&folder).unwrap();
        self.trusted.push(folder.clone());
        fs::copy(ca, folder.join("ca.crt")).unwrap();
    }

    /// Puts a client certificate and its key beside the CA certificate, where the Docker Engine looks for them.
    pub(crate) fn add_client_certificate(&mut self, port: u16, issued: &IssuedPair) {
        let folder = PathBuf::from(format!("{CERTIFICATES}/{REGISTRY}:{port}"));
        self.trusted.push(folder.clone());
        fs::write(folder.join("client.cert"), &issued.certificate).unwrap();
        fs::write(folder.join("client.key"), &issued.key).unwrap();
    }

    /// Removes at the end what other programs write for this port.
    pub(crate) fn remove_at_end(&mut self, port: u16) {
        self.trusted.push(PathBuf::from(format!("{CERTIFICATES}/{REGISTRY}:{port}")));
    }
}

impl Drop for RegistryTestName {
    fn drop(&mut self) {
        for folder in &self.trusted {
            let _ = fs::remove_dir_all(folder);
        }
        let _ = fs::remove_dir(CERTIFICATES); // only if it is empty, because it may have been there before
        write_hosts(&without_our_line(&fs::read_to_string(HOSTS).unwrap()));
    }
}

fn without_our_line(hosts: &str) -> String {
    let mut kept: Vec<&str> = hosts.lines().filter(|line| *line != LINE).collect();
    kept.push("");
    kept.join("\n")
}

/// Written in place, because `/etc/hosts` is a mount of its own in a container and cannot be renamed over.
fn write_hosts(text: &str) {
    fs::write(HOSTS, text).unwrap_or_else(|error| {
        panic!("{HOSTS}: {error}\nhint: this test gives `{REGISTRY}` a name there: run as root")
    });
}
