//! Starts docker-registry with the configuration of its Debian package, except for addresses, TLS and users.

use std::fs;

use super::ContenderFiles;
use crate::{external_programs, process::ServerProcess};

impl ContenderFiles<'_> {
    pub(super) fn registry(&self, port: u16, tls: bool) -> ServerProcess {
        let configuration = self.folder.join("registry.yml");
        fs::write(&configuration, self.registry_configuration(port, tls)).unwrap();
        let mut command = external_programs::command("docker-registry");
        ServerProcess::start(command.arg("serve").arg(configuration), &self.folder.join("registry.log"))
    }

    fn registry_configuration(&self, port: u16, tls: bool) -> String {
        let data = self.data.display();
        let (certificate, key) = (self.material.certificate(), self.material.key());
        let (certificate, key) = (certificate.display(), key.display());
        let tls = if tls { format!("  tls:\n    certificate: {certificate}\n    key: {key}\n") } else { String::new() };
        // Without `catalog`, a list ends after 1,000 repositories.
        format!(
            "version: 0.1
log:
  fields:
    service: registry
storage:
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: {data}
  delete:
    enabled: true
catalog:
  maxentries: 1000000
http:
  addr: 127.0.0.1:{port}
  secret: the same for all requests
  headers:
    X-Content-Type-Options: [nosniff]
{tls}health:
  storagedriver:
    enabled: true
    interval: 10s
    threshold: 3
"
        )
    }
}
