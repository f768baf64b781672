//! Tests the Docker Engine and its client: the CA is verified, login, push, remove, pull, run.

use std::fs;
use std::path::Path;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD as BASE64, Engine as _};

use super::engine::Engine;
use crate::grants;
use crate::readme::shell_lines;
use crate::support::authority::Authority;
use crate::support::image::random;
use crate::support::name::Name;
use crate::support::openid::Provider;
use crate::support::portcullis::{ALICE, User};
use crate::support::tool::require;
use crate::support::{Portcullis, Setup, eventually};

/// Writes a build context from scratch: a shell, and two layers of random content.
fn write_context(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    fs::copy(require("busybox"), folder.join("busybox")).unwrap();
    fs::write(folder.join("small"), random(10_000)).unwrap();
    fs::write(folder.join("large"), random(30_000_000)).unwrap();
    let steps = "FROM scratch\nCOPY busybox /bin/busybox\nCOPY small /small\nCOPY large /large\n";
    fs::write(folder.join("Dockerfile"), steps).unwrap();
}

fn start() -> (Name, Portcullis, Engine) {
    let name = Name::take();
    let server = Setup::new().on_registry_name(&name).start();
    let engine = Engine::start(&name);
    (name, server, engine)
}

#[test]
fn the_engine_trusts_nobody_until_it_is_given_the_authority() {
    let (mut name, server, engine) = start();
    let registry = server.named();

    let refused = engine.login(&registry, ALICE.name, ALICE.password).fails();
    refused.says_one_of(&["x509: certificate signed by unknown authority"]);

    name.trust(server.port(), &server.ca());
    engine.login(&registry, ALICE.name, "a guess").fails().says_one_of(&["unauthorized"]);
    engine.login(&registry, "unknown", ALICE.password).fails().says_one_of(&["unauthorized"]);
    engine.login(&registry, ALICE.name, ALICE.password).succeeds().says_one_of(&["Login Succeeded"]);
}

#[test]
fn an_image_that_was_pushed_and_removed_is_the_same_after_a_pull_and_runs() {
    let (mut name, server, engine) = start();
    name.trust(server.port(), &server.ca());
    let image = format!("{}/team/tool:1.0", server.named());
    let context = tempfile::tempdir().unwrap();
    write_context(context.path());
    engine.docker(&["build", "--tag", &image, context.path().to_str().unwrap()]).succeeds();
    let built = engine.inspect("{{.Id}}", &image);

    let refused = engine.docker(&["push", &image]).fails();
    refused.says_one_of(&["unauthorized", "no basic auth credentials", "denied"]);
    engine.login(&server.named(), ALICE.name, ALICE.password).succeeds();
    engine.docker(&["push", &image]).succeeds();

    engine.docker(&["rmi", &image]).succeeds();
    engine.docker(&["inspect", &image]).fails();
    engine.docker(&["pull", &image]).succeeds();
    assert_eq!(engine.inspect("{{.Id}}", &image), built);
    let run = engine.docker(&["run", "--rm", "--network", "none", &image, "/bin/busybox", "echo", "it runs"]);
    run.succeeds().says_one_of(&["it runs"]);

    // The second push finds every layer, and a new repository gets them by mounting.
    engine.docker(&["push", &image]).succeeds().says_one_of(&["Layer already exists"]);
    let elsewhere = format!("{}/other/tool:1.0", server.named());
    engine.docker(&["tag", &image, &elsewhere]).succeeds();
    engine.docker(&["push", &elsewhere]).succeeds().says_one_of(&["Mounted from"]);

    engine.docker(&["logout", &server.named()]).succeeds();
    let refused = engine.docker(&["pull", &image]).fails();
    refused.says_one_of(&["unauthorized", "no basic auth credentials", "denied"]);
}

