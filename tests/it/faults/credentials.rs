//! Tests invalid `Authorization` headers and invalid forms at the token endpoint.

use crate::support::Stage;
use crate::support::portcullis::{ALICE, User};
use crate::support::stage::{authorization, basic};
use crate::support::wire::request;

#[test]
fn basic_headers_that_are_none_are_asked_for_better_ones() {
    let stage = Stage::new();
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
            let answer = server.ask("GET", path, &[header], b"").expect_registry_error(401, "UNAUTHORIZED");
            let challenge = answer.header("www-authenticate").unwrap_or_default();
            assert!(challenge.starts_with("Bearer realm=\"https://"), "{header}: {answer}");
        }
        let answer = server.ask("GET", "/token", &[header], b"").expect_error(401, "UNAUTHORIZED");
        assert!(
            answer.header("www-authenticate").is_some_and(|value| value.starts_with("Basic ")),
            "{header}: {answer}"
        );
    }
    server.lives();
}

#[test]
fn a_password_of_a_megabyte_is_refused_before_it_is_hashed() {
    let stage = Stage::new();
    let server = stage.start();
    for length in [9 << 10, 20 << 10, 1 << 20] {
        let mut wire = server.open();
        let header = basic(&format!("alice:{}", "x".repeat(length)));
        let _ = wire.try_send(&request("GET", "/v2/", &[&header], b""));
        if let Some(answer) = wire.try_answer_to("GET") {
            assert!(matches!(answer.status, 401 | 431), "{answer}");
        }
    }
    // In a form, the size limit is that of forms; bcrypt ignores bytes beyond its limit, so such a password is
    // refused.
    let form = format!("grant_type=password&service=localhost&username=alice&password={}", "x".repeat(60 << 10));
    server
        .ask("POST", "/token", &["Content-Type: application/x-www-form-urlencoded"], form.as_bytes())
        .expect_error(401, "UNAUTHORIZED");
    server.lives();
}

#[test]
fn of_two_authorization_headers_neither_smuggles_the_other_in() {
    let stage = Stage::new();
    let server = stage.start();
    let alice = authorization(&ALICE);
    let wrong = basic("alice:wrong");
    server.ask("GET", "/v2/", &[&wrong, &alice], b"").expect_registry_error(401, "UNAUTHORIZED");
    server.lives();
}

#[test]
fn a_name_that_is_nobodys_and_a_wrong_password_are_answered_alike() {
    let stage = Stage::new();
    let server = stage.start();
    let told = |user, password| {
        let header = authorization(&User { name: user, password });
        let answer = server.ask("GET", "/v2/", &[&header], b"").expect_registry_error(401, "UNAUTHORIZED");
        (answer.header("www-authenticate").map(str::to_owned), answer.json())
    };
    assert_eq!(told("alice", "wrong"), told("unknown", "wrong"));
}

#[test]
fn an_account_that_is_not_the_user_is_refused() {
    let stage = Stage::new();
    let server = stage.start();
    let alice = authorization(&ALICE);
    server.ask("GET", "/token?account=bob", &[&alice], b"").expect_error(400, "UNSUPPORTED");
    server.ask("GET", "/token?account=alice", &[&alice], b"").expect(200);
}

#[test]
fn token_forms_that_are_none_are_refused() {
    let stage = Stage::new();
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
        server.ask("POST", "/token", &typed, form.as_bytes()).expect_error(400, "UNSUPPORTED");
    }
    server.ask("POST", "/token", &typed, &[0xff; 100]).expect_error(400, "UNSUPPORTED");
    let wrong = b"grant_type=password&username=alice&password=wrong";
    server.ask("POST", "/token", &typed, wrong).expect_error(401, "UNAUTHORIZED");
    let right = b"grant_type=password&username=alice&password=wonderland+and+back";
    server.ask("POST", "/token", &typed, right).expect(200);
}

#[test]
fn a_token_form_over_the_limit_is_too_large_announced_or_not() {
    let stage = Stage::new();
    let server = stage.start();
    let form = [b"grant_type=password&username=alice&password=".as_slice(), &vec![b'x'; 1 << 20]].concat();
    for header in [format!("Content-Length: {}", form.len()), "Transfer-Encoding: chunked".to_owned()] {
        let mut wire = server.open();
        wire.send(crate::support::wire::head("POST", "/token", &[&header]).as_bytes());
        // The server need not read the rest once the limit is exceeded.
        let framed = if header.starts_with('T') { super::bodies::chunk(&form) } else { form.clone() };
        let _ = wire.try_send(&framed);
        wire.answer_to("POST").expect_error(413, "SIZE_INVALID");
    }
    server.lives();
}
