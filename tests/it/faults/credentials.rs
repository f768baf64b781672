//! Tests invalid `Authorization` headers and invalid forms at the token endpoint.

use crate::support::ServerDir;
use crate::support::portcullis_server::{ALICE, TestUser};
use crate::support::server_dir::{basic, basic_authorization};
use crate::support::wire_connection::request;

#[test]
fn basic_headers_that_are_none_are_asked_for_better_ones() {
    let stage = ServerDir::new();
    let server = stage.start();
    let no_colon = basic("alice");
    let empty = basic("");
    let colon = basic(":");
    let no_user = basic(":wonderland and back");
    let control = basic("ali\u{0}ce:x");
    let latin = "Authorization: Basic YWxpY2U6/////w==";
    for header in [
        "Authorization: Basic",
        "Authorization: Basic ",
        "Authorization: Basic !!!!",
        "Authorization: Basic YWxpY2U6a===",
        "Authorization:",
        "Authorization: alice",
        "Authorization: Digest username=\"alice\"",
        "Authorization: Bearer",
        "Authorization: Bearer  ",
        "Authorization: Negotiate YIIKhgYG",
        "Authorization: \u{e9}\u{ff}",
        latin,
        &no_colon,
        &empty,
        &colon,
        &no_user,
        &control,
    ] {
        for path in ["/v2/", "/v2/a/tags/list", "/v2/_catalog"] {
            let answer = server.request("GET", path, &[header], b"").expect_registry_error(401, "UNAUTHORIZED");
            let challenge = answer.header("www-authenticate").unwrap_or_default();
            assert!(challenge.starts_with("Bearer realm=\"https://"), "{header}: {answer}");
        }
        let answer = server.request("GET", "/token", &[header], b"").expect_error(401, "UNAUTHORIZED");
        assert!(
            answer.header("www-authenticate").is_some_and(|value| value.starts_with("Basic ")),
            "{header}: {answer}"
        );
    }
    server.assert_serving();
}

#[test]
fn a_password_of_a_megabyte_is_refused_before_it_is_hashed() {
    let stage = ServerDir::new();
    let server = stage.start();
    for length in [9 << 10, 20 << 10, 1 << 20] {
        let mut wire = server.connect();
        let header = basic(&format!("alice:{}", "x".repeat(length)));
        let _ = wire.try_send(&request("GET", "/v2/", &[&header], b""));
        if let Some(answer) = wire.try_response_to("GET") {
            assert!(matches!(answer.status, 401 | 431), "{answer}");
        }
    }
    // In a form, the size limit is that of forms; bcrypt ignores bytes beyond its limit, so such a password is
    // refused.
    let form = format!("grant_type=password&service=localhost&username=alice&password={}", "x".repeat(60 << 10));
    server
        .request("POST", "/token", &["Content-Type: application/x-www-form-urlencoded"], form.as_bytes())
        .expect_error(401, "UNAUTHORIZED");
    server.assert_serving();
}

#[test]
fn of_two_authorization_headers_neither_smuggles_the_other_in() {
    let stage = ServerDir::new();
    let server = stage.start();
    let alice = basic_authorization(&ALICE);
    let wrong = basic("alice:wrong");
    server.request("GET", "/v2/", &[&wrong, &alice], b"").expect_registry_error(401, "UNAUTHORIZED");
    server.assert_serving();
}

#[test]
fn a_name_that_is_nobodys_and_a_wrong_password_are_answered_alike() {
    let stage = ServerDir::new();
    let server = stage.start();
    let response_for = |user, password| {
        let header = basic_authorization(&TestUser { name: user, password });
        let answer = server.request("GET", "/v2/", &[&header], b"").expect_registry_error(401, "UNAUTHORIZED");
        (answer.header("www-authenticate").map(str::to_owned), answer.json())
    };
    assert_eq!(response_for("alice", "wrong"), response_for("unknown", "wrong"));
}

#[test]
fn an_account_that_is_not_the_user_is_refused() {
    let stage = ServerDir::new();
    let server = stage.start();
    let alice = basic_authorization(&ALICE);
    server.request("GET", "/token?account=bob", &[&alice], b"").expect_error(400, "UNSUPPORTED");
    server.request("GET", "/token?account=alice", &[&alice], b"").expect(200);
}

#[test]
fn token_forms_that_are_none_are_refused() {
    let stage = ServerDir::new();
    let server = stage.start();
    let typed = ["Content-Type: application/x-www-form-urlencoded"];
    for form in [
        "",
        "&&&&",
        "====",
        "grant_type=password",
        "grant_type=password&username=alice",
        "grant_type=magic&username=alice&password=x",
        "%%%",
        "grant_type=%00",
        "username=alice&password=wonderland+and+back",
    ] {
        server.request("POST", "/token", &typed, form.as_bytes()).expect_error(400, "UNSUPPORTED");
    }
    server.request("POST", "/token", &typed, &[0xff; 100]).expect_error(400, "UNSUPPORTED");
    let wrong = b"grant_type=password&username=alice&password=wrong";
    server.request("POST", "/token", &typed, wrong).expect_error(401, "UNAUTHORIZED");
    let right = b"grant_type=password&username=alice&password=wonderland+and+back";
    server.request("POST", "/token", &typed, right).expect(200);
}

#[test]
fn a_token_form_over_the_limit_is_too_large_announced_or_not() {
    let stage = ServerDir::new();
    let server = stage.start();
    let form = [b"grant_type=password&username=alice&password=".as_slice(), &vec![b'x'; 1 << 20]].concat();
    for header in [format!("Content-Length: {}", form.len()), "Transfer-Encoding: chunked".to_owned()] {
        let mut wire = server.connect();
        wire.send(crate::support::wire_connection::head("POST", "/token", &[&header]).as_bytes());
        // The server need not read the rest once the limit is exceeded.
        let framed = if header.starts_with('T') { super::request_bodies::chunk(&form) } else { form.clone() };
        let _ = wire.try_send(&framed);
        wire.response_to("POST").expect_error(413, "SIZE_INVALID");
    }
    server.assert_serving();
}
