//! Tests the audit trail: each event has its user, address and request, and none contains a secret.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::portcullis_server::{ALICE, BOB};
use crate::support::server_dir::{basic, basic_authorization};
use crate::support::wire_connection::WireResponse;
use crate::support::{PortcullisServer, ServerDir, eventually, oci_layout};

const RULES: &str = r#"
[log]
audit = "audit.jsonl"

[[access]]
users        = ["alice"]
repositories = ["team/**"]
actions      = ["pull", "push", "delete"]
"#;

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

fn trail(stage: &ServerDir) -> Vec<Value> {
    let text = fs::read_to_string(stage.path("audit.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// The audit events of one request.
fn events_of(stage: &ServerDir, answer: &WireResponse) -> Vec<Value> {
    let id = answer.header("x-request-id").unwrap();
    let mut events: Vec<Value> = trail(stage).into_iter().filter(|line| line["request"] == json!(id)).collect();
    for event in &mut events {
        let event = event.as_object_mut().unwrap();
        assert_eq!(event["peer"], json!("127.0.0.1"));
        assert!(event["time"].as_str().unwrap().starts_with("20"));
        for known in ["request", "peer", "time"] {
            event.remove(known);
        }
    }
    events
}

fn push_image(server: &PortcullisServer, repository: &str) -> (String, String, WireResponse) {
    let config = b"{}";
    let blob = oci_layout::digest(config);
    server.request_as_alice("POST", &format!("/v2/{repository}/blobs/uploads/?digest={blob}"), &[], config).expect(201);
    let manifest = json!({"schemaVersion": 2, "mediaType": IMAGE, "layers": [],
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": blob, "size": config.len()}});
    let (manifest, kind) = (manifest.to_string(), format!("Content-Type: {IMAGE}"));
    let path = format!("/v2/{repository}/manifests/v1");
    let put = server.request_as_alice("PUT", &path, &[&kind], manifest.as_bytes()).expect(201);
    (blob, oci_layout::digest(manifest.as_bytes()), put)
}

const SIGNED_IN: fn() -> Value = || json!({"event": "signed_in", "user": "alice", "method": "password"});

#[test]
fn pushes_and_deletions_are_told_with_who_what_and_where() {
    let stage = ServerDir::new();
    stage.configure(RULES);
    let server = stage.start();
    let (blob, manifest, put) = push_image(&server, "team/app");
    let pushed = json!({"event": "manifest_pushed", "user": "alice", "repository": "team/app", "digest": manifest, "tags": ["v1"]});
    assert_eq!(events_of(&stage, &put), [SIGNED_IN(), pushed]);
    let stored = trail(&stage).into_iter().filter(|line| line["event"] == json!("blob_pushed")).collect::<Vec<_>>();
    assert_eq!(stored.len(), 1);
    assert_eq!((&stored[0]["digest"], &stored[0]["user"]), (&json!(blob), &json!("alice")));

    let path = format!("/v2/team/other/blobs/uploads/?mount={blob}&from=team/app");
    let mounted = server.request_as_alice("POST", &path, &[], b"").expect(201);
    let expected = json!({"event": "blob_mounted", "user": "alice", "repository": "team/other", "digest": blob, "source": "team/app"});
    assert_eq!(events_of(&stage, &mounted), [SIGNED_IN(), expected]);

    for (path, expected) in [
        ("/v2/team/app/manifests/v1".to_owned(), json!({"event": "tag_deleted", "tag": "v1"})),
        (format!("/v2/team/app/manifests/{manifest}"), json!({"event": "manifest_deleted", "digest": manifest})),
        (format!("/v2/team/app/blobs/{blob}"), json!({"event": "blob_deleted", "digest": blob})),
    ] {
        let deleted = server.request_as_alice("DELETE", &path, &[], b"").expect(202);
        let mut expected = expected;
        expected["user"] = json!("alice");
        expected["repository"] = json!("team/app");
        assert_eq!(events_of(&stage, &deleted), [SIGNED_IN(), expected], "{path}");
        // A deletion of something that does not exist is not an event.
        let again = server.request_as_alice("DELETE", &path, &[], b"").expect(404);
        assert_eq!(events_of(&stage, &again), [SIGNED_IN()], "{path}");
    }
}

#[test]
fn sign_ins_refusals_and_tokens_are_told() {
    let stage = ServerDir::new();
    stage.users(&[ALICE, BOB]);
    stage.configure(RULES);
    let server = stage.start();

    let wrong = server.request("GET", "/v2/", &[&basic("alice:a guess\n\"")], b"").expect(401);
    let refused =
        |user: &str| json!({"event": "sign_in_refused", "user": user, "reason": "wrong user name or password"});
    assert_eq!(events_of(&stage, &wrong), [refused("alice")]);
    let strange = server.request("GET", "/v2/", &[&basic("a\n{\"x\"}\u{7}:x")], b"").expect(401);
    assert_eq!(events_of(&stage, &strange), [refused("a\n{\"x\"}\u{7}")]);

    let token = server
        .request("GET", "/token?scope=repository:team/app:pull,push", &[&basic_authorization(&ALICE)], b"")
        .expect(200);
    let issued = json!({"event": "token_issued", "user": "alice", "scopes": ["repository:team/app:pull,push"]});
    assert_eq!(events_of(&stage, &token), [SIGNED_IN(), issued]);
    let bearer = token.json()["token"].as_str().unwrap().to_owned();

    let denied = server.request("POST", "/v2/team/app/blobs/uploads/", &[&basic_authorization(&BOB)], b"").expect(403);
    let expected = json!({"event": "refused", "user": "bob", "action": "push", "object": "team/app"});
    assert_eq!(events_of(&stage, &denied)[1..], [expected]);
    let narrow = server
        .request("GET", "/v2/team/other/tags/list", &[&format!("Authorization: Bearer {bearer}")], b"")
        .expect(401);
    let expected = json!({"event": "refused", "user": "alice", "action": "pull", "object": "team/other"});
    assert_eq!(events_of(&stage, &narrow), [expected]);
    let forged = server.request("GET", "/v2/", &["Authorization: Bearer a.b.c"], b"").expect(401);
    assert_eq!(events_of(&stage, &forged)[0]["event"], json!("token_refused"));
    // The unauthenticated ping with which every client begins is not a refusal.
    let ping = server.request("GET", "/v2/", &[], b"").expect(401);
    assert_eq!(events_of(&stage, &ping), [json!(null); 0]);

    let text = fs::read_to_string(stage.path("audit.jsonl")).unwrap();
    let signature = bearer.rsplit('.').next().unwrap();
    for secret in [ALICE.password, BOB.password, "a guess", signature] {
        assert!(!text.contains(secret), "{secret} must not be in the audit trail");
    }
}

#[test]
fn a_sign_in_with_a_token_says_with_which() {
    let stage = ServerDir::new();
    stage.configure(RULES);
    let server = stage.start();
    let secret = stage.portcullis_command().args(["token", "create", "ci", "--user", "alice"]).run_ok().stdout;
    let shown = basic(&format!("alice:{}", secret.trim_end()));
    let signed_in = |method: &str, credential: &str| json!({"event": "signed_in", "user": "alice", "method": method, "credential": credential});
    let login = server.request("GET", "/token?offline_token=true", &[&shown], b"").expect(200);
    assert_eq!(events_of(&stage, &login)[0], signed_in("access_token", "ci"));
    assert!(login.json()["refresh_token"].is_null(), "the client stores the access token itself");
    let login = server.request("GET", "/token?offline_token=true", &[&basic_authorization(&ALICE)], b"").expect(200);
    let refresh = login.json()["refresh_token"].as_str().unwrap().to_owned();
    let form = format!("grant_type=refresh_token&refresh_token={refresh}");
    let renewed = server.request("POST", "/token", &[], form.as_bytes()).expect(200);
    let device = refresh.split('_').nth(1).unwrap();
    assert_eq!(events_of(&stage, &renewed)[0], signed_in("refresh_token", device));

    let guess = format!("pcrt_{device}_{}", "A".repeat(43));
    let form = format!("grant_type=refresh_token&refresh_token={guess}");
    let refused = server.request("POST", "/token", &[], form.as_bytes()).expect(401);
    let expected =
        json!({"event": "sign_in_refused", "user": format!("<token>:{device}"), "reason": "no such refresh token"});
    assert_eq!(events_of(&stage, &refused), [expected]);
    let text = fs::read_to_string(stage.path("audit.jsonl")).unwrap();
    for secret in [secret.trim_end(), &refresh, &guess] {
        assert!(!text.contains(&secret[secret.len() - 43..]), "{text}");
    }
}

#[test]
fn changes_of_users_and_rules_and_the_life_of_the_server_are_told() {
    let stage = ServerDir::new();
    stage.configure(RULES);
    let server = stage.start();
    let events_named = |event: &str| {
        let patience = Duration::from_secs(5);
        assert!(eventually(patience, || trail(&stage).iter().any(|line| line["event"] == json!(event))), "{event}");
        trail(&stage).into_iter().rfind(|line| line["event"] == json!(event)).unwrap()
    };
    events_named("started");
    stage.users(&[BOB]);
    let users = events_named("users_changed");
    assert_eq!(
        (&users["added"], &users["removed"], &users["changed"]),
        (&json!(["bob"]), &json!(["alice"]), &json!([]))
    );
    stage.configure(&RULES.replace("team/**", "crew/**"));
    let rules = events_named("policy_changed");
    assert!(rules["rules"][0].as_str().unwrap().contains("crew/**"), "{rules}");
    server.daemon.signal(Signal::TERM);
    events_named("stopped");
}

#[test]
fn access_tokens_and_what_commands_change_are_told() {
    let stage = ServerDir::new();
    stage.configure(RULES);
    let server = stage.start();
    let events = |event: &str| -> Vec<Value> {
        trail(&stage).into_iter().filter(|line| line["event"] == json!(event)).collect()
    };
    let made =
        stage.portcullis_command().args(["token", "create", "ci", "--user", "alice", "--action", "pull"]).run_ok();
    let secret = made.stdout.trim();
    let created = &events("access_token_created")[0];
    assert_eq!((&created["name"], &created["user"]), (&json!("ci"), &json!("alice")));
    assert!(created["by"].as_str().unwrap().starts_with("uid "), "{created}");

    let signed_in = server.request("GET", "/v2/", &[&basic(&format!("alice:{secret}"))], b"").expect(200);
    let expected = json!({"event": "signed_in", "user": "alice", "method": "access_token", "credential": "ci"});
    assert_eq!(events_of(&stage, &signed_in), [expected]);
    stage.portcullis_command().args(["token", "revoke", "ci"]).run_ok();
    assert_eq!(events("token_revoked")[0]["name"], json!("ci"));
    stage.portcullis_command().args(["token", "rotate"]).run_ok();
    assert_eq!(events("token_key_rotated").len(), 1);

    stage
        .portcullis_command()
        .args(["user", "add", "carol", "--cost", "4", "--password-stdin"])
        .input("a password of carol")
        .run_ok();
    stage.portcullis_command().args(["user", "remove", "carol"]).run_ok();
    let edited = events("user_edited");
    let changes: Vec<_> = edited.iter().map(|line| line["change"].as_str().unwrap()).collect();
    assert_eq!(changes, ["added", "removed"]);
    let text = fs::read_to_string(stage.path("audit.jsonl")).unwrap();
    assert!(!text.contains(secret) && !text.contains("a password of carol"));
}

#[test]
fn the_deletion_of_a_repository_is_told() {
    let stage = ServerDir::new();
    stage.configure(&RULES.replace("\"delete\"]", "\"delete\", \"admin\"]"));
    let server = stage.start();
    push_image(&server, "team/app");
    let deleted = server.request_as_alice("DELETE", "/v1/repositories/team/app", &[], b"").expect(202);
    let expected = json!({"event": "repository_deleted", "user": "alice", "repository": "team/app"});
    assert_eq!(events_of(&stage, &deleted), [SIGNED_IN(), expected]);
    push_image(&server, "team/app");
    stage.portcullis_command().args(["repository", "remove", "team/app", "--yes"]).run_ok();
    let last = trail(&stage).into_iter().rfind(|line| line["event"] == json!("repository_deleted")).unwrap();
    assert_eq!(last["user"], json!("@local-operator"));
}

#[test]
fn a_trail_that_cannot_be_written_keeps_the_server_from_starting() {
    let stage = ServerDir::new();
    stage.configure("[log]\naudit = \"missing/audit.jsonl\"");
    stage.portcullis_command().arg("serve").run_failing().assert_prints_one_of(&["audit trail"]);
    stage.configure("[log]\naudit = \"stdoot\"");
    stage.portcullis_command().arg("check").run_failing().assert_prints_one_of(&["did you mean \"stdout\"?"]);
}
