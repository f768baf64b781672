//! Tests the responses to ACME validation servers, and to ordinary clients during a validation.

use rustls::{
    DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::UnixTime,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::*;

/// Accepts any certificate: a validation server inspects the certificate itself (RFC 8737, 3). `unverified_client` of
/// `tls` still checks the signature of the handshake with webpki, which refuses certificates with a critical extension
/// that it does not know, as a validation certificate has.
#[derive(Debug)]
struct AcceptAnyCertificate;

impl ServerCertVerifier for AcceptAnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

impl TestServer {
    async fn validate(&self, name: &'static str, protocols: &[&[u8]]) -> io::Result<Client> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AcceptAnyCertificate))
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let stream = TcpStream::connect(self.address).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(name).unwrap(), stream).await
    }
}

#[tokio::test]
async fn a_validation_server_sees_the_proof_and_nothing_else() {
    let server = TestServer::start();
    assert!(server.validate("a.test", &[b"acme-tls/1"]).await.is_err(), "there is no validation");
    let proof = server.challenges.prove_by_tls("a.test", &[7; 32], SystemTime::now()).unwrap();

    let mut seen = server.validate("a.test", &[b"acme-tls/1"]).await.unwrap();
    assert_eq!(seen.get_ref().1.alpn_protocol(), Some(&b"acme-tls/1"[..]));
    let certificate = seen.get_ref().1.peer_certificates().unwrap()[0].clone();
    let (_, certificate) = X509Certificate::from_der(&certificate).unwrap();
    let acme = certificate.extensions().iter().find(|extension| extension.oid.to_id_string() == "1.3.6.1.5.5.7.1.31");
    let acme = acme.unwrap();
    assert!(acme.critical && acme.value == [&[4, 32][..], &[7; 32]].concat());
    // No request is served on such a connection.
    let _ = seen.write_all(b"GET /who HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert!(rest(&mut seen).await.is_empty());

    assert!(server.validate("b.test", &[b"acme-tls/1"]).await.is_err(), "another name has no proof");
    drop(proof);
    assert!(server.validate("a.test", &[b"acme-tls/1"]).await.is_err(), "the validation is over");
}

#[tokio::test]
async fn during_a_validation_everybody_else_is_served_as_ever() {
    let server = TestServer::start();
    let _proof = server.challenges.prove_by_tls("localhost", &[7; 32], SystemTime::now()).unwrap();
    for version in [&TLS12, &TLS13] {
        let mut client = server.tls(b"http/1.1", version).await.unwrap();
        send_request(&mut client, "/who").await;
        assert!(String::from_utf8(rest(&mut client).await).unwrap().contains("HTTP/1.1"));
    }
    let answer = server.http2().get(server.url("/who")).send().await.unwrap();
    assert!(answer.text().await.unwrap().starts_with("HTTP/2.0"));
    // A client that offers more than that one protocol is not a validation server.
    let both = server.validate("localhost", &[b"acme-tls/1", b"h2"]).await.unwrap();
    assert_eq!(both.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let noise = TcpStream::connect(server.address).await.unwrap();
    drop(noise);
    let plain = server.plain(server.address, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(plain.starts_with("HTTP/1.1 400 "), "{plain}");
}

#[tokio::test]
async fn half_a_handshake_is_let_go_during_a_validation_too() {
    let (server, time) = (TestServer::start(), FrozenTime::start());
    let _proof = server.challenges.prove_by_tls("localhost", &[7; 32], SystemTime::now()).unwrap();
    for begun in [&[0x16, 3, 1][..], b"\x16\x03\x01\x00\x05hello", &[0x16; 5000]] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(begun).await.unwrap();
        let _ = time.advance_until(STEP, stream.read_to_end(&mut Vec::new())).await;
    }
}

#[tokio::test]
async fn the_redirecting_port_answers_a_validation_and_redirects_everything_else() {
    let server = TestServer::start();
    let proof = server.challenges.prove_by_http("to-ken", "to-ken.thumb").unwrap();
    let ask = async |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        server.plain(server.redirect.unwrap(), &request).await
    };
    let answer = ask("/.well-known/acme-challenge/to-ken").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nto-ken.thumb"), "{answer}");
    for other in ["/.well-known/acme-challenge/", "/.well-known/acme-challenge/other", "/v2/"] {
        assert!(ask(other).await.starts_with("HTTP/1.1 308 "), "{other}");
    }
    drop(proof);
    assert!(ask("/.well-known/acme-challenge/to-ken").await.starts_with("HTTP/1.1 308 "));
}