/// Builds an image of a few random bytes.
fn build_small(engine: &Engine, image: &str) {
    let context = tempfile::tempdir().unwrap();
    fs::write(context.path().join("small"), random(10_000)).unwrap();
    fs::write(context.path().join("Dockerfile"), "FROM scratch\nCOPY small /small\n").unwrap();
    engine.docker(&["build", "--tag", image, context.path().to_str().unwrap()]).succeeds();
}

/// The text of the login file, and the identity token in it for a registry.
fn identity_token(engine: &Engine, registry: &str) -> (String, String) {
    let text = fs::read_to_string(engine.login_file()).unwrap();
    let file: serde_json::Value = serde_json::from_str(&text).unwrap();
    let token =
        file["auths"][registry]["identitytoken"].as_str().unwrap_or_else(|| panic!("no identity token: {text}"));
    (text.clone(), token.to_owned())
}

#[test]
fn a_login_keeps_a_refresh_token_and_no_password_until_the_device_is_signed_out() {
    let (mut name, server, engine) = start();
    name.trust(server.port(), &server.ca());
    let (registry, image) = (server.named(), format!("{}/team/tool:1.0", server.named()));
    engine.login(&registry, ALICE.name, ALICE.password).succeeds();
    let (text, token) = identity_token(&engine, &registry);
    let password = BASE64.encode(format!("{}:{}", ALICE.name, ALICE.password));
    assert!(!text.contains(ALICE.password) && !text.contains(&password), "{text}");

    build_small(&engine, &image);
    engine.docker(&["push", &image]).succeeds();
    engine.docker(&["rmi", &image]).succeeds();
    engine.docker(&["pull", &image]).succeeds();

    let (device, _) = token.strip_prefix("pcrt_").unwrap().split_once('_').unwrap();
    let listed = grants::token(&server, &["list"]).succeeds().stdout;
    assert!(listed.starts_with(device) && listed.contains("docker"), "{listed}");
    grants::token(&server, &["revoke", device]).succeeds();
    let refused = || engine.docker(&["pull", &image]).run();
    assert!(eventually(Duration::from_secs(5), || !refused().is_success()));
    refused().says_one_of(&["sign in again", "unauthorized"]);
    engine.login(&registry, ALICE.name, ALICE.password).succeeds();
    engine.docker(&["pull", &image]).succeeds();
}

#[test]
fn a_machine_logs_in_with_an_access_token_and_pushes_only_if_it_may() {
    let (mut name, server, engine) = start();
    name.trust(server.port(), &server.ca());
    let (registry, image) = (server.named(), format!("{}/team/tool:1.0", server.named()));
    let pushes = grants::create(&server, "builder", &["--repository", "team/**", "--action", "push"]);
    engine.login(&registry, ALICE.name, &pushes).succeeds().says_one_of(&["Login Succeeded"]);
    let (text, _) = identity_token(&engine, &registry);
    assert!(!text.contains(&pushes), "{text}");
    build_small(&engine, &image);
    engine.docker(&["push", &image]).succeeds();

    let pulls = grants::create(&server, "runner", &[]);
    engine.login(&registry, ALICE.name, &pulls).succeeds();
    engine.docker(&["rmi", &image]).succeeds();
    engine.docker(&["pull", &image]).succeeds();
    build_small(&engine, &image);
    let refused = engine.docker(&["push", &image]).fails();
    refused.says_one_of(&["denied: alice may not push team/tool with this access token"]);

    // The device that logged in with the token ends with it.
    grants::token(&server, &["revoke", "runner"]).succeeds();
    assert!(eventually(Duration::from_secs(5), || !engine.docker(&["pull", &image]).run().is_success()));
    // The device and the token are two records, which the server checks again within a second each.
    let is_refused = || !engine.login(&registry, ALICE.name, &pulls).run().is_success();
    assert!(eventually(Duration::from_secs(5), is_refused));
    engine.login(&registry, ALICE.name, &pulls).fails().says_one_of(&["unauthorized"]);
}

