//! Collects what the operator has to know about a first start: the created administrator and certificate authority.

use std::{io, net::SocketAddr, path::PathBuf};

use aws_lc_rs::rand::SystemRandom;

use super::start_error::StartError;
use crate::{
    access::UserName,
    auth::{Password, passwords::hash::BcryptCost, users::first_administrator::create_first_administrator},
    tls::{self, Fingerprint, Hostname},
};

/// The facts that the first-start banner shows to the operator.
pub struct FirstStart {
    /// The host with the port, as clients address this registry in image names.
    pub host: String,
    /// The certificate authority (CA), if the server created its own.
    pub authority: Option<OwnCa>,
    /// The administrator account, if the server created it because there was no users file.
    pub administrator: Option<(UserName, Password)>,
    /// Whether the start created anything that the operator has to know.
    pub is_first: bool,
}

/// The certificate authority that the server created for itself.
pub struct OwnCa {
    /// The path of its certificate, which clients must trust.
    pub certificate: PathBuf,
    /// The fingerprint by which a person verifies the certificate.
    pub fingerprint: Fingerprint,
}

/// The certificate authority of a self-signed certificate.
pub(super) fn own_ca(config: &tls::TlsConfig, loaded: &tls::LoadedIdentities) -> Option<OwnCa> {
    match &config.source {
        tls::CertificateSource::Files { .. } | tls::CertificateSource::Acme(_) => None,
        tls::CertificateSource::SelfSigned { directory } => {
            let fingerprint = loaded.identity.authority_fingerprint()?;
            // The path is absolute, because the user pastes the line with it into another terminal.
            let certificate = directory.join("ca.crt");
            let certificate = std::path::absolute(&certificate).unwrap_or(certificate);
            Some(OwnCa { certificate, fingerprint })
        }
    }
}

/// Creates the first administrator if there is no users file. Hashing the password blocks, so it runs outside the async
/// executor.
pub(super) async fn create_administrator(path: PathBuf) -> Result<Option<(UserName, Password)>, StartError> {
    let made = tokio::task::spawn_blocking(move || {
        create_first_administrator(&path, BcryptCost::DEFAULT, &SystemRandom::new())
    });
    let made = made.await.map_err(|panic| StartError::Runtime(io::Error::other(panic)))?;
    Ok(made?)
}

/// The host that image names of this registry begin with. Docker takes a first component with neither a dot nor a port
/// for an account on Docker Hub, so a machine `buildhost` becomes `buildhost:443`, although `https` implies the port.
pub(crate) fn registry_host(hostnames: &[Hostname], addresses: &[SocketAddr]) -> String {
    let port = addresses.first().map_or(443, SocketAddr::port);
    let host = hostnames.first().map_or_else(|| "localhost".to_owned(), |name| name.authority(port));
    if host == "localhost" || host.contains(['.', ':']) { host } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_does_not_take_the_name_that_we_greet_with_for_an_account_on_docker_hub() {
        let greeted =
            |name: &str, port| registry_host(&[name.parse().unwrap()], &[SocketAddr::from(([0, 0, 0, 0], port))]);
        assert_eq!(greeted("buildhost", 443), "buildhost:443");
        assert_eq!(greeted("buildhost", 8443), "buildhost:8443");
        assert_eq!(greeted("registry.example.com", 443), "registry.example.com");
        assert_eq!(greeted("localhost", 443), "localhost");
    }
}
