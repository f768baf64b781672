//! Tests invalid names, digests, ranges, scopes and page sizes.

use super::{begin_upload, push_blob};
use crate::support::ServerDir;
use crate::support::oci_layout::digest;
use crate::support::portcullis_server::ALICE;
use crate::support::server_dir::basic_authorization;

#[test]
fn names_that_are_none_are_refused_by_every_endpoint() {
    let stage = ServerDir::new();
    let server = stage.start();
    let long = "a".repeat(256);
    let names = [
        "A",
        "a..b",
        "../a",
        "a/../b",
        "..",
        ".",
        "a/./b",
        "a//b",
        "a/",
        "-a",
        "a-",
        "_a",
        "a___b",
        ".a",
        "%2e%2e/a",
        "a%2f%2e%2e",
        "a%2f",
        "%2fa",
        "a%252fb",
        "%2561",
        "a%",
        "a%2",
        "a%zz",
        "a%ff",
        "a%00b",
        "a%20b",
        "a:b",
        "a@b",
        "%41",
        "a%0d%0ab",
        "a+b",
        "~a",
        "a;b",
        "a\\b",
        "%c3%a9",
        &long,
    ];
    let blob = digest(b"");
    for name in names {
        for (method, rest) in [
            ("GET", "tags/list".to_owned()),
            ("GET", "manifests/latest".to_owned()),
            ("PUT", "manifests/latest".to_owned()),
            ("DELETE", format!("manifests/{blob}")),
            ("HEAD", format!("blobs/{blob}")),
            ("GET", format!("blobs/{blob}")),
            ("POST", "blobs/uploads/".to_owned()),
            ("PATCH", "blobs/uploads/2d5c1f58-6ee2-4d0e-95b3-0be7e5b2ea44".to_owned()),
            ("GET", format!("referrers/{blob}")),
        ] {
            let answer = server.request_as_alice(method, &format!("/v2/{name}/{rest}"), &[], b"");
            if method == "HEAD" {
                answer.expect(400);
            } else {
                answer.expect_registry_error(400, "NAME_INVALID");
            }
        }
    }
    let below: Vec<_> =
        std::fs::read_dir(stage.path("data")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(below, ["portcullis"], "nothing should have been made for a name that is none");
    server.assert_serving();
}

#[test]
fn paths_that_no_registry_has_are_not_found_and_other_methods_not_allowed() {
    let stage = ServerDir::new();
    let server = stage.start();
    for path in
        ["/v2/a", "/v2/a/b", "/v2/a/uploads/x", "/v2//", "/v2/a/blobs", "/v1/_ping/x", "/v2x/", "/", "/etc/passwd"]
    {
        server.request_as_alice("GET", path, &[], b"").expect_error(404, "NAME_UNKNOWN");
    }
    for (method, path) in [
        ("POST", "/v2/"),
        ("DELETE", "/v2/_catalog"),
        ("PUT", "/v2/a/tags/list"),
        ("POST", "/v2/a/manifests/x"),
        ("PATCH", "/v2/a/manifests/x"),
        ("GET", "/v2/a/blobs/uploads/"),
        ("OPTIONS", "/v2/"),
        ("TRACE", "/v2/"),
        ("BREW", "/v2/"),
    ] {
        let answer = server.request_as_alice(method, path, &[], b"").expect_registry_error(405, "UNSUPPORTED");
        assert!(answer.header("allow").is_some(), "{answer}");
    }
    server.assert_serving();
}

#[test]
fn digests_that_are_none_are_refused_by_every_endpoint() {
    let stage = ServerDir::new();
    let server = stage.start();
    let (short, long, upper) = ("a".repeat(63), "a".repeat(65), "A".repeat(64));
    let digests = [
        "sha256:".to_owned(),
        "sha256".to_owned(),
        format!("sha256:{short}"),
        format!("sha256:{long}"),
        format!("sha256:{upper}"),
        format!("sha256:{}", "g".repeat(64)),
        format!("md5:{}", "a".repeat(32)),
        format!("sha512:{}", "a".repeat(64)),
        format!("SHA256:{}", "a".repeat(64)),
        format!("sha256:{}..", "a".repeat(62)),
        format!("sha256:{}%2f", "a".repeat(63)),
        format!("sha256:sha256:{}", "a".repeat(64)),
        format!("sha256:{short}%00"),
        "..".to_owned(),
        "sha256:../../../etc/passwd".to_owned(),
    ];
    let upload = begin_upload(&server, "a");
    for digest in &digests {
        if !digest.contains('/') {
            server
                .request_as_alice("GET", &format!("/v2/a/blobs/{digest}"), &[], b"")
                .expect_registry_error(400, "DIGEST_INVALID");
            server
                .request_as_alice("DELETE", &format!("/v2/a/blobs/{digest}"), &[], b"")
                .expect_registry_error(400, "DIGEST_INVALID");
            server
                .request_as_alice("GET", &format!("/v2/a/referrers/{digest}"), &[], b"")
                .expect_registry_error(400, "DIGEST_INVALID");
        }
        for (method, path) in [
            ("POST", format!("/v2/a/blobs/uploads/?digest={digest}")),
            ("POST", format!("/v2/a/blobs/uploads/?mount={digest}&from=b")),
            ("PUT", format!("{upload}?digest={digest}")),
        ] {
            server.request_as_alice(method, &path, &[], b"").expect_registry_error(400, "DIGEST_INVALID");
        }
    }
    server.request_as_alice("PUT", &upload, &[], b"").expect_registry_error(400, "DIGEST_INVALID");
    // A malformed digest has not ended the upload: it can be completed.
    server.request_as_alice("PUT", &format!("{upload}?digest={}", digest(b"late")), &[], b"late").expect(201);
    for reference in
        ["-latest", ".latest", "a b".replace(' ', "%20").as_str(), "%2e%2e", &"a".repeat(129), "a:b:c", "%ff"]
    {
        let path = format!("/v2/a/manifests/{reference}");
        let (status, code, put) = if reference.contains(':') {
            (400, "DIGEST_INVALID", "DIGEST_INVALID")
        } else {
            (404, "MANIFEST_UNKNOWN", "TAG_INVALID")
        };
        server.request_as_alice("GET", &path, &[], b"").expect_registry_error(status, code);
        server.request_as_alice("HEAD", &path, &[], b"").expect(status);
        server.request_as_alice("DELETE", &path, &[], b"").expect_registry_error(status, code);
        server.request_as_alice("PUT", &path, &[], b"{}").expect_registry_error(400, put);
    }
    server.assert_serving();
}

#[test]
fn uploads_that_are_none_are_not_known() {
    let stage = ServerDir::new();
    let server = stage.start();
    let digest = digest(b"");
    for id in ["x", "..", "%2e%2e", "00000000-0000-0000-0000-000000000000", "_uploads", &"f".repeat(4000)] {
        for (method, query) in [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("PUT", &*format!("?digest={digest}"))] {
            let path = format!("/v2/a/blobs/uploads/{id}{query}");
            server.request_as_alice(method, &path, &[], b"x").expect_registry_error(404, "BLOB_UPLOAD_UNKNOWN");
        }
    }
    server.assert_serving();
}

#[test]
fn ranges_that_make_no_sense_are_unsatisfiable_or_ignored() {
    let stage = ServerDir::new();
    let server = stage.start();
    let content: Vec<u8> = (0..=255).cycle().take(2048).collect();
    let digest = push_blob(&server, "a", &content);
    let path = format!("/v2/a/blobs/{digest}");
    let get = |range: &str| server.request_as_alice("GET", &path, &[&format!("Range: {range}")], b"");
    for range in [
        "bytes=500-0",
        "bytes=2048-",
        "bytes=5000-10000",
        "bytes=-0",
        "bytes=-",
        "bytes=",
        "bytes=a-b",
        "bytes=1-2-3",
        "bytes=+1-2",
        "bytes=--1",
        "bytes=18446744073709551616-",
        "bytes=99999999999999999999-99999999999999999999",
        "bytes=0x1-2",
        "bytes=1 -2",
    ] {
        let answer = get(range).expect_registry_error(416, "RANGE_INVALID");
        assert_eq!(answer.header("content-range"), Some("bytes */2048"), "{range}: {answer}");
    }
    for range in ["bytes=0-1,3-4", "chunks=0-1", "", "0-5", &format!("bytes={}", "0-0,".repeat(2000))] {
        assert!(get(range).expect(200).body == content, "{range:?} should be ignored");
    }
    for (range, from, to) in [
        ("bytes=0-18446744073709551615", 0, 2048),
        ("bytes=0-99999999999999999999", 0, 2048),
        ("bytes=-99999999999999999999", 0, 2048),
        ("bytes=2047-2047", 2047, 2048),
        ("bytes=-18446744073709551615", 0, 2048),
        ("bytes=-5000", 0, 2048),
        ("bytes=2000-5000", 2000, 2048),
    ] {
        assert!(get(range).expect(206).body == content[from..to], "{range}");
    }
    // Every range of an empty blob is unsatisfiable.
    let empty = push_blob(&server, "a", b"");
    server
        .request_as_alice("GET", &format!("/v2/a/blobs/{empty}"), &["Range: bytes=0-"], b"")
        .expect_registry_error(416, "RANGE_INVALID");
    server.assert_serving();
}

#[test]
fn chunks_whose_range_makes_no_sense_change_nothing() {
    let stage = ServerDir::new();
    let server = stage.start();
    let upload = begin_upload(&server, "a");
    server.request_as_alice("PATCH", &upload, &["Content-Range: 0-4"], b"hello").expect(202);
    for (range, status, code) in [
        ("", 400, "SIZE_INVALID"),
        ("x-y", 400, "SIZE_INVALID"),
        ("5-", 400, "SIZE_INVALID"),
        ("-5", 400, "SIZE_INVALID"),
        ("9-5", 400, "SIZE_INVALID"),
        ("5-18446744073709551615", 400, "SIZE_INVALID"),
        ("5-99999999999999999999999", 400, "SIZE_INVALID"),
        ("0-4", 416, "RANGE_INVALID"),
        ("6-10", 416, "RANGE_INVALID"),
        ("5-8", 400, "SIZE_INVALID"),
        ("5-18446744073709551614", 400, "SIZE_INVALID"),
    ] {
        for (method, path) in
            [("PATCH", upload.clone()), ("PUT", format!("{upload}?digest={}", digest(b"hello world")))]
        {
            let header = format!("Content-Range: {range}");
            server.request_as_alice(method, &path, &[&header], b"world").expect_registry_error(status, code);
            assert_eq!(
                server.request_as_alice("GET", &upload, &[], b"").expect(204).range_offset(),
                5,
                "{method} {range}"
            );
        }
    }
    let last = server.request_as_alice(
        "PUT",
        &format!("{upload}?digest={}", digest(b"hello world")),
        &["Content-Range: 5-10"],
        b" world",
    );
    last.expect(201);
    server.assert_serving();
}

#[test]
fn page_sizes_that_are_no_numbers_are_refused_and_huge_ones_cost_nothing() {
    let stage = ServerDir::new();
    let server = stage.start();
    push_blob(&server, "a", b"x");
    for n in ["-1", "x", "1.5", "+1", "0x10", "", "%00", "1e9"] {
        for path in ["/v2/_catalog", "/v2/a/tags/list"] {
            server
                .request_as_alice("GET", &format!("{path}?n={n}"), &[], b"")
                .expect_registry_error(400, "PAGINATION_NUMBER_INVALID");
        }
    }
    for n in ["1000000000", "99999999999999999999999999999999"] {
        server.request_as_alice("GET", &format!("/v2/_catalog?n={n}"), &[], b"").expect(200);
    }
    server.request_as_alice("GET", "/v2/_catalog?n=5&last=../../%00%ff", &[], b"").expect(200);
    server.assert_serving();
}

#[test]
fn scopes_that_are_none_are_ignored_and_so_are_too_many() {
    let stage = ServerDir::new();
    let server = stage.start();
    let alice = basic_authorization(&ALICE);
    for scope in [
        "",
        ":",
        "::",
        ":::",
        "repository",
        "repository:a",
        "repository::pull",
        "repository:A:pull",
        "repository:../a:pull",
        "repository:a:",
        "repository:a:fly",
        "repository(plugin:a:pull",
        "registry:users:*",
        "%00",
        "%ff%fe",
        "repository:a%0d%0a:pull",
        &"x".repeat(5000),
    ] {
        let answer =
            server.request("GET", &format!("/token?service=localhost&scope={scope}"), &[&alice], b"").expect(200);
        assert!(answer.json()["token"].as_str().is_some_and(|token| token.len() < 1000), "{scope}: {answer}");
    }
    let many = "scope=repository:a:pull&".repeat(101);
    let answer = server.request("GET", &format!("/token?{many}"), &[&alice], b"").expect(200);
    assert!(answer.json()["token"].as_str().is_some_and(|token| token.len() < 10_000), "{answer}");
    server.assert_serving();
}

#[test]
fn an_address_longer_than_anybody_needs_is_refused() {
    let stage = ServerDir::new();
    let server = stage.start();
    let mut wire = server.connect();
    let _ = wire.try_send(&crate::support::wire_connection::request(
        "GET",
        &format!("/v2/{}", "a".repeat(1 << 20)),
        &[],
        b"",
    ));
    if let Some(answer) = wire.try_response_to("GET") {
        assert!(matches!(answer.status, 400 | 414 | 431), "{answer}");
    }
    server.assert_serving();
}
