//! Tests the architecture check itself on sources with violations, because a check that never fails proves nothing.

use super::source_reader::{CrateSources, SourceFile};
use super::{MODULES, violations, walls};

/// The violations of a program whose modules are empty, except for these files.
fn wrong(files: &[(&str, &str)]) -> Vec<String> {
    let modules = MODULES.iter().map(|(module, _)| *module).filter(|module| *module != "main");
    let root = modules.fold("//! The map.\n".to_owned(), |text, module| text + "mod " + module + ";\n");
    let root = SourceFile::new("lib.rs", root);
    let files = files.iter().map(|(path, text)| SourceFile::new(path, format!("//! A job.\n{text}")));
    let sources = CrateSources::new(files.chain([root]).collect());
    violations(&sources).union(&walls(&sources)).cloned().collect()
}

fn assert_right(files: &[(&str, &str)]) {
    assert_eq!(wrong(files), [""; 0]);
}

#[test]
fn what_the_table_allows_is_allowed() {
    assert_right(&[
        ("api/mod.rs", "use crate::{access::Pull, oci::{Digest, name::{self}}, registry::Store};"),
        ("api/blobs.rs", "use super::{Error, layout::Key}; use super::super::oci::Digest;"),
        ("cli/check/read.rs", "use super::super::StoreError; pub(in crate::cli) fn read() {}"),
        ("main.rs", "use portcullis::cli::run;"),
        ("api/mod.rs", "use axum::body::Body; use http::Method;"),
    ]);
}

#[test]
fn an_import_from_above_is_found_with_its_line() {
    assert_eq!(wrong(&[("api/mod.rs", "\nuse crate::storage::Error;")]), ["api/mod.rs:3: api may not import storage"]);
}

#[test]
fn an_import_inside_braces_is_found() {
    let text =
        "use crate::{\n    api::Digest,\n    registry::{self, Error},\n    storage::{StoreError, StoreErrorKind},\n};";
    assert_eq!(wrong(&[("api/error.rs", text)]), ["api/error.rs:5: api may not import storage"]);
}

#[test]
fn an_import_by_climbing_out_is_found() {
    for text in [
        "use super::super::storage::Users;",
        "use super::{super::storage::Users, Error};",
        "mod inner { use super::super::super::storage::Users; }",
        "mod inner { fn f() { super::super::super::storage::f(); } }",
        "use self::super::super::storage;",
    ] {
        assert_eq!(wrong(&[("api/blobs.rs", text)]), ["api/blobs.rs:2: api may not import storage"], "{text}");
    }
    assert_eq!(wrong(&[("reload.rs", "use super::server::Peer;")]), ["reload.rs:2: reload may not import server"]);
    assert_eq!(wrong(&[("app.rs", "use super::cli::App;")]), ["app.rs:2: app may not import cli"]);
}

#[test]
fn a_path_without_use_is_found_also_in_macros_and_types() {
    for text in [
        "fn f() -> crate::storage::Users { todo!() }",
        "fn f() { println!(\"{}\", crate::storage::NAME); }",
        "macro_rules! f { () => { $crate::storage::f() }; }",
        "impl From<crate::storage::Users> for X {}",
        "fn f() { let x: Vec<<crate::storage::Users as Iterator>::Item>; }",
        "#[serde(with = \"x\")] struct S(#[allow(x)] crate::storage::Users);",
    ] {
        assert_eq!(wrong(&[("api/mod.rs", text)]), ["api/mod.rs:2: api may not import storage"], "{text}");
    }
}

#[test]
fn tests_keep_to_the_floors_too() {
    let text = "#[cfg(test)]\nmod tests {\n    use crate::cli::Code;\n}";
    assert_eq!(wrong(&[("api/mod.rs", text)]), ["api/mod.rs:4: api may not import cli"]);
}

#[test]
fn the_root_cannot_be_imported_as_a_whole() {
    for text in ["use crate::*;", "use super::*;", "use crate::{self as root};"] {
        assert_eq!(wrong(&[("api/mod.rs", text)]), ["api/mod.rs:2: api imports the whole crate"], "{text}");
    }
    assert_right(&[("api/mod.rs", "mod tests { use super::*; }")]);
}

#[test]
fn comments_and_texts_import_nothing() {
    assert_right(&[(
        "api/mod.rs",
        "/// See [`Users`](crate::storage::Users).\n// crate::storage\nconst X: &str = \"crate::storage::Users\"; /* crate::storage::x */",
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
        let expected = format!("cli/mod.rs:2: cli must not use {library}");
        assert_eq!(wrong(&[("cli/mod.rs", text)]), [expected], "{text}");
    }
    assert_right(&[
        ("cli/mod.rs", "use bytes::Bytes; use super::access::http::X; #[cfg(test)] mod tests { use axum::Router; }"),
        ("cli/mod.rs", "#[cfg(test)]\nmod tests;"),
        ("cli/tests.rs", "use axum::Router;"),
    ]);
}

#[test]
fn unwrap_is_found_outside_tests_only() {
    let files = [("api/mod.rs", "fn f() { g(|| x.unwrap()) }\n#[cfg(test)]\nmod tests { fn f() { x.unwrap() } }")];
    assert_eq!(wrong(&files), ["api/mod.rs:2: `unwrap()`; use `expect` with the reason why it cannot fail"]);
    assert_right(&[("api/mod.rs", "fn f() { x.unwrap_or(1); x.expect(\"a reason\"); }")]);
}

#[test]
fn a_module_without_a_head_or_a_floor_is_found() {
    let files = vec![SourceFile::new("api/mod.rs", "use std::fmt;".to_owned())];
    assert!(
        violations(&CrateSources::new(files)).contains("api/mod.rs: a module must begin with `//!` and its purpose")
    );
    assert_eq!(wrong(&[("upper/mod.rs", "")]), ["upper/mod.rs: upper is not in the table"]);
    let none = CrateSources::new(vec![SourceFile::new("lib.rs", "//! The map.\npub mod cli;".to_owned())]);
    assert!(walls(&none).contains("lib.rs does not declare api, which is in the table"));
}
