//! Tests the Docker Engine and its client: the CA is verified, login, push, remove, pull, run.

use std::fs;
use std::path::Path;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD as BASE64, Engine as _};

use super::docker_engine::DockerEngine;
use crate::credentials;
use crate::documentation::shell_lines;
use crate::support::oci_layout::random_bytes;
use crate::support::oidc_provider::OidcProvider;
use crate::support::portcullis_server::{ALICE, TestUser};
use crate::support::registry_test_name::RegistryTestName;
use crate::support::test_ca::TestCa;
use crate::support::tool_command::require;
use crate::support::{PortcullisServer, ServerDir, eventually};

/// Writes a build context from scratch: a shell, and two layers of random content.
fn write_context(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    fs::copy(require("busybox"), folder.join("busybox")).unwrap();
    fs::write(folder.join("small"), random_bytes(10_000)).unwrap();
    fs::write(folder.join("large"), random_bytes(30_000_000)).unwrap();
    let steps = "FROM scratch\nCOPY busybox /bin/busybox\nCOPY small /small\nCOPY large /large\n";
    fs::write(folder.join("Dockerfile"), steps).unwrap();
}

fn start() -> (RegistryTestName, PortcullisServer, DockerEngine) {
    let name = RegistryTestName::acquire();
    let server = ServerDir::on_registry_name(&name).start();
    let engine = DockerEngine::start(&name);
    (name, server, engine)
}

#[test]
fn the_engine_trusts_nobody_until_it_is_given_the_authority() {
    let (mut name, server, engine) = start();
    let registry = server.registry_test_address();

    let refused = engine.login(&registry, ALICE.name, ALICE.password).run_failing();
    refused.assert_prints_one_of(&["x509: certificate signed by unknown authority"]);

    name.trust(server.port(), &server.ca());
    engine.login(&registry, ALICE.name, "a guess").run_failing().assert_prints_one_of(&["unauthorized"]);
    engine.login(&registry, "unknown", ALICE.password).run_failing().assert_prints_one_of(&["unauthorized"]);
    engine.login(&registry, ALICE.name, ALICE.password).run_ok().assert_prints_one_of(&["Login Succeeded"]);
}

#[test]
fn an_image_that_was_pushed_and_removed_is_the_same_after_a_pull_and_runs() {
    let (mut name, server, engine) = start();
    name.trust(server.port(), &server.ca());
    let image = format!("{}/team/tool:1.0", server.registry_test_address());
    let context = tempfile::tempdir().unwrap();
    write_context(context.path());
    engine.docker(&["build", "--tag", &image, context.path().to_str().unwrap()]).run_ok();
    let built = engine.inspect("{{.Id}}", &image);

    let refused = engine.docker(&["push", &image]).run_failing();
    refused.assert_prints_one_of(&["unauthorized", "no basic auth credentials", "denied"]);
    engine.login(&server.registry_test_address(), ALICE.name, ALICE.password).run_ok();
    engine.docker(&["push", &image]).run_ok();

    engine.docker(&["rmi", &image]).run_ok();
    engine.docker(&["inspect", &image]).run_failing();
    engine.docker(&["pull", &image]).run_ok();
    assert_eq!(engine.inspect("{{.Id}}", &image), built);
    let run = engine.docker(&["run", "--rm", "--network", "none", &image, "/bin/busybox", "echo", "it runs"]);
    run.run_ok().assert_prints_one_of(&["it runs"]);

    // The second push finds every layer, and a new repository gets them by mounting.
    engine.docker(&["push", &image]).run_ok().assert_prints_one_of(&["Layer already exists"]);
    let elsewhere = format!("{}/other/tool:1.0", server.registry_test_address());
    engine.docker(&["tag", &image, &elsewhere]).run_ok();
    engine.docker(&["push", &elsewhere]).run_ok().assert_prints_one_of(&["Mounted from"]);

    engine.docker(&["logout", &server.registry_test_address()]).run_ok();
    let refused = engine.docker(&["pull", &image]).run_failing();
    refused.assert_prints_one_of(&["unauthorized", "no basic auth credentials", "denied"]);
}

/// Builds an image of a few random bytes.
fn build_small(engine: &DockerEngine, image: &str) {
    let context = tempfile::tempdir().unwrap();
    fs::write(context.path().join("small"), random_bytes(10_000)).unwrap();
    fs::write(context.path().join("Dockerfile"), "FROM scratch\nCOPY small /small\n").unwrap();
    engine.docker(&["build", "--tag", image, context.path().to_str().unwrap()]).run_ok();
}

