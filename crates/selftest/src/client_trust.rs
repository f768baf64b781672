//! Reads the trust settings of docker, containerd and podman on this machine: which of them is installed, and which
//! certificate authorities each trusts for a registry.
//!
//! The system's authorities are looked up as Go programs do, which the clients are, and not by `rustls-native-certs`:
//! that crate returns certificates without the file they came from, which the report names, and searches other places.
//!
//! Invariant: nothing is written, and a folder is chosen exactly as the client chooses it.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use super::{
    RegistryTarget,
    client_certificate::{self, ClientCertificateFiles},
    folder_files::files_with_extension,
};

/// The files in which Go programs look for the authorities of the system, in the order of the search.
const SYSTEM_CA_BUNDLES: [&str; 6] = [
    "etc/ssl/certs/ca-certificates.crt",
    "etc/pki/tls/certs/ca-bundle.crt",
    "etc/ssl/ca-bundle.pem",
    "etc/pki/tls/cacert.pem",
    "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "etc/ssl/cert.pem",
];

/// A registry client whose trust settings are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContainerClient {
    Docker,
    Containerd,
    Podman,
}

impl ContainerClient {
    const ALL: [Self; 3] = [Self::Docker, Self::Containerd, Self::Podman];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Containerd => "containerd",
            Self::Podman => "podman",
        }
    }

    fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Docker => &["docker", "dockerd"],
            Self::Containerd => &["containerd", "ctr", "nerdctl", "crictl"],
            Self::Podman => &["podman", "buildah", "skopeo"],
        }
    }
}

/// The trust settings of a client for one registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ClientTrustSettings {
    /// Files of authorities for this registry alone.
    pub(super) registry_files: Vec<PathBuf>,
    /// The file of the system's authorities, which are trusted as well.
    pub(super) system_file: Option<PathBuf>,
    /// The file that disables the verification of certificates.
    pub(super) skip_verify_file: Option<PathBuf>,
    /// The client certificates for this registry, of which the first is presented.
    pub(super) client_certificates: Vec<ClientCertificateFiles>,
    /// The command or setting that makes the client trust the authority in `ca.crt`.
    pub(super) remedy: String,
}

/// The machine: the places of the clients and of their settings.
#[derive(Clone, Debug)]
pub struct ClientEnvironment {
    root: PathBuf,
    home: Option<PathBuf>,
    program_folders: Vec<PathBuf>,
    bundle: Option<PathBuf>,
    /// The HTTPS proxy that clients started from this shell use.
    pub(super) proxy: Option<String>,
}

