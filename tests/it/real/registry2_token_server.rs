//! Tests Debian's docker-registry with this server as its token server: it accepts tokens by the printed certificates
//! only.
//!
//! The other registry has the certificates that `portcullis token certificate` printed, sends its clients to this
//! server's `/token`, and decides by the signed scopes, as the token specification defines.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::skopeo::Skopeo;
use crate::support::daemon::Daemon;
use crate::support::oci_layout::OciLayout;
use crate::support::portcullis_server::{ALICE, portcullis_command};
use crate::support::registry_client::RegistryClient;
use crate::support::tool_command::require;
use crate::support::{PortcullisServer, ServerDir, ToolCommand, eventually, free_port};

/// A docker-registry whose token server is this server; TLS with the same certificate.
struct TrustingRegistry<'a> {
    _daemon: Daemon,
    server: &'a PortcullisServer,
    port: u16,
    home: TempDir,
}

impl<'a> TrustingRegistry<'a> {
    /// Starts it; it accepts tokens signed with the key of any certificate in `bundle`.
    fn start(server: &'a PortcullisServer, root: &Path, bundle: &str) -> Self {
        let (port, home) = (free_port::free(), tempfile::tempdir().unwrap());
        fs::write(home.path().join("bundle.pem"), bundle).unwrap();
        let (bundle, certs, root) = (home.path().join("bundle.pem"), server.certs(), root.display());
        let text = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             http:\n  addr: '127.0.0.1:{port}'\n  secret: test\n  tls: {{certificate: '{certs}/server.crt', key: '{certs}/server.key'}}\n\
             storage: {{filesystem: {{rootdirectory: '{root}'}}}}\n\
             auth:\n  token: {{realm: 'https://{ours}/token', service: localhost, issuer: localhost, rootcertbundle: '{bundle}'}}\n",
            certs = certs.display(),
            ours = server.localhost_address(),
            bundle = bundle.display(),
        );
        let config = home.path().join("config.yml");
        fs::write(&config, text).unwrap();
        let mut command = Command::new(require("docker-registry"));
        command.arg("serve").arg(&config);
        let mut daemon = Daemon::start(command, home.path().join("log"));
        daemon.wait_until(Duration::from_secs(20), || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { _daemon: daemon, server, port, home }
    }

    fn image(&self) -> String {
        format!("docker://localhost:{}/x:1", self.port)
    }

    /// skopeo, which follows the challenge to the token endpoint with Alice's password.
    fn copy(&self, from: &str, to: &str) -> ToolCommand {
        let (trust, user) = (self.server.ca_dir(), format!("{}:{}", ALICE.name, ALICE.password));
        let side = if to.starts_with("docker:") { "dest" } else { "src" };
        let copy = ToolCommand::new("skopeo").env("HOME", self.home.path()).args(["copy", "--preserve-digests"]);
        let copy = copy.arg(format!("--{side}-creds")).arg(user).arg(format!("--{side}-cert-dir")).arg(trust);
        copy.args([from, to])
    }

    /// The status of docker-registry's response.
    fn answers(&self, method: &str, path: &str, token: &str) -> u16 {
        let curl =
            ToolCommand::new("curl").args(["--silent", "--show-error", "--output", "/dev/null", "--request", method]);
        let curl = curl.args(["--write-out", "%{http_code}", "--cacert"]).arg(self.server.ca());
        let curl = curl.arg("--header").arg(format!("Authorization: Bearer {token}"));
        let curl = curl.arg(format!("https://localhost:{}{path}", self.port));
        curl.run_ok().stdout.parse().unwrap()
    }

    fn pulls(&self, token: &str) -> u16 {
        self.answers("GET", "/v2/x/tags/list", token)
    }

    fn pushes(&self, token: &str) -> u16 {
        self.answers("POST", "/v2/x/blobs/uploads/", token)
    }
}

const FULL: &str = "repository:x:pull,push";

/// A server that signs with this algorithm, and identifies the key in tokens by the setting `naming`.
fn server(algorithm: &str, naming: (&str, &str)) -> PortcullisServer {
    ServerDir::new().with_env("PORTCULLIS_AUTH__TOKEN__ALGORITHM", algorithm).with_env(naming.0, naming.1).start()
}

const LIBTRUST: (&str, &str) = ("PORTCULLIS_AUTH__TOKEN__KEY_ID", "libtrust");
const CHAIN: (&str, &str) = ("PORTCULLIS_AUTH__TOKEN__CERTIFICATE_CHAIN", "true");

