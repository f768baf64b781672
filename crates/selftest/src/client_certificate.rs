//! Finds and loads the client certificate that docker, containerd or podman presents to a registry.
//!
//! Invariant: files are found exactly as the client finds them, and no message contains a part of a private key.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use zeroize::Zeroizing;

use super::{Diagnosis, folder_files::files_with_extension};
use portcullis_tls as tls;

/// The files of a client certificate, in PEM. They may be the same file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificateFiles {
    /// The certificate, followed by its intermediates if it has any.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The `*.cert` files of a folder, each with the `*.key` file of the same name, as docker and podman read them.
pub(super) fn in_folder(folder: &Path) -> Vec<ClientCertificateFiles> {
    let with_key =
        |certificate: PathBuf| ClientCertificateFiles { key: certificate.with_extension("key"), certificate };
    files_with_extension(folder, "cert").into_iter().map(with_key).collect()
}

/// The value of `client` in containerd's `hosts.toml`: a file with certificate and key, a list of such files, or a list
/// of pairs. Paths are relative to `folder`.
pub(super) fn in_hosts_toml(client: &toml::Value, folder: &Path) -> Vec<ClientCertificateFiles> {
    let pair = |certificate: &str, key: &str| ClientCertificateFiles {
        certificate: folder.join(certificate),
        key: folder.join(key),
    };
    let entry = |value: &toml::Value| match value {
        toml::Value::String(both) => Some(pair(both, both)),
        toml::Value::Array(parts) => {
            let parts: Vec<&str> = parts.iter().filter_map(toml::Value::as_str).collect();
            match parts[..] {
                [both] | [both, ""] => Some(pair(both, both)),
                [certificate, key] => Some(pair(certificate, key)),
                _ => None,
            }
        }
        toml::Value::Integer(_)
        | toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_)
        | toml::Value::Table(_) => None,
    };
    let entries = client.as_array().map_or_else(|| std::slice::from_ref(client), Vec::as_slice);
    entries.iter().filter_map(entry).collect()
}

impl ClientCertificateFiles {
    /// Loads the files into a TLS configuration that verifies no certificates.
    pub(super) fn load(&self) -> Result<Arc<ClientConfig>, Diagnosis> {
        let chain = read(&self.certificate)?;
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(&chain).filter_map(Result::ok).collect();
        if chain.is_empty() {
            return Err(unusable(&self.certificate, "there is no certificate in it"));
        }
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?)
            .map_err(|_| unusable(&self.key, "there is no private key in it, or it is encrypted"))?;
        tls::unverified_client_with_certificate(chain, key).map_err(|error| {
            let is_other_key = matches!(error, rustls::Error::InconsistentKeys(_));
            let mismatch = || format!("it is not the key of {}", self.certificate.display());
            unusable(&self.key, &if is_other_key { mismatch() } else { error.to_string() })
        })
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Diagnosis> {
    fs::read(path).map(Zeroizing::new).map_err(|error| unusable(path, &error.to_string()))
}

fn unusable(path: &Path, reason: &str) -> Diagnosis {
    Diagnosis::new(
        format!("{} cannot be used for the client certificate: {reason}", path.display()),
        "a client certificate is a PEM file of certificates, and one of its private key, not encrypted, both readable by the \
         user who runs the client",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_in_hosts_toml_is_read_in_every_form() {
        let read = |text: &str| {
            let table: toml::Table = text.parse().unwrap();
            let found = in_hosts_toml(&table["client"], Path::new("/f"));
            let path = |path: &PathBuf| path.display().to_string();
            found.iter().map(|files| (path(&files.certificate), path(&files.key))).collect::<Vec<_>>()
        };
        let pair = |certificate: &str, key: &str| (certificate.to_owned(), key.to_owned());
        assert_eq!(read(r#"client = "a.pem""#), [pair("/f/a.pem", "/f/a.pem")]);
        assert_eq!(read(r#"client = ["a.pem", "/b.pem"]"#), [pair("/f/a.pem", "/f/a.pem"), pair("/b.pem", "/b.pem")]);
        assert_eq!(
            read(r#"client = [["a.cert", "a.key"], ["b.pem", ""]]"#),
            [pair("/f/a.cert", "/f/a.key"), pair("/f/b.pem", "/f/b.pem")]
        );
        assert_eq!(read("client = [1, true, []]"), []);
    }

    #[test]
    fn files_that_hold_no_certificate_or_no_key_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("client.cert"), "hello").unwrap();
        assert_eq!(
            in_folder(folder.path()),
            [ClientCertificateFiles { certificate: path("client.cert"), key: path("client.key") }]
        );
        let files = &in_folder(folder.path())[0];
        assert!(
            files
                .load()
                .unwrap_err()
                .cause
                .contains("client.cert cannot be used for the client certificate: there is no")
        );
        fs::remove_file(path("client.cert")).unwrap();
        assert!(
            files
                .load()
                .unwrap_err()
                .cause
                .contains("client.cert cannot be used for the client certificate: No such file")
        );
    }
}