#[test]
fn a_job_logs_in_and_pushes_with_the_token_of_its_openid_provider() {
    let provider = Provider::start(&serde_json::json!({
        "acme": {"repository": "acme/app"},
        "evil": {"repository": "evil/app"},
    }));
    let rules = format!(
        "[[auth.workload]]\nissuer = \"{}\"\nca = {:?}\naudience = \"urn:registry.test\"\n\
         claims.repository = \"acme/app\"\nuser = \"ci-acme\"\n",
        provider.issuer(),
        provider.certificate().display().to_string(),
    );
    let mut name = Name::take();
    let server = Setup::new().configuration(&rules).on_registry_name(&name).start();
    let engine = Engine::start(&name);
    name.trust(server.port(), &server.ca());
    let token = |client| provider.token(client, "urn:registry.test");
    engine.login(&server.named(), "ci-acme", &token("evil")).fails().says_one_of(&["unauthorized"]);
    engine.login(&server.named(), "ci-acme", &token("acme")).succeeds().says_one_of(&["Login Succeeded"]);
    let image = format!("{}/acme/app:1.0", server.named());
    let context = tempfile::tempdir().unwrap();
    write_context(context.path());
    engine.docker(&["build", "--tag", &image, context.path().to_str().unwrap()]).succeeds();
    engine.docker(&["push", &image]).succeeds();
}

#[test]
fn an_engine_with_a_certificate_pushes_and_pulls_without_a_password() {
    let mut name = Name::take();
    let (authority, other) = (Authority::new(), Authority::new());
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), authority.pem()).unwrap();
    let rule = "[[access]]\nusers = [\"robot\"]\nrepositories = [\"team/**\"]\nactions = [\"pull\", \"push\"]\n";
    // Optional, so that the readiness check of the test works without a certificate.
    let client = format!("[tls.client]\nca = \"{}\"\nmode = \"optional\"\n", file.path().display());
    let server = Setup::new().configuration(&format!("{client}{rule}")).on_registry_name(&name).start();
    let engine = Engine::start(&name);
    name.trust(server.port(), &server.ca());
    let image = format!("{}/team/tool:1.0", server.named());
    build_small(&engine, &image);
    engine.docker(&["push", &image]).fails();

    name.identify(server.port(), &authority.issue("robot"));
    engine.docker(&["push", &image]).succeeds();
    engine.docker(&["rmi", &image]).succeeds();
    engine.docker(&["pull", &image]).succeeds();
    let elsewhere = format!("{}/other/tool:1.0", server.named());
    engine.docker(&["tag", &image, &elsewhere]).succeeds();
    engine.docker(&["push", &elsewhere]).fails().says_one_of(&["denied: robot may not push other/tool"]);

    name.identify(server.port(), &other.issue("robot"));
    engine.docker(&["pull", &image]).fails().says_one_of(&["tls: ", "unknown certificate authority"]);
    name.identify(server.port(), &authority.issue_expired("robot"));
    engine.docker(&["pull", &image]).fails().says_one_of(&["tls: ", "expired certificate"]);
}

#[test]
fn the_lines_of_the_readme_log_in_push_and_pull() {
    let mut name = Name::take();
    let admin = User { name: "admin", password: "shown only once" };
    let server = Setup::new().users(&[admin]).on_registry_name(&name).start();
    let engine = Engine::start(&name);
    name.forget(server.port());
    let data = server.data();
    let folder = data.parent().unwrap();
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"), folder.join("README.md")).unwrap();

    let lines = shell_lines("Log in, push, pull");
    assert_eq!(lines[0], "REGISTRY=$(hostname):8443", "the first line sets the name of the server");
    // A test has no terminal for the password, runs as root, and uses another host name.
    let lines = lines[1..].join("\n").replace("docker login ", "docker login --password-stdin ");
    let script = format!("sudo() {{ \"$@\"; }}\nREGISTRY={}\n{lines}\n", server.named());
    let pasted = engine.shell(folder, &script).input("shown only once\n").succeeds();
    pasted.says_one_of(&["Login Succeeded"]);
    pasted.says_one_of(&["Status: Downloaded newer image"]);
}
