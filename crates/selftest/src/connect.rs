//! Resolves the registry's name, connects, and does the TLS handshake; explains each failure.
//!
//! Invariant: every wait is bounded.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rustls::{AlertDescription, ClientConfig, Error, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{Diagnosis, RegistryTarget};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// The addresses of the registry, in the order in which clients would try them.
pub(super) async fn resolve(target: &RegistryTarget) -> Result<Vec<SocketAddr>, Diagnosis> {
    let host = target.host.to_string();
    let fix = format!(
        "is the name right? if it is, add a DNS record for it, or a line \"ADDRESS {host}\" to /etc/hosts; check the result with \
         'getent hosts {host}'"
    );
    let found = match timeout(CONNECT_TIMEOUT, lookup_host((host.as_str(), target.port))).await {
        Err(_elapsed) => Err("the name servers do not answer".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(found)) => Ok(found),
    };
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found.map_err(|reason| Diagnosis::new(format!("{host} does not resolve: {reason}"), &fix))? {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(Diagnosis::new(format!("{host} does not resolve: it has no address"), fix));
    }
    Ok(addresses)
}

/// Opens a TCP connection to one address.
pub(super) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    timeout(CONNECT_TIMEOUT, TcpStream::connect(address))
        .await
        .unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()))
}

/// The fault of a failed connection.
#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is foreign, and all other variants share one message")]
pub(super) fn diagnose_connect(address: SocketAddr, error: &io::Error) -> Diagnosis {
    let port = address.port();
    let (sentence, fix) = match error.kind() {
        io::ErrorKind::ConnectionRefused => (
            format!("{address}: connection refused: the machine is up, but no process listens on port {port}"),
            "start the server, or name the port on which it listens: 'ss -ltn' on that machine shows it".to_owned(),
        ),
        io::ErrorKind::TimedOut => (
            format!("{address}: no answer within {} seconds", CONNECT_TIMEOUT.as_secs()),
            format!("is the machine on? a firewall that drops packets to port {port} looks the same"),
        ),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => (
            format!("{address}: no route to this address"),
            "is there a route between the networks of this machine and the registry? see 'ip route get ADDRESS'"
                .to_owned(),
        ),
        _ => (
            format!("{address}: {error}"),
            "see 'ip address' and 'ip route' for how this machine reaches others".to_owned(),
        ),
    };
    Diagnosis::new(sentence, fix)
}

/// Does the TLS handshake over a connection, with the verification of `config`.
pub(super) async fn tls_handshake(
    stream: TcpStream,
    target: &RegistryTarget,
    config: Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, io::Error> {
    let name = ServerName::try_from(target.host.to_string()).map_err(io::Error::other)?;
    let shaken = timeout(TLS_HANDSHAKE_TIMEOUT, TlsConnector::from(config).connect(name, stream)).await;
    shaken.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()))
}

/// The fault of a failed handshake. If the response was not TLS, the same address is tried once more with plain HTTP.
#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is foreign, and all other variants share one message")]
pub(super) async fn diagnose_handshake(address: SocketAddr, target: &RegistryTarget, error: &io::Error) -> Diagnosis {
    let reason = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let is_no_tls = matches!(reason, Some(Error::InvalidMessage(_)));
    if (is_no_tls || is_connection_closed(error)) && serves_plain_http(address, target).await {
        return Diagnosis::new(
            format!(
                "port {} serves plain HTTP: clients report \"server gave HTTP response to HTTPS client\"",
                target.port
            ),
            "name the registry's HTTPS port, or put Portcullis in front of a registry that has none",
        );
    }
    if is_no_tls {
        return Diagnosis::new(
            format!("port {} serves neither TLS nor HTTP", target.port),
            "another service has this port: name the port of the registry",
        );
    }
    if let Some(Error::AlertReceived(AlertDescription::ProtocolVersion) | Error::PeerIncompatible(_)) = reason {
        return Diagnosis::new(
            "the TLS version of the server is too old: it supports neither TLS 1.2 nor 1.3",
            "enable TLS 1.2 or newer (nginx: ssl_protocols TLSv1.2 TLSv1.3;), or put Portcullis in its place",
        );
    }
    if let Some(Error::AlertReceived(alert)) = reason {
        return diagnose_alert(*alert, target);
    }
    match error.kind() {
        io::ErrorKind::TimedOut => Diagnosis::new(
            format!(
                "the server accepts the connection and sends nothing for {} seconds",
                TLS_HANDSHAKE_TIMEOUT.as_secs()
            ),
            "is it overloaded, or stopped? look at its log, and at a firewall or a load balancer in between",
        ),
        _ if is_connection_closed(error) => Diagnosis::new(
            format!("the server closes the connection in the middle of the TLS handshake ({})", error.kind()),
            "look at its log; a firewall or a load balancer in front of it that admits only some names or addresses does the same",
        ),
        _ => Diagnosis::new(format!("the TLS handshake fails: {error}"), "look at the log of the server"),
    }
}

