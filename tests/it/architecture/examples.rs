//! Tests the architecture check itself on sources with violations, because a check that never fails proves nothing.

use super::reader::{Crate, Source};
use super::{FLOORS, violations};

/// The violations of a crate whose modules are empty, except for these files.
fn wrong(files: &[(&str, &str)]) -> Vec<String> {
    let modules = FLOORS.iter().map(|(module, _)| *module).filter(|module| *module != "main");
    let root = modules.fold("//! The map.\n".to_owned(), |text, module| text + "mod " + module + ";\n");
    let root = Source::new("lib.rs", root);
    let files = files.iter().map(|(path, text)| Source::new(path, format!("//! A job.\n{text}")));
    violations(&Crate::new(files.chain([root]).collect())).into_iter().collect()
}

fn assert_right(files: &[(&str, &str)]) {
    assert_eq!(wrong(files), [""; 0]);
}

#[test]
fn what_the_table_allows_is_allowed() {
    assert_right(&[
        ("registry/mod.rs", "use crate::{access::Pull, oci::{Digest, name::{self}}, storage::Store};"),
        ("registry/blobs.rs", "use super::{Error, layout::Key}; use super::super::oci::Digest;"),
        ("storage/filesystem/read.rs", "use super::super::StoreError; pub(in crate::storage) fn read() {}"),
        ("main.rs", "use portcullis::cli::run;"),
        ("api/mod.rs", "use axum::body::Body; use http::Method;"),
    ]);
}

#[test]
fn an_import_from_above_is_found_with_its_line() {
    assert_eq!(
        wrong(&[("oci/mod.rs", "\nuse crate::registry::Error;")]),
        ["oci/mod.rs:3: oci may not import registry"]
    );
}

#[test]
fn an_import_inside_braces_is_found() {
    let text =
        "use crate::{\n    oci::Digest,\n    registry::{self, Error},\n    storage::{StoreError, StoreErrorKind},\n};";
    assert_eq!(wrong(&[("api/error.rs", text)]), ["api/error.rs:5: api may not import storage"]);
}

#[test]
fn an_import_by_climbing_out_is_found() {
    for text in [
        "use super::super::auth::Users;",
        "use super::{super::auth::Users, Error};",
        "mod inner { use super::super::super::auth::Users; }",
        "mod inner { fn f() { super::super::super::auth::f(); } }",
        "use self::super::super::auth;",
    ] {
        assert_eq!(
            wrong(&[("registry/blobs.rs", text)]),
            ["registry/blobs.rs:2: registry may not import auth"],
            "{text}"
        );
    }
    assert_eq!(wrong(&[("tls/mod.rs", "use super::server::Peer;")]), ["tls/mod.rs:2: tls may not import server"]);
    assert_eq!(wrong(&[("telemetry.rs", "use super::app::App;")]), ["telemetry.rs:2: telemetry may not import app"]);
}

#[test]
fn a_path_without_use_is_found_also_in_macros_and_types() {
    for text in [
        "fn f() -> crate::auth::Users { todo!() }",
        "fn f() { println!(\"{}\", crate::auth::NAME); }",
        "macro_rules! f { () => { $crate::auth::f() }; }",
        "impl From<crate::auth::Users> for X {}",
        "fn f() { let x: Vec<<crate::auth::Users as Iterator>::Item>; }",
        "#[serde(with = \"x\")] struct S(#[allow(x)] crate::auth::Users);",
    ] {
        assert_eq!(wrong(&[("storage/mod.rs", text)]), ["storage/mod.rs:2: storage may not import auth"], "{text}");
    }
}

#[test]
fn tests_keep_to_the_floors_too() {
    let text = "#[cfg(test)]\nmod tests {\n    use crate::api::Code;\n}";
    assert_eq!(wrong(&[("oci/mod.rs", text)]), ["oci/mod.rs:4: oci may not import api"]);
}

#[test]
fn the_root_cannot_be_imported_as_a_whole() {
    for text in ["use crate::*;", "use super::*;", "use crate::{self as root};"] {
        assert_eq!(wrong(&[("oci/mod.rs", text)]), ["oci/mod.rs:2: oci imports the whole crate"], "{text}");
    }
    assert_right(&[("oci/mod.rs", "mod tests { use super::*; }")]);
}

#[test]
fn comments_and_texts_import_nothing() {
    assert_right(&[(
        "oci/mod.rs",
        "/// See [`Users`](crate::auth::Users).\n// crate::auth\nconst X: &str = \"crate::auth::Users\"; /* crate::auth::x */",
    )]);
}

#[test]
fn a_library_where_it_does_not_belong_is_found() {
    for (text, library) in [
        ("use axum::body::Body;", "axum"),
        ("use {bytes::Bytes, axum::body::Body};", "axum"),
        ("use axum as web;", "axum"),
        ("extern crate axum;", "axum"),
        ("fn f() -> ::hyper::Request<()> { todo!() }", "hyper"),
        ("fn f(x: Option<&http::Method>) {}", "http"),
    ] {
        let expected = format!("registry/mod.rs:2: registry must not use {library}");
        assert_eq!(wrong(&[("registry/mod.rs", text)]), [expected], "{text}");
    }
    assert_right(&[
        (
            "registry/mod.rs",
            "use bytes::Bytes; use super::access::http::X; #[cfg(test)] mod tests { use axum::Router; }",
        ),
        ("server/mod.rs", "#[cfg(test)]\nmod tests;"),
        ("server/tests.rs", "use axum::Router;"),
    ]);
}

#[test]
fn unwrap_is_found_outside_tests_only() {
    let files = [("oci/mod.rs", "fn f() { g(|| x.unwrap()) }\n#[cfg(test)]\nmod tests { fn f() { x.unwrap() } }")];
    assert_eq!(wrong(&files), ["oci/mod.rs:2: `unwrap()`; use `expect` with the reason why it cannot fail"]);
    assert_right(&[("oci/mod.rs", "fn f() { x.unwrap_or(1); x.expect(\"a reason\"); }")]);
}

#[test]
fn a_module_without_a_head_or_a_floor_is_found() {
    let files = vec![Source::new("oci/mod.rs", "use std::fmt;".to_owned())];
    assert!(violations(&Crate::new(files)).contains("oci/mod.rs: a module must begin with `//!` and its purpose"));
    assert_eq!(wrong(&[("upper/mod.rs", "")]), ["upper/mod.rs: upper has no floor"]);
    let none = Crate::new(vec![Source::new("lib.rs", "//! The map.\npub mod oci;".to_owned())]);
    assert!(violations(&none).contains("lib.rs does not declare api, which has a floor"));
}
