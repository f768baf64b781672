//! Tests CI jobs that sign in with the token of a real OIDC provider in the place of a password.

use std::fs;
use std::path::PathBuf;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde_json::{Value, json};

use crate::support::oci_layout::OciLayout;
use crate::support::oidc_provider::OidcProvider;
use crate::support::server_dir::basic;
use crate::support::{PortcullisServer, ServerDir, ToolCommand};

const AUDIENCE: &str = "urn:registry.test";

/// A provider for two jobs of one project on different branches, and one of another project.
fn provider() -> OidcProvider {
    OidcProvider::start(&json!({
        "acme-main": {"repository": "acme/app", "ref": "refs/heads/main", "job": {"id": 7}},
        "acme-tag": {"repository": "acme/app", "ref": "refs/tags/v1"},
        "evil": {"repository": "evil/app", "ref": "refs/heads/main"},
    }))
}

/// Every signed-in user may do everything, unless the rule about a job forbids it.
fn rules(provider: &OidcProvider) -> String {
    format!(
        "[[auth.workload]]\nissuer = \"{}\"\naudience = \"{AUDIENCE}\"\nca = {:?}\n\
         claims = {{ repository = \"acme/app\", ref = \"refs/heads/*\" }}\nuser = \"ci-acme\"\n\
         repositories = [\"acme/**\"]\nactions = [\"pull\", \"push\"]\n",
        provider.issuer(),
        provider.certificate().display().to_string(),
    )
}

fn header(user: &str, token: &str) -> String {
    basic(&format!("{user}:{token}"))
}

fn status(server: &PortcullisServer, user: &str, token: &str) -> u16 {
    server.request("GET", "/v2/", &[&header(user, token)], b"").status
}

/// A directory with the CA and nothing else.
fn trust(stage: &ServerDir) -> PathBuf {
    let folder = stage.path("trust");
    fs::create_dir_all(&folder).unwrap();
    fs::copy(stage.path("certs/ca.crt"), folder.join("ca.crt")).unwrap();
    folder
}

fn skopeo(stage: &ServerDir, verb: &str) -> ToolCommand {
    ToolCommand::new("skopeo").arg(verb).env("HOME", stage.folder()).env("REGISTRY_AUTH_FILE", stage.path("auth.json"))
}

fn skopeo_login(stage: &ServerDir, user: &str, token: &str) -> ToolCommand {
    let login = skopeo(stage, "login").arg("--cert-dir").arg(trust(stage));
    login.args(["--username", user, "--password-stdin", &format!("localhost:{}", stage.port())]).input(token)
}

fn skopeo_push(stage: &ServerDir, image: &OciLayout, repository: &str, token: &str) -> ToolCommand {
    let remote = format!("docker://localhost:{}/{repository}:1", stage.port());
    let copy = skopeo(stage, "copy").arg("--dest-cert-dir").arg(trust(stage));
    copy.args(["--dest-creds", &format!("ci-acme:{token}"), &image.reference(), &remote])
}

#[test]
fn a_job_signs_in_and_pushes_with_its_token_as_the_password() {
    let provider = provider();
    let stage = ServerDir::new();
    stage.configure(&rules(&provider));
    let server = stage.start();
    let token = provider.token("acme-main", AUDIENCE);
    skopeo_login(&stage, "ci-acme", &token).run_ok().assert_prints_one_of(&["Login Succeeded"]);

    let image = OciLayout::image(&stage.path("image"), &[1_000, 100_000]);
    skopeo_push(&stage, &image, "acme/app", &token).run_ok();
    skopeo_push(&stage, &image, "other/app", &token).run_failing().assert_prints_one_of(&[
        "denied",
        "unauthorized",
        "403 (Forbidden)",
    ]);
    let tags = server.request_as_alice("GET", "/v2/acme/app/tags/list", &[], b"").expect(200).json();
    assert_eq!(tags["tags"], json!(["1"]));
    let deletion = server.request("DELETE", "/v2/acme/app/manifests/1", &[&header("ci-acme", &token)], b"");
    deletion.expect_error(403, "DENIED");
    // containerd and BuildKit send their password in a form.
    let form = format!("grant_type=password&service=localhost&access_type=offline&username=ci-acme&password={token}");
    let kind = "Content-Type: application/x-www-form-urlencoded";
    let answer = server.request("POST", "/token", &[kind], form.as_bytes()).expect(200).json();
    assert_eq!(
        answer["refresh_token"],
        Value::Null,
        "the job's own token is short-lived; what comes from it is as well"
    );
}

#[test]
fn whoever_is_not_the_job_of_the_rule_is_refused() {
    let provider = provider();
    let stage = ServerDir::new();
    stage.configure(&rules(&provider));
    let server = stage.start();
    let token = provider.token("acme-main", AUDIENCE);
    assert_eq!(status(&server, "ci-acme", &token), 200);
    assert_eq!(status(&server, "alice", &token), 401, "the token is for one user, and that is not alice");
    for (client, audience, reason) in [
        ("evil", AUDIENCE, "token lacks the claim repository"),
        ("acme-tag", AUDIENCE, "token lacks the claim ref"),
        ("acme-main", "urn:another.service", "token is not for the audience"),
    ] {
        let token = provider.token(client, audience);
        skopeo_login(&stage, "ci-acme", &token)
            .run_failing()
            .assert_prints_one_of(&["unauthorized", "invalid username/password"]);
        server.assert_log_contains(reason);
        server.assert_log_contains("sign-in refused");
    }
    // The last letter of a signature has bits that do not count; one in the middle has none.
    let (head, signature) = token.rsplit_once('.').unwrap();
    let other = if signature.as_bytes()[100] == b'A' { "B" } else { "A" };
    let forged = format!("{head}.{}{other}{}", &signature[..100], &signature[101..]);
    assert_eq!(status(&server, "ci-acme", &forged), 401);
    server.assert_log_contains("signature is wrong");
    let log = server.log();
    assert!(!log.contains(&token) && !log.contains(signature), "a token is in\n{log}");
}