impl ClientEnvironment {
    /// Creates the description of this machine from its environment variables.
    pub fn new(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let text = |name: &str| variable(name).filter(|value| !value.is_empty());
        let proxy = text("HTTPS_PROXY").or_else(|| text("https_proxy"));
        Self {
            root: PathBuf::from("/"),
            home: text("HOME").map(PathBuf::from),
            program_folders: text("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default(),
            bundle: text("SSL_CERT_FILE").map(PathBuf::from),
            proxy: proxy.map(|proxy| proxy.to_string_lossy().into_owned()),
        }
    }

    /// The installed clients. containerd comes with Docker, which does not use its registry settings: beside Docker it
    /// is listed only if it has such settings or a client of its own.
    pub(super) fn clients(&self) -> Vec<ContainerClient> {
        let has = |client: ContainerClient| client.programs().iter().any(|program| self.is_installed(program));
        let beside = self.is_installed("nerdctl")
            || self.is_installed("crictl")
            || self.root.join("etc/containerd/certs.d").is_dir();
        let counts = |client: &ContainerClient| match client {
            ContainerClient::Docker | ContainerClient::Podman => has(*client),
            ContainerClient::Containerd => has(*client) && (beside || !has(ContainerClient::Docker)),
        };
        ContainerClient::ALL.into_iter().filter(counts).collect()
    }

    fn is_installed(&self, program: &str) -> bool {
        self.program_folders.iter().any(|folder| folder.join(program).is_file())
    }

    /// The file of the system's authorities: `SSL_CERT_FILE`, or the first of the known files that exists.
    pub(super) fn system_bundle(&self) -> Option<PathBuf> {
        let known = SYSTEM_CA_BUNDLES.iter().map(|path| self.root.join(path)).find(|path| path.is_file());
        self.bundle.clone().or(known)
    }

    /// The trust settings of a client for a registry.
    pub(super) fn trust_settings(&self, client: ContainerClient, target: &RegistryTarget) -> ClientTrustSettings {
        let found = match client {
            ContainerClient::Docker => read_certs_d(&self.root.join("etc/docker/certs.d").join(&target.name)),
            ContainerClient::Podman => {
                let places = self.podman_folders().into_iter().map(|folder| folder.join(&target.name));
                let first = places.into_iter().find(|folder| folder.is_dir());
                first.map(|found| read_certs_d(&found)).unwrap_or_default()
            }
            ContainerClient::Containerd => {
                self.containerd_folder(target).map(|folder| read_hosts_toml(&folder)).unwrap_or_default()
            }
        };
        ClientTrustSettings { system_file: self.system_bundle(), remedy: self.remedy(client, target), ..found }
    }

    fn podman_folders(&self) -> Vec<PathBuf> {
        let home = self.home.as_ref().map(|home| home.join(".config/containers/certs.d"));
        let system = ["etc/containers/certs.d", "etc/docker/certs.d"].map(|path| self.root.join(path));
        home.into_iter().chain(system).collect()
    }

    fn containerd_folder(&self, target: &RegistryTarget) -> Option<PathBuf> {
        let folder = self.root.join("etc/containerd/certs.d");
        let escaped = target.name.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
        let escaped = escaped.map(|(host, port)| format!("{host}_{port}_"));
        let names = escaped.into_iter().chain([target.name.clone(), "_default".to_owned()]);
        names.map(|name| folder.join(name)).find(|folder| folder.is_dir())
    }

    fn remedy(&self, client: ContainerClient, target: &RegistryTarget) -> String {
        let name = &target.name;
        let command = cert_trust_command(client.name(), name);
        match client {
            ContainerClient::Docker => command,
            ContainerClient::Podman => {
                // podman reads only the first folder that exists, and the command writes into another one.
                let exists =
                    self.podman_folders().into_iter().map(|folder| folder.join(name)).find(|folder| folder.is_dir());
                let other = exists.filter(|folder| !folder.starts_with(self.root.join("etc/containers/certs.d")));
                other.map_or(command, |folder| format!("sudo install -m 644 ca.crt {}/ca.crt", folder.display()))
            }
            ContainerClient::Containerd => {
                let hosts = self.containerd_folder(target).map(|folder| folder.join("hosts.toml"));
                match hosts.filter(|hosts| hosts.is_file()) {
                    // The command does not change settings that were written by hand.
                    Some(hosts) => format!(
                        "copy it into the folder of {0}, and write ca = \"ca.crt\" below [host.\"{target}\"] there",
                        hosts.display()
                    ),
                    None => command,
                }
            }
        }
    }
}

/// The command that makes a client (or `os`, all programs) trust the authority in `ca.crt` for a registry.
pub(super) fn cert_trust_command(client: &str, registry: &str) -> String {
    format!("sudo portcullis cert trust {client} --host {registry} --ca ca.crt --apply")
}

/// A folder as docker and podman read it: authorities in `*.crt`, client certificates in `*.cert` and `*.key`.
fn read_certs_d(folder: &Path) -> ClientTrustSettings {
    ClientTrustSettings {
        registry_files: files_with_extension(folder, "crt"),
        client_certificates: client_certificate::in_folder(folder),
        ..ClientTrustSettings::default()
    }
}

/// The authorities and client certificates that `hosts.toml` names, and the path of this file if it has `skip_verify`.
/// Without the file, the folder is read like Docker's.
fn read_hosts_toml(folder: &Path) -> ClientTrustSettings {
    let path = folder.join("hosts.toml");
    let Ok(text) = fs::read_to_string(&path) else { return read_certs_d(folder) };
    let Ok(document) = text.parse::<toml::Table>() else { return ClientTrustSettings::default() };
    let mut tables = vec![&document];
    if let Some(named) = document.get("host").and_then(toml::Value::as_table) {
        tables.extend(named.values().filter_map(toml::Value::as_table));
    }
    let mut settings = ClientTrustSettings::default();
    for table in tables {
        if table.get("skip_verify").and_then(toml::Value::as_bool).unwrap_or(false) {
            settings.skip_verify_file = Some(path.clone());
        }
        let named = match table.get("ca") {
            Some(toml::Value::Array(several)) => several.iter().collect(),
            Some(one) => vec![one],
            None => Vec::new(),
        };
        let named = named.into_iter().filter_map(toml::Value::as_str).map(|file| folder.join(file));
        settings.registry_files.extend(named);
        let client = table.get("client").map(|client| client_certificate::in_hosts_toml(client, folder));
        settings.client_certificates.extend(client.unwrap_or_default());
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    struct ClientFixture {
        machine: ClientEnvironment,
        folder: tempfile::TempDir,
    }

    impl ClientFixture {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let root = folder.path().to_owned();
            let machine = ClientEnvironment {
                home: Some(root.join("home")),
                program_folders: vec![root.join("bin")],
                bundle: None,
                proxy: None,
                root,
            };
            Self { machine, folder }
        }

        fn put(&self, path: &str, text: &str) -> PathBuf {
            let path = self.folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        }

        fn own(&self, client: ContainerClient) -> Vec<PathBuf> {
            self.machine.trust_settings(client, &"registry.test:5000".parse().unwrap()).registry_files
        }
    }

    #[test]
    fn docker_takes_every_crt_of_its_folder_and_nothing_else() {
        let here = ClientFixture::new();
        assert_eq!(here.own(ContainerClient::Docker), Vec::<PathBuf>::new());
        let second = here.put("etc/docker/certs.d/registry.test:5000/b.crt", "");
        let first = here.put("etc/docker/certs.d/registry.test:5000/a.crt", "");
        here.put("etc/docker/certs.d/registry.test:5000/client.cert", "");
        here.put("etc/docker/certs.d/registry.test/c.crt", "");
        assert_eq!(here.own(ContainerClient::Docker), [first, second]);
    }

    #[test]
    fn podman_takes_the_first_folder_that_exists_even_if_it_is_empty() {
        let here = ClientFixture::new();
        let docker = here.put("etc/docker/certs.d/registry.test:5000/ca.crt", "");
        assert_eq!(here.own(ContainerClient::Podman), [docker]);
        let containers = here.put("etc/containers/certs.d/registry.test:5000/ca.crt", "");
        assert_eq!(here.own(ContainerClient::Podman), [containers]);
        here.put("home/.config/containers/certs.d/registry.test:5000/README", "");
        assert_eq!(here.own(ContainerClient::Podman), Vec::<PathBuf>::new());
    }

    #[test]
    fn containerd_takes_the_first_folder_and_the_files_that_hosts_toml_names() {
        let here = ClientFixture::new();
        let fallback = here.put("etc/containerd/certs.d/_default/ca.crt", "");
        assert_eq!(here.own(ContainerClient::Containerd), [fallback]);
        let folder = "etc/containerd/certs.d/registry.test_5000_";
        let text = "ca = \"one.crt\"\n[host.\"https://registry.test:5000\"]\nca = [\"two.crt\", \"/three.crt\"]\nskip_verify = true\n";
        let file = here.put(&format!("{folder}/hosts.toml"), text);
        let folder = here.folder.path().join(folder);
        assert_eq!(
            here.own(ContainerClient::Containerd),
            [folder.join("one.crt"), folder.join("two.crt"), "/three.crt".into()]
        );
        let trust = here.machine.trust_settings(ContainerClient::Containerd, &"registry.test:5000".parse().unwrap());
        assert_eq!(trust.skip_verify_file, Some(file));
    }

    #[test]
    fn containerd_beside_docker_counts_only_where_it_was_given_registries() {
        let here = ClientFixture::new();
        assert_eq!(here.machine.clients(), []);
        here.put("bin/containerd", "");
        assert_eq!(here.machine.clients(), [ContainerClient::Containerd]);
        here.put("bin/docker", "");
        here.put("bin/skopeo", "");
        assert_eq!(here.machine.clients(), [ContainerClient::Docker, ContainerClient::Podman]);
        here.put("etc/containerd/certs.d/_default/hosts.toml", "");
        assert_eq!(here.machine.clients(), ContainerClient::ALL);
    }

    #[test]
    fn the_authorities_of_the_system_are_where_go_looks_for_them() {
        let mut here = ClientFixture::new();
        assert_eq!(here.machine.system_bundle(), None);
        let redhat = here.put("etc/pki/tls/certs/ca-bundle.crt", "");
        assert_eq!(here.machine.system_bundle(), Some(redhat));
        here.machine.bundle = Some("/mine.pem".into());
        assert_eq!(here.machine.system_bundle(), Some("/mine.pem".into()));
    }
}