/// The text of the login file, and the entry in it for a registry.
fn stored_login(engine: &DockerEngine, registry: &str) -> (String, serde_json::Value) {
    let text = fs::read_to_string(engine.login_file()).unwrap();
    let file: serde_json::Value = serde_json::from_str(&text).unwrap();
    let entry = file["auths"][registry].clone();
    (text, entry)
}

/// The text of the login file, and the identity token in it for a registry.
fn identity_token(engine: &DockerEngine, registry: &str) -> (String, String) {
    let (text, entry) = stored_login(engine, registry);
    let token = entry["identitytoken"].as_str().unwrap_or_else(|| panic!("no identity token: {text}"));
    (text.clone(), token.to_owned())
}

#[test]
fn a_login_keeps_a_refresh_token_and_no_password_until_the_device_is_signed_out() {
    let (mut name, server, engine) = start();
    name.trust(server.port(), &server.ca());
    let (registry, image) =
        (server.registry_test_address(), format!("{}/team/tool:1.0", server.registry_test_address()));
    engine.login(&registry, ALICE.name, ALICE.password).run_ok();
    let (text, token) = identity_token(&engine, &registry);
    let password = BASE64.encode(format!("{}:{}", ALICE.name, ALICE.password));
    assert!(!text.contains(ALICE.password) && !text.contains(&password), "{text}");

    build_small(&engine, &image);
    engine.docker(&["push", &image]).run_ok();
    engine.docker(&["rmi", &image]).run_ok();
    engine.docker(&["pull", &image]).run_ok();

    let (device, _) = token.strip_prefix("pcrt_").unwrap().split_once('_').unwrap();
    let listed = credentials::token(&server, &["list"]).run_ok().stdout;
    assert!(listed.starts_with(device) && listed.contains("docker"), "{listed}");
    credentials::token(&server, &["revoke", device]).run_ok();
    let refused = || engine.docker(&["pull", &image]).run();
    assert!(eventually(Duration::from_secs(5), || !refused().is_success()));
    refused().assert_prints_one_of(&["sign in again", "unauthorized"]);
    engine.login(&registry, ALICE.name, ALICE.password).run_ok();
    engine.docker(&["pull", &image]).run_ok();
}

#[test]
fn a_machine_logs_in_with_an_access_token_and_pushes_only_if_it_may() {
    let (mut name, server, engine) = start();
    name.trust(server.port(), &server.ca());
    let (registry, image) =
        (server.registry_test_address(), format!("{}/team/tool:1.0", server.registry_test_address()));
    let pushes = credentials::create(&server, "builder", &["--repository", "team/**", "--action", "push"]);
    engine.login(&registry, ALICE.name, &pushes).run_ok().assert_prints_one_of(&["Login Succeeded"]);
    let (text, entry) = stored_login(&engine, &registry);
    assert!(entry.get("identitytoken").is_none(), "the access token itself is kept: {text}");
    assert_eq!(entry["auth"], BASE64.encode(format!("{}:{pushes}", ALICE.name)), "{text}");
    build_small(&engine, &image);
    engine.docker(&["push", &image]).run_ok();

    let pulls = credentials::create(&server, "runner", &[]);
    engine.login(&registry, ALICE.name, &pulls).run_ok();
    engine.docker(&["rmi", &image]).run_ok();
    engine.docker(&["pull", &image]).run_ok();
    build_small(&engine, &image);
    let refused = engine.docker(&["push", &image]).run_failing();
    refused.assert_prints_one_of(&["denied: alice may not push team/tool with this access token"]);

    credentials::token(&server, &["revoke", "runner"]).run_ok();
    assert!(eventually(Duration::from_secs(5), || !engine.docker(&["pull", &image]).run().is_success()));
    let is_refused = || !engine.login(&registry, ALICE.name, &pulls).run().is_success();
    assert!(eventually(Duration::from_secs(5), is_refused));
    engine.login(&registry, ALICE.name, &pulls).run_failing().assert_prints_one_of(&["unauthorized"]);
}

