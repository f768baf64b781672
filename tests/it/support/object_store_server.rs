//! Runs servers that speak the protocol of S3: `SeaweedFS`, and moto's simulation of AWS.
//!
//! Invariant: each has ports and folders of its own, on loopback.

use std::fs;
use std::net::TcpStream;
use std::process::Command;

use portcullis::clock::Clock;
use portcullis::http_client::{Proxies, TrustedRoots};
use portcullis_object_storage::{ObjectStorage, S3Config, S3Credentials};
use tempfile::TempDir;

use super::daemon::Daemon;
use super::free_port;
use super::tool_command::require;

/// The key that the servers accept.
const KEY_ID: &str = "test-key";
const SECRET: &str = "test-secret";

/// A running server with one bucket; dropping it ends it.
pub(crate) struct ObjectStoreServer {
    pub(crate) daemon: Daemon,
    port: u16,
    _folder: TempDir,
}

/// The name of the bucket.
pub(crate) const BUCKET: &str = "images";

impl ObjectStoreServer {
    /// Starts `SeaweedFS`: a master, a volume server, a filer and the gateway of S3, in one process.
    pub(crate) fn seaweedfs() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("s3.json");
        let identity = serde_json::json!({
            "name": "test",
            "credentials": [{ "accessKey": KEY_ID, "secretKey": SECRET }],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        });
        fs::write(&keys, serde_json::json!({ "identities": [identity] }).to_string()).unwrap();
        let port = free_port::free();
        let mut command = Command::new(require("weed"));
        command.arg("server").arg(format!("-dir={}", folder.path().display())).arg("-ip=127.0.0.1");
        command.args([
            "-ip.bind=127.0.0.1",
            "-volume.preStopSeconds=0",
            "-master.volumeSizeLimitMB=64",
            "-volume.max=50",
            "-s3",
        ]);
        command.arg(format!("-s3.config={}", keys.display()));
        // Each port has a companion for gRPC, 10,000 higher unless it is named.
        for part in ["master", "volume", "filer"] {
            command.arg(format!("-{part}.port={}", free_port::free()));
            command.arg(format!("-{part}.port.grpc={}", free_port::free()));
        }
        command.arg(format!("-s3.port={port}")).arg(format!("-s3.port.grpc={}", free_port::free()));
        Self::start(command, port, folder)
    }

    /// Starts moto's server. It checks no signatures.
    pub(crate) fn moto() -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port::free());
        let mut command = Command::new(require("moto_server"));
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        Self::start(command, port, folder)
    }

    fn start(command: Command, port: u16, folder: TempDir) -> Self {
        let mut daemon = Daemon::start(command, folder.path().join("log"));
        daemon.wait_until(|| TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { daemon, port, _folder: folder }
    }

    /// The configuration of a client for the part of the bucket below `prefix`.
    pub(crate) fn config(&self, prefix: &str) -> S3Config {
        S3Config {
            bucket: BUCKET.to_owned(),
            region: "us-east-1".to_owned(),
            endpoint: Some(format!("http://127.0.0.1:{}", self.port)),
            prefix: prefix.to_owned(),
            path_style: true,
            trust: TrustedRoots::Public,
            credentials: S3Credentials::Key { id: KEY_ID.to_owned(), secret: SECRET.to_owned(), session_token: None },
        }
    }

    /// Opens the part of the bucket below `prefix`.
    pub(crate) fn open(&self, prefix: &str) -> ObjectStorage {
        ObjectStorage::open_s3(&self.config(prefix), Proxies::default(), 64 << 20, Clock::system()).unwrap()
    }
}
