//! An HTTPS client for the requests that are not load: tokens, start and end of uploads, manifests, lists.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{Method, StatusCode, header};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use crate::{
    fixtures::{Fixtures, User},
    load::Http,
};

/// The `Accept` header of all clients: docker-registry returns a manifest only to clients that accept its media type.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, */*";

/// A client of one server, which reuses one connection for sequential requests.
pub(crate) struct Client {
    runtime: Runtime,
    inner: reqwest::Client,
    base: String,
}

/// A response.
pub(crate) struct BenchResponse {
    pub(crate) status: StatusCode,
    pub(crate) location: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl Client {
    /// A client of the server on this port, over HTTP/1.1.
    pub(crate) fn new(material: &Fixtures, port: u16) -> Self {
        Self {
            runtime: Builder::new_current_thread().enable_all().build().unwrap(),
            inner: http_client(material, Http::One, None),
            base: format!("https://localhost:{port}"),
        }
    }

    /// Sends a request; `target` is a path, or a URL from a response.
    pub(crate) fn send(
        &self,
        method: Method,
        target: &str,
        authorization: Option<&str>,
        content_type: Option<&str>,
        body: Vec<u8>,
    ) -> BenchResponse {
        self.try_send(method, target, authorization, content_type, body)
            .unwrap_or_else(|error| panic!("{target}: {error:?}"))
    }

    /// The status of a request without credentials; `None` if the server does not respond.
    pub(crate) fn try_get(&self, path: &str) -> Option<StatusCode> {
        self.try_send(Method::GET, path, None, None, Vec::new()).ok().map(|answer| answer.status)
    }

    fn try_send(
        &self,
        method: Method,
        target: &str,
        authorization: Option<&str>,
        content_type: Option<&str>,
        body: Vec<u8>,
    ) -> reqwest::Result<BenchResponse> {
        let url = if target.starts_with('/') { format!("{}{target}", self.base) } else { target.to_owned() };
        let mut request = self.inner.request(method, url).body(body);
        request = request.header(header::ACCEPT, ACCEPT);
        for (name, value) in [(header::AUTHORIZATION, authorization), (header::CONTENT_TYPE, content_type)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        self.runtime.block_on(async {
            let answer = request.send().await?;
            let location = answer.headers().get(header::LOCATION).map(|value| value.to_str().unwrap().to_owned());
            Ok(BenchResponse { status: answer.status(), location, body: answer.bytes().await?.into() })
        })
    }

    /// Requests a token from Portcullis and returns the value of an `Authorization` header, `Bearer …`.
    pub(crate) fn bearer_authorization(&self, user: &User, scope: &str) -> String {
        let answer = self.send(Method::GET, &token_path(scope), Some(&basic_authorization(user)), None, Vec::new());
        assert_eq!(answer.status, StatusCode::OK, "a token for {}", user.name);
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        format!("Bearer {}", answer["token"].as_str().unwrap())
    }
}

/// The path of Portcullis' token endpoint, with `scope`.
pub(crate) fn token_path(scope: &str) -> String {
    format!("/token?service=localhost&scope={scope}")
}

/// The value of an `Authorization` header for Basic authentication, `Basic …`.
pub(crate) fn basic_authorization(user: &User) -> String {
    format!("Basic {}", STANDARD.encode(format!("{}:{}", user.name, user.password)))
}

/// A client that negotiates the same TLS parameters as all other load, from the local address `from` if it is given.
pub(crate) fn http_client(material: &Fixtures, http: Http, from: Option<Ipv4Addr>) -> reqwest::Client {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256];
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(material.ca_certificate()).unwrap()).unwrap();
    let tls = ClientConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions().unwrap();
    let mut tls = tls.with_root_certificates(roots).with_no_client_auth();
    let builder = reqwest::Client::builder();
    let builder = match http {
        Http::One => builder.http1_only(),
        Http::Two => {
            tls.alpn_protocols = vec![b"h2".to_vec()];
            builder.http2_prior_knowledge()
        }
    };
    // Shorter than a server's idle timeout, so that no request is sent on a connection that the server is closing.
    let builder = builder.tls_backend_preconfigured(tls).pool_idle_timeout(Duration::from_secs(5));
    builder.local_address(from.map(IpAddr::from)).build().unwrap()
}
