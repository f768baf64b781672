//! Starts Portcullis with its defaults, with only the address and the host names configured.

use std::{
    fs,
    path::Path,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use super::{ContenderFiles, START_TIMEOUT, free_port};
use crate::{fixtures::Fixtures, process::ServerProcess};

const BINARY: &str = env!("CARGO_BIN_EXE_portcullis");

impl ContenderFiles<'_> {
    /// Copies the files that a first start creates, so that this start is not a first one.
    pub(super) fn prepare_portcullis(&self) {
        fs::copy(self.material.users_file(), self.folder.join("htpasswd")).unwrap();
        let certificates = self.folder.join("certs");
        fs::create_dir(&certificates).unwrap();
        for file in fs::read_dir(self.material.certificates()).unwrap().flatten() {
            fs::copy(file.path(), certificates.join(file.file_name())).unwrap();
        }
    }

    pub(super) fn portcullis(&self) -> ServerProcess {
        ServerProcess::start(&mut command(self.folder, self.data, self.port), &self.folder.join("portcullis.log"))
    }
}

/// Starts Portcullis once, to create the keys and certificates of all servers.
pub(crate) fn first_start(material: &Fixtures, folder: &Path) {
    fs::create_dir(folder).unwrap();
    let mut command = command(folder, &folder.join("data"), free_port());
    command.arg("--certs").arg(material.certificates());
    let mut process = ServerProcess::start(&mut command, &folder.join("portcullis.log"));
    let deadline = Instant::now() + START_TIMEOUT;
    while !(material.certificate().exists() && material.certificates().join("token.key").exists()) {
        assert!(process.is_running() && Instant::now() < deadline, "Portcullis makes no keys in {}", folder.display());
        sleep(Duration::from_millis(20));
    }
}

fn command(folder: &Path, data: &Path, port: u16) -> Command {
    let mut command = Command::new(BINARY);
    // In its own folder, so that no configuration file or users file of the checkout is found.
    command.current_dir(folder).arg("serve").arg("--data").arg(data);
    command.arg("--listen").arg(format!("127.0.0.1:{port}")).args([
        "--hostname",
        "localhost",
        "--hostname",
        "127.0.0.1",
    ]);
    command
}
