//! Tests the selftest against docker-registry behind nginx, well and badly configured.

use std::net::TcpStream;
use std::process::Command;

use super::{assert_fails, selftest, signed_in, steps, trust};
use crate::support::daemon::Daemon;
use crate::support::portcullis_server::ALICE;
use crate::support::test_ca::TestCa;
use crate::support::tool_command::require;
use crate::support::{ServerDir, free_port, nginx};

/// The running servers; dropping them ends them.
pub(super) struct OtherServers {
    daemons: Vec<Daemon>,
}

/// nginx on the stage's port with the stage's certificate and this content of `location /`.
pub(super) fn start_nginx(stage: &ServerDir, root: &str, settings: &str) -> OtherServers {
    let inside = format!("{settings}\nlocation / {{ {root} }}");
    OtherServers { daemons: vec![nginx::start(stage, stage.address(), &inside)] }
}

/// docker-registry behind nginx, which asks for passwords.
fn start_registry_behind_nginx(stage: &ServerDir, settings: &str) -> OtherServers {
    drop(stage.start());
    stage.users(&[ALICE]);
    let behind = free_port::free();
    let config = format!(
        "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nhttp: {{addr: '127.0.0.1:{behind}', secret: test}}\n\
         storage: {{filesystem: {{rootdirectory: '{}'}}}}\n",
        stage.path("registry").display()
    );
    let config = stage.write("config.yml", &config);
    let mut command = Command::new(require("docker-registry"));
    command.arg("serve").arg(config);
    let mut daemon = Daemon::start(command, stage.path("registry.log"));
    daemon.wait_until(|| TcpStream::connect(("127.0.0.1", behind)).is_ok());
    let root = format!(
        "auth_basic registry; auth_basic_user_file {}; proxy_pass http://127.0.0.1:{behind}; {settings}",
        stage.path("htpasswd").display()
    );
    let header = "add_header Docker-Distribution-Api-Version registry/2.0 always;";
    let mut site = start_nginx(stage, &root, header);
    site.daemons.push(daemon);
    site
}

fn url(stage: &ServerDir) -> String {
    format!("https://localhost:{}", stage.port())
}