/// The fault for a TLS alert of the server, during the handshake or afterwards.
#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is foreign, and all other variants share one message")]
pub(super) fn diagnose_alert(alert: AlertDescription, target: &RegistryTarget) -> Diagnosis {
    match alert {
        AlertDescription::CertificateRequired => client_certificate_required(target),
        // A server sends these only about a certificate that a client presented.
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown => client_certificate_rejected(&format!("alert: {alert:?}")),
        AlertDescription::HandshakeFailure => Diagnosis::new(
            "the server has no TLS parameters in common with current clients (alert: handshake failure)",
            "enable ECDHE cipher suites with AES-GCM or ChaCha20, for example the defaults of a current nginx or Portcullis",
        ),
        AlertDescription::UnrecognisedName => Diagnosis::new(
            format!("the server has no certificate for the name {}", target.host),
            "use a name that the server has, or configure this name at the server or load balancer",
        ),
        other => Diagnosis::new(
            format!("the server refuses the TLS handshake (alert: {other:?})"),
            "look at the log of the server",
        ),
    }
}

/// The fault of a server that requires a client certificate.
pub(super) fn client_certificate_required(target: &RegistryTarget) -> Diagnosis {
    Diagnosis::new(
        "the server requires a client certificate",
        format!(
            "put client.cert and client.key into /etc/docker/certs.d/{} (podman: beside ca.crt; containerd: client = \
             [[\"client.cert\", \"client.key\"]] in hosts.toml), or name them here with --client-cert and --client-key",
            target.name
        ),
    )
}

/// The fault of a server that does not accept the presented client certificate; `reason` is how it said so.
pub(super) fn client_certificate_rejected(reason: &str) -> Diagnosis {
    Diagnosis::new(
        format!("the server rejects the client certificate ({reason})"),
        "is it expired or revoked, or signed by another authority than the server's list for clients (Portcullis: \
         tls.client.ca)? the log of the server has the reason",
    )
}

fn is_connection_closed(error: &io::Error) -> bool {
    [io::ErrorKind::ConnectionReset, io::ErrorKind::UnexpectedEof, io::ErrorKind::BrokenPipe].contains(&error.kind())
}

/// Whether the server serves plain HTTP on this port. A TLS server may answer a plain request too: with a 400, or with
/// a redirect to its own HTTPS URL.
async fn serves_plain_http(address: SocketAddr, target: &RegistryTarget) -> bool {
    let asked = async {
        let stream = connect(address).await?;
        let (reader, mut writer) = stream.into_split();
        let request = format!("GET /v2/ HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", target.name);
        writer.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        // A server that ends with a reset has answered all the same.
        let _ = reader.take(2048).read_to_end(&mut answer).await;
        Ok::<_, io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    let Ok(Ok(answer)) = timeout(CONNECT_TIMEOUT, asked).await else { return false };
    let status = answer.split(' ').nth(1).unwrap_or_default();
    answer.starts_with("HTTP/") && status != "400" && !answer.contains(&format!("{target}/"))
}
