//! Plans which files make a client trust a certificate authority for a registry, and writes the plan as a shell script.

use std::{
    fmt::{self, Write as _},
    path::{Path, PathBuf},
    str::FromStr,
};

use clap::ValueEnum;

use crate::tls::{self, Hostname};

/// A client of a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ClientKind {
    /// The Docker Engine
    Docker,
    /// containerd, and with it Kubernetes, nerdctl and ctr
    Containerd,
    /// podman, skopeo and buildah
    Podman,
    /// The operating system, and with it curl and most other programs
    Os,
}

/// The host and port of a registry, as at the beginning of image names. The text is safe as the name of a folder, in a
/// URL and in a comment of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RegistryHost(String);

impl FromStr for RegistryHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, port) = match text.rsplit_once(':') {
            // Several colons without brackets: the whole text is an IPv6 address.
            Some((host, port)) if host.starts_with('[') && host.ends_with(']') || !host.contains(':') => {
                let port: u16 = port.parse().map_err(|_| format!("{port:?} is not a port"))?;
                (host, Some(port))
            }
            Some(_) | None => (text, None),
        };
        let host: Hostname = host.parse().map_err(|error: tls::InvalidHostname| error.to_string())?;
        // The port is kept even if it is the default of `https`: Docker compares with the text of the image name.
        let host = match (&host, port) {
            (host @ Hostname::Address(std::net::IpAddr::V6(_)), _) => format!("[{host}]"),
            (host, _) => host.to_string(),
        };
        Ok(Self::from_host(&port.map_or(host.clone(), |port| format!("{host}:{port}"))))
    }
}

impl RegistryHost {
    /// Adds `:443` to a name without dot and port, which Docker would take for an account on Docker Hub.
    pub(super) fn from_host(host: &str) -> Self {
        let is_clear = host == "localhost" || host.contains(['.', ':']);
        Self(if is_clear { host.to_owned() } else { format!("{host}:443") })
    }

    /// The registry as a part of a file name: without brackets, and with `_` for `:`.
    fn file_stem(&self) -> String {
        self.0.replace(['[', ']'], "").replace(':', "_")
    }
}

impl fmt::Display for RegistryHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The files to write for one client, and the command that makes the client load them.
pub(super) struct TrustPlan {
    /// The absolute path of the client's folder.
    pub(super) folder: PathBuf,
    /// Names and contents of the files in the folder.
    pub(super) files: Vec<(String, String)>,
    /// The command that makes the client load the files, if it does not do so by itself.
    pub(super) command: Option<&'static str>,
    /// Further remarks, printed line by line.
    pub(super) notes: &'static [&'static str],
}

/// Folders where operating systems keep additional authorities, each with the command that loads them.
pub(super) const OS_TRUST_STORES: [(&str, &str); 4] = [
    ("/etc/pki/ca-trust/source/anchors", "update-ca-trust"),
    ("/etc/pki/trust/anchors", "update-ca-certificates"),
    ("/etc/ca-certificates/trust-source/anchors", "update-ca-trust"),
    ("/usr/local/share/ca-certificates", "update-ca-certificates"),
];

const CONTAINERD_NOTES: &[&str] = &[
    "Kubernetes reads this folder if /etc/containerd/config.toml names it (then: systemctl restart containerd):",
    "  containerd 2: [plugins.'io.containerd.cri.v1.images'.registry]",
    "                config_path = '/etc/containerd/certs.d'",
    "  containerd 1: [plugins.\"io.containerd.grpc.v1.cri\".registry]",
    "                config_path = \"/etc/containerd/certs.d\"",
    "nerdctl reads it by itself, ctr with --hosts-dir /etc/containerd/certs.d.",
];
const PODMAN_NOTES: &[&str] =
    &["For one user alone, and without root: ~/.config/containers/certs.d in place of /etc/containers/certs.d."];
const DOCKER_NOTES: &[&str] = &["Docker reads these files at each request; nothing has to be restarted."];
const OS_NOTES: &[&str] = &["Running programs (dockerd, containerd) load it at their next start."];