const WELL: &str =
    "proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto $scheme; client_max_body_size 0;";

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn nginx_and_docker_registry_pass_and_that_deletion_is_not_allowed_is_fine() {
    let stage = ServerDir::new();
    let _site = start_registry_behind_nginx(&stage, WELL);
    let output = signed_in(&stage, &url(&stage), &ALICE).run_ok();
    let expected = [
        "ok ping",
        "ok challenge",
        "ok clock",
        "ok token",
        "ok sign in",
        "ok token",
        "ok push",
        "ok pull",
        "note delete",
    ];
    assert_eq!(steps(&output)[5..], expected, "{output}");
    assert!(output.stdout.contains("(405 Method Not Allowed), which is fine: alice/selftest:selftest-"), "{output}");
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_proxy_that_takes_no_large_bodies_is_told_with_the_line_for_nginx() {
    let stage = ServerDir::new();
    let _site = start_registry_behind_nginx(&stage, &WELL.replace("client_max_body_size 0;", ""));
    let output = signed_in(&stage, &url(&stage), &ALICE).run_failing();
    assert_fails(&output, "push", "accepts no bodies of 2 MiB, and layers are larger", "client_max_body_size 0;");
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_proxy_that_hides_the_host_is_told_with_the_lines_for_nginx() {
    let stage = ServerDir::new();
    let _site = start_registry_behind_nginx(&stage, "client_max_body_size 0; proxy_redirect off;");
    let output = signed_in(&stage, &url(&stage), &ALICE).run_failing();
    assert_fails(
        &output,
        "push",
        "the Location of the upload is \"http://127.0.0.1:",
        "proxy_set_header X-Forwarded-Proto $scheme;",
    );
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_proxy_without_a_registry_behind_it_is_told() {
    let stage = ServerDir::new();
    drop(stage.start());
    let _site = start_nginx(&stage, &format!("proxy_pass http://127.0.0.1:{};", free_port::free()), "");
    let output = signed_in(&stage, &url(&stage), &ALICE).run_failing();
    assert_fails(
        &output,
        "ping",
        "502 Bad Gateway: the registry behind a proxy does not answer",
        "look at the log of the registry",
    );
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_server_that_wants_a_client_certificate_is_told() {
    let stage = ServerDir::new();
    drop(stage.start());
    let folder = stage.folder().display().to_string();
    let settings = format!("ssl_verify_client on; ssl_client_certificate {folder}/certs/ca.crt;");
    let _site = start_nginx(&stage, "return 200;", &settings);
    let output = signed_in(&stage, &url(&stage), &ALICE).run_failing();
    assert_fails(&output, "ping", "requires a client certificate", "client.cert and client.key");
    assert!(output.stdout.contains("--client-cert and --client-key"), "{output}");

    let pair = TestCa::new().issue("robot");
    stage.write("other.crt", &pair.certificate);
    stage.write("other.key", &pair.key);
    let named = ["--client-cert", "other.crt", "--client-key", "other.key"];
    let output = signed_in(&stage, &url(&stage), &ALICE).args(named).run_failing();
    assert_fails(&output, "ping", "the server rejects the client certificate", "signed by another authority");
}

#[test]
fn a_registry_whose_token_endpoint_is_another_server_passes_where_clients_trust_both() {
    let (stage, tokens) = (ServerDir::new(), ServerDir::new());
    drop(stage.start());
    tokens.configure("[auth.token]\nkey_id = \"libtrust\"");
    let _token_server = tokens.start();
    let port = free_port::free();
    stage.write("bundle.pem", &tokens.portcullis_command().args(["token", "certificate"]).run_ok().stdout);
    let config = format!(
        "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
         http:\n  addr: '127.0.0.1:{port}'\n  secret: test\n  tls: {{certificate: '{folder}/certs/server.crt', key: '{folder}/certs/server.key'}}\n\
         storage: {{filesystem: {{rootdirectory: '{folder}/registry'}}, delete: {{enabled: true}}}}\n\
         auth:\n  token: {{realm: 'https://localhost:{realm}/token', service: localhost, issuer: localhost, rootcertbundle: '{folder}/bundle.pem'}}\n",
        folder = stage.folder().display(),
        realm = tokens.port(),
    );
    let config = stage.write("config.yml", &config);
    let mut command = Command::new(require("docker-registry"));
    command.arg("serve").arg(config);
    let mut registry = Daemon::start(command, stage.path("registry.log"));
    registry.wait_until(|| TcpStream::connect(("127.0.0.1", port)).is_ok());

    // podman verifies the token endpoint by the authorities that it has for the registry.
    let run = || {
        let tool = selftest(&stage, &format!("https://localhost:{port}")).args(["-u", "alice", "--password-stdin"]);
        tool.input(&format!("{}\n", ALICE.password))
    };
    trust(&stage, port, &stage.path("certs/ca.crt"));
    let output = run().run_failing();
    let fix = format!("sudo portcullis cert trust os --host localhost:{} --ca ca.crt --apply", tokens.port());
    assert_fails(&output, "podman", "x509: certificate signed by unknown authority", &fix);
    let note = format!("note    challenge: tokens are from another server, https://localhost:{}", tokens.port());
    assert!(output.stdout.contains(&note) && !output.stdout.contains("token: "), "{output}");

    let folder = stage.path(&format!(".config/containers/certs.d/localhost:{port}"));
    std::fs::copy(tokens.path("certs/ca.crt"), folder.join("tokens.crt")).unwrap();
    let output = run().run_ok();
    let once = ["ok resolve", "ok connect", "ok tls", "ok certificate", "ok podman"];
    let between = ["ok ping", "ok challenge", "ok clock", "note challenge"];
    let after = ["ok token", "ok sign in", "ok token", "ok push", "ok pull"];
    let expected = [&once[..], &between, &once, &after].concat();
    assert_eq!(steps(&output)[..expected.len()], expected, "{output}");
    assert!(!output.to_string().contains(ALICE.password), "{output}");
}