#[test]
fn guessing_with_tokens_is_slowed_down_like_guessing_passwords() {
    let provider = provider();
    let stage = ServerDir::new();
    stage.configure(&rules(&provider));
    let server = stage.start();
    let token = provider.token("evil", AUDIENCE);
    let answers: Vec<u16> = (0..12).map(|_| status(&server, "ci-acme", &token)).collect();
    assert_eq!(answers[..10], [401; 10]);
    assert_eq!(answers[11], 429);
    let token = provider.token("acme-main", AUDIENCE);
    assert_eq!(status(&server, "ci-acme", &token), 200, "CI systems share networks, and a signature cannot be guessed");
}

#[test]
fn a_rule_that_is_removed_or_changed_ends_the_tokens_that_came_from_it() {
    let provider = provider();
    let stage = ServerDir::new();
    let audit = "[log]\naudit = \"audit.jsonl\"\n";
    stage.configure(&(rules(&provider) + audit));
    let server = stage.start();
    let token = provider.token("acme-main", AUDIENCE);
    let bearer = || {
        let path = "/token?service=localhost&scope=repository:acme/app:pull,push";
        let answer = server.request("GET", path, &[&header("ci-acme", &token)], b"").expect(200).json();
        format!("Authorization: Bearer {}", answer["token"].as_str().unwrap())
    };
    let pushes = |bearer: &str| server.request("POST", "/v2/acme/app/blobs/uploads/", &[bearer], b"").status;
    let first = bearer();
    assert_eq!(pushes(&first), 202);

    stage.configure(&(rules(&provider).replace("refs/heads/*", "refs/heads/**") + audit));
    server.assert_log_contains("workload rules reloaded");
    assert_eq!(pushes(&first), 401, "the rule that it came from has changed");
    let second = bearer();
    assert_eq!(pushes(&second), 202);

    stage.configure(audit);
    assert!(crate::support::eventually(std::time::Duration::from_secs(5), || pushes(&second) == 401));
    assert_eq!(status(&server, "ci-acme", &token), 401);
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["repository"], "acme/app", "the token itself was good");
    server.assert_serving();

    let trail = fs::read_to_string(stage.path("audit.jsonl")).unwrap();
    let lines: Vec<Value> = trail.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events_named = |event: &str| lines.iter().filter(|line| line["event"] == json!(event)).collect::<Vec<_>>();
    assert_eq!(
        (&events_named("signed_in")[0]["user"], &events_named("signed_in")[0]["method"]),
        (&json!("ci-acme"), &json!("workload"))
    );
    assert_eq!(events_named("signed_in")[0]["credential"], json!(format!("{} acme-main", provider.issuer())));
    let changes = events_named("workload_rules_changed");
    assert!(changes[0]["rules"][0].as_str().unwrap().contains("refs/heads/**"), "{trail}");
    assert_eq!(changes[1]["rules"], json!([]));
    assert!(!trail.contains(&token), "a token is in the trail");
}

#[test]
fn keys_that_the_provider_rotates_are_followed_and_its_absence_is_survived() {
    let mut provider = provider();
    let stage = ServerDir::new();
    stage.configure(&rules(&provider));
    let server = stage.start();
    let before = provider.token("acme-main", AUDIENCE);
    assert_eq!(status(&server, "ci-acme", &before), 200);
    provider.rotate();
    let after = provider.token("acme-main", AUDIENCE);
    assert_ne!(before.split('.').next(), after.split('.').next(), "the header names another key");
    assert_eq!(status(&server, "ci-acme", &after), 200);
    assert_eq!(status(&server, "ci-acme", &before), 200, "its key is published still");
    provider.stop();
    assert_eq!(status(&server, "ci-acme", &after), 200, "the keys are at hand");
}

#[test]
fn a_provider_that_cannot_be_reached_is_not_a_wrong_password() {
    let mut provider = provider();
    let stage = ServerDir::new();
    stage.configure(&rules(&provider));
    let server = stage.start();
    let token = provider.token("acme-main", AUDIENCE);
    provider.stop();
    let answer = server.request("GET", "/v2/", &[&header("ci-acme", &token)], b"").expect_error(503, "UNAVAILABLE");
    assert!(answer.header("retry-after").is_some());
    server.assert_log_contains("the keys of the issuer cannot be fetched");
    server.assert_serving();
}

#[test]
fn an_authority_that_is_missing_is_told_before_anybody_signs_in() {
    let provider = provider();
    let stage = ServerDir::new();
    let rules = rules(&provider).replace(&provider.certificate().display().to_string(), "missing.crt");
    stage.configure(&rules);
    stage
        .portcullis_command()
        .arg("check")
        .run_failing()
        .assert_prints_one_of(&["auth.workload: certificate authority missing.crt"]);
    stage
        .portcullis_command()
        .arg("serve")
        .run_failing()
        .assert_prints_one_of(&["auth.workload: certificate authority missing.crt"]);
}