/// The printed certificates; their issuer is the server's own name.
fn certificates(server: &PortcullisServer) -> String {
    let print = portcullis_command().folder(server.data().parent().unwrap()).env("PORTCULLIS_HOSTNAMES", "localhost");
    print.args(["token", "certificate"]).run_ok().stdout
}

fn token(server: &PortcullisServer, scope: &str) -> String {
    RegistryClient::new(server).with_user(&ALICE).token(&[scope])
}

fn key_of(token: &str) -> Option<String> {
    jsonwebtoken::decode_header(token).unwrap().kid
}

fn rotate(server: &PortcullisServer, algorithm: &str) {
    let before = key_of(&token(server, FULL));
    let rotate = portcullis_command()
        .folder(server.data().parent().unwrap())
        .env("PORTCULLIS_AUTH__TOKEN__ALGORITHM", algorithm);
    rotate.args(["token", "rotate"]).run_ok();
    let is_new = || key_of(&token(server, FULL)) != before;
    assert!(eventually(Duration::from_secs(10), is_new), "the server should sign with the new key:\n{}", server.log());
}

fn assert_accepted_for_its_scope(algorithm: &str, naming: (&str, &str)) {
    let (server, root) = (server(algorithm, naming), tempfile::tempdir().unwrap());
    let registry = TrustingRegistry::start(&server, root.path(), &certificates(&server));
    let image = OciLayout::image(&root.path().join("image"), &[1_000, 50_000]);
    registry.copy(&image.reference(), &registry.image()).run_ok();
    registry.copy(&registry.image(), &format!("dir:{}", root.path().join("back").display())).run_ok();

    let full = token(&server, FULL);
    assert_eq!((registry.pulls(&full), registry.pushes(&full)), (200, 202), "{algorithm}");
    let narrow = token(&server, "repository:x:pull");
    assert_eq!((registry.pulls(&narrow), registry.pushes(&narrow)), (200, 401), "{algorithm}");
    let elsewhere = token(&server, "repository:y:pull,push");
    assert_eq!((registry.pulls(&elsewhere), registry.pushes(&elsewhere)), (401, 401), "{algorithm}");

    let other = self::server(algorithm, naming);
    let forged = token(&other, FULL);
    assert_eq!((registry.pulls(&forged), registry.pushes(&forged)), (401, 401), "{algorithm}");
    let (signed, signature) = full.rsplit_once('.').unwrap();
    let claims = signed.rsplit_once('.').unwrap().0;
    let stolen = narrow.rsplit_once('.').unwrap().0;
    for forged in [format!("{stolen}x.{signature}"), format!("{claims}.e30.{signature}"), format!("{signed}.")] {
        assert_eq!(registry.pulls(&forged), 401, "{forged}");
    }
}

#[test]
fn docker_registry_believes_an_es256_token_for_what_it_is_for_and_nothing_else() {
    assert_accepted_for_its_scope("ES256", LIBTRUST);
}

#[test]
fn docker_registry_believes_an_rs256_token_for_what_it_is_for_and_nothing_else() {
    assert_accepted_for_its_scope("RS256", LIBTRUST);
}

#[test]
fn docker_registry_believes_a_token_that_brings_its_certificate() {
    assert_accepted_for_its_scope("ES256", CHAIN);
    assert_accepted_for_its_scope("RS256", CHAIN);
}

#[test]
fn docker_registry_believes_both_keys_once_the_bundle_has_both() {
    let (server, root) = (server("ES256", LIBTRUST), tempfile::tempdir().unwrap());
    let (before, old) = (certificates(&server), token(&server, FULL));
    rotate(&server, "RS256");
    let (after, new) = (certificates(&server), token(&server, FULL));
    assert_eq!((before.matches("BEGIN").count(), after.matches("BEGIN").count()), (1, 2));

    let registry = TrustingRegistry::start(&server, root.path(), &before);
    assert_eq!((registry.pushes(&old), registry.pushes(&new)), (202, 401), "it has not heard of the new key");
    drop(registry);
    let registry = TrustingRegistry::start(&server, root.path(), &after);
    assert_eq!((registry.pushes(&old), registry.pushes(&new)), (202, 202));
    let image = OciLayout::image(&root.path().join("image"), &[1_000]);
    registry.copy(&image.reference(), &registry.image()).run_ok();

    // On this server, both tokens remain valid.
    let skopeo = Skopeo::signed_in(&server);
    skopeo.copy(&image.reference(), &skopeo.remote("x:1")).run_ok();
    for token in [old, new] {
        let client = RegistryClient::new(&server).with_authorization(&format!("Bearer {token}"));
        client.get("/v2/x/tags/list").send().expect(200);
    }
}