#[test]
fn a_job_logs_in_and_pushes_with_the_token_of_its_openid_provider() {
    let provider = OidcProvider::start(&serde_json::json!({
        "acme": {"repository": "acme/app"},
        "evil": {"repository": "evil/app"},
    }));
    let rules = format!(
        "[[auth.workload]]\nissuer = \"{}\"\nca = {:?}\naudience = \"urn:registry.test\"\n\
         claims.repository = \"acme/app\"\nuser = \"ci-acme\"\n",
        provider.issuer(),
        provider.certificate().display().to_string(),
    );
    let mut name = RegistryTestName::acquire();
    let server = ServerDir::on_registry_name(&name).with_configuration(&rules).start();
    let engine = DockerEngine::start(&name);
    name.trust(server.port(), &server.ca());
    let token = |client| provider.token(client, "urn:registry.test");
    engine
        .login(&server.registry_test_address(), "ci-acme", &token("evil"))
        .run_failing()
        .assert_prints_one_of(&["unauthorized"]);
    engine
        .login(&server.registry_test_address(), "ci-acme", &token("acme"))
        .run_ok()
        .assert_prints_one_of(&["Login Succeeded"]);
    let image = format!("{}/acme/app:1.0", server.registry_test_address());
    let context = tempfile::tempdir().unwrap();
    write_context(context.path());
    engine.docker(&["build", "--tag", &image, context.path().to_str().unwrap()]).run_ok();
    engine.docker(&["push", &image]).run_ok();
}

#[test]
fn an_engine_with_a_certificate_pushes_and_pulls_without_a_password() {
    let mut name = RegistryTestName::acquire();
    let (authority, other) = (TestCa::new(), TestCa::new());
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), authority.pem()).unwrap();
    let rule = "[[access]]\nusers = [\"robot\"]\nrepositories = [\"team/**\"]\nactions = [\"pull\", \"push\"]\n";
    // Optional, so that the readiness check of the test works without a certificate.
    let client = format!("[tls.client]\nca = \"{}\"\nmode = \"optional\"\n", file.path().display());
    let server = ServerDir::on_registry_name(&name).with_configuration(&format!("{client}{rule}")).start();
    let engine = DockerEngine::start(&name);
    name.trust(server.port(), &server.ca());
    let image = format!("{}/team/tool:1.0", server.registry_test_address());
    build_small(&engine, &image);
    engine.docker(&["push", &image]).run_failing();

    name.add_client_certificate(server.port(), &authority.issue("robot"));
    engine.docker(&["push", &image]).run_ok();
    engine.docker(&["rmi", &image]).run_ok();
    engine.docker(&["pull", &image]).run_ok();
    let elsewhere = format!("{}/other/tool:1.0", server.registry_test_address());
    engine.docker(&["tag", &image, &elsewhere]).run_ok();
    engine.docker(&["push", &elsewhere]).run_failing().assert_prints_one_of(&["denied: robot may not push other/tool"]);

    name.add_client_certificate(server.port(), &other.issue("robot"));
    engine.docker(&["pull", &image]).run_failing().assert_prints_one_of(&["tls: ", "unknown certificate authority"]);
    name.add_client_certificate(server.port(), &authority.issue_expired("robot"));
    engine.docker(&["pull", &image]).run_failing().assert_prints_one_of(&["tls: ", "expired certificate"]);
}

#[test]
fn the_lines_of_the_readme_log_in_push_and_pull() {
    let mut name = RegistryTestName::acquire();
    let admin = TestUser { name: "admin", password: "shown only once" };
    let server = ServerDir::on_registry_name(&name).with_users(&[admin]).start();
    let engine = DockerEngine::start(&name);
    name.remove_at_end(server.port());
    let data = server.data();
    let folder = data.parent().unwrap();
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"), folder.join("README.md")).unwrap();

    let lines = shell_lines("Log in, push, pull");
    assert_eq!(lines[0], "REGISTRY=$(hostname):8443", "the first line sets the name of the server");
    // A test has no terminal for the password, runs as root, and uses another host name.
    let lines = lines[1..].join("\n").replace("docker login ", "docker login --password-stdin ");
    let script = format!("sudo() {{ \"$@\"; }}\nREGISTRY={}\n{lines}\n", server.registry_test_address());
    let pasted = engine.shell(folder, &script).input("shown only once\n").run_ok();
    pasted.assert_prints_one_of(&["Login Succeeded"]);
    pasted.assert_prints_one_of(&["Status: Downloaded newer image"]);
}