impl TrustPlan {
    /// The plan for `client` to trust the authority with this certificate for `registry`.
    pub(super) fn new(client: ClientKind, registry: &RegistryHost, pem: &str) -> Self {
        let below = |folder: &str| Path::new(folder).join(&registry.0);
        let ca = ("ca.crt".to_owned(), pem.to_owned());
        match client {
            ClientKind::Docker => {
                Self { folder: below("/etc/docker/certs.d"), files: vec![ca], command: None, notes: DOCKER_NOTES }
            }
            ClientKind::Podman => {
                Self { folder: below("/etc/containers/certs.d"), files: vec![ca], command: None, notes: PODMAN_NOTES }
            }
            ClientKind::Containerd => {
                // The path `ca.crt` is relative to hosts.toml.
                let url = format!("https://{registry}");
                let hosts = format!("server = \"{url}\"\n\n[host.\"{url}\"]\n  ca = \"ca.crt\"\n");
                let files = vec![ca, ("hosts.toml".to_owned(), hosts)];
                Self { folder: below("/etc/containerd/certs.d"), files, command: None, notes: CONTAINERD_NOTES }
            }
            ClientKind::Os => {
                let (folder, command) = OS_TRUST_STORES[OS_TRUST_STORES.len() - 1];
                let file = format!("portcullis-{}.crt", registry.file_stem());
                let files = vec![(file, pem.to_owned())];
                Self { folder: folder.into(), files, command: Some(command), notes: OS_NOTES }
            }
        }
    }

    /// The plan as a shell script.
    pub(super) fn script(&self) -> String {
        let (mut text, folder) = match self.command {
            Some(_) => (store_selection_script(), "\"$FOLDER\"".to_owned()),
            None => (String::new(), shell_quoted(&self.folder.to_string_lossy())),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "sudo install -d -m 755 {folder}");
        for (name, contents) in &self.files {
            let _ = write!(text, "sudo tee {folder}/{name} > /dev/null <<'EOF'\n{contents}EOF\n");
            let _ = writeln!(text, "sudo chmod 644 {folder}/{name}");
        }
        if self.command.is_some() {
            text.push_str("sudo \"$UPDATE\"\n");
        }
        for note in self.notes {
            let _ = writeln!(text, "# {note}");
        }
        text
    }
}

/// Shell lines that choose the first folder of [`OS_TRUST_STORES`] that exists; the last one is used if none does.
fn store_selection_script() -> String {
    let [others @ .., (folder, command)] = OS_TRUST_STORES;
    let choice = |(folder, command)| format!("if [ -d {folder} ]; then FOLDER={folder} UPDATE={command}\nel");
    let choices: String = others.into_iter().map(choice).collect();
    format!("{choices}se FOLDER={folder} UPDATE={command}; fi\n")
}

/// Quotes a path with the brackets of an IPv6 address, which a shell would expand as a pattern.
fn shell_quoted(path: &str) -> String {
    if path.contains(['[', ']']) { format!("'{path}'") } else { path.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(text: &str) -> String {
        text.parse::<RegistryHost>().unwrap().to_string()
    }

    #[test]
    fn a_registry_is_written_as_the_names_of_its_images_begin() {
        for (given, taken) in [
            ("registry.example.com", "registry.example.com"),
            ("Registry.Example.com:443", "registry.example.com:443"),
            ("10.0.0.5:8443", "10.0.0.5:8443"),
            ("localhost", "localhost"),
            ("registry", "registry:443"),
            ("::1", "[::1]"),
            ("[::1]:5000", "[::1]:5000"),
        ] {
            assert_eq!(registry(given), taken);
        }
    }

    #[test]
    fn what_climbs_out_of_a_folder_or_into_a_shell_is_no_registry() {
        for text in [
            "",
            "..",
            "../../etc",
            "a/b",
            "a b",
            "a;b",
            "$(a)",
            "a\nb",
            "a:b",
            "a:99999",
            "https://a.test",
            "a'b",
            ":1",
        ] {
            assert!(text.parse::<RegistryHost>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_script_for_containerd_has_both_files_where_containerd_looks() {
        let script = TrustPlan::new(ClientKind::Containerd, &RegistryHost("a.test:8443".to_owned()), "PEM\n").script();
        let expected = "sudo install -d -m 755 /etc/containerd/certs.d/a.test:8443\n\
            sudo tee /etc/containerd/certs.d/a.test:8443/ca.crt > /dev/null <<'EOF'\nPEM\nEOF\n\
            sudo chmod 644 /etc/containerd/certs.d/a.test:8443/ca.crt\n\
            sudo tee /etc/containerd/certs.d/a.test:8443/hosts.toml > /dev/null <<'EOF'\n\
            server = \"https://a.test:8443\"\n\n[host.\"https://a.test:8443\"]\n  ca = \"ca.crt\"\nEOF\n\
            sudo chmod 644 /etc/containerd/certs.d/a.test:8443/hosts.toml\n# ";
        assert!(script.starts_with(expected), "{script}");
    }
}
