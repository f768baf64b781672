//! Tests the check itself on sources with cycles, because a check that never fails proves nothing.

use super::{
    super::source_reader::{CrateSources, SourceFile},
    cycles,
};

/// What the check says of a crate with these files.
fn found(files: &[(&str, &str)]) -> Vec<String> {
    let files = files.iter().map(|(path, text)| SourceFile::new(path, (*text).to_owned()));
    cycles(&CrateSources::new(files.collect()))
}

fn assert_no_cycle(files: &[(&str, &str)]) {
    assert_eq!(found(files), [""; 0]);
}

#[test]
fn two_files_that_import_from_each_other_are_found_with_the_places() {
    let files = [
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "\nuse super::b::B;\npub struct A;"),
        ("b.rs", "pub struct B;\nfn f(a: &crate::a::A) {}"),
    ];
    assert_eq!(
        found(&files),
        ["a, b need each other:\n    a.rs:2 names B of b.rs\n    b.rs:2 names A of a.rs".to_owned()]
    );
}

#[test]
fn a_cycle_of_three_files_is_found() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        ("a.rs", "use crate::b::B; pub struct A;"),
        ("b.rs", "use crate::c::C; pub struct B;"),
        ("c.rs", "use crate::{a::A, d::D}; pub struct C;"),
        ("d.rs", "pub struct D;"),
    ];
    let found = found(&files);
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("a, b, c need each other:"), "{found:?}");
}

#[test]
fn an_import_through_a_facade_is_one_from_the_defining_file() {
    for (facade, import) in [
        ("mod a; mod b; pub use b::B;", "use crate::B;"),
        ("mod a; mod b; pub(crate) use b::B as Other;", "use super::Other;"),
        ("mod a; mod b; pub use b::*;", "use crate::B;"),
        ("mod a; mod b; use b::B;", "use super::B;"),
        ("mod a; mod b;", "use super::b::*; fn f(_: B) {}"),
        ("mod a; mod b; pub use b::B;", "use crate::*; fn f(_: B) {}"),
        ("mod a; mod b; pub use crate::b as c;", "use crate::c; fn f() { c::B::new(); }"),
    ] {
        let a = format!("{import} pub struct A;");
        let files = [("lib.rs", facade), ("a.rs", &a), ("b.rs", "use crate::a::A; pub struct B;")];
        let found = found(&files);
        let texts = found.iter().filter(|text| text.contains(" of b.rs\n")).count();
        assert_eq!(texts, 1, "{facade} {import}: {found:?}");
    }
}

#[test]
fn declaring_and_re_exporting_children_is_no_import_of_them() {
    assert_no_cycle(&[
        ("lib.rs", "mod a; mod b; pub use a::A; pub use crate::b::{B, b}; pub struct Shared; fn f() { Shared.b(); }"),
        ("a.rs", "use super::{B, Shared}; pub struct A;"),
        ("b.rs", "use crate::Shared; pub struct B; pub fn b() {}"),
    ]);
}

#[test]
fn a_parent_and_a_child_that_need_each_other_are_found() {
    for parent in [
        "mod child; use child::Part; pub struct Whole(Part);",
        "mod child; pub struct Whole(child::Part);",
        "mod child; pub use child::Part; pub struct Whole(Part);",
        "mod child; pub use child::make; pub struct Whole; fn f() { make(Whole) }",
        "mod child; pub use child::*; pub struct Whole; fn f() { make(Whole) }",
    ] {
        let files = [
            ("lib.rs", "mod room;"),
            ("room/mod.rs", parent),
            ("room/child.rs", "use super::Whole; pub struct Part; pub fn make(_: Whole) {}"),
        ];
        let found = found(&files);
        assert_eq!(found.len(), 1, "{parent}: {found:?}");
        assert!(found[0].starts_with("room/child, room/mod.rs need each other:"), "{found:?}");
    }
}

#[test]
fn two_folders_that_need_each_other_by_different_files_are_found() {
    let files = [
        ("lib.rs", "mod a; mod b;"),
        ("a/mod.rs", "mod low; mod high;"),
        ("a/low.rs", "pub struct Low;"),
        ("a/high.rs", "use crate::b::B;"),
        ("b.rs", "use super::a::low::Low; pub struct B;"),
    ];
    let found = found(&files);
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("a, b need each other:\n    a/high.rs:1 names B of b.rs"), "{found:?}");
}

#[test]
fn a_path_inside_a_body_or_a_macro_or_an_attribute_is_an_import() {
    for text in [
        "fn f() { use crate::b::B; }",
        "fn f() { println!(\"{}\", crate::b::NAME); }",
        "macro_rules! f { () => { $crate::b::f() }; }",
        "impl From<super::b::B> for X {}",
        "mod inner { fn f() { super::super::b::f(); } }",
        "#[value(with = crate::b::f)] struct S;",
        "use super::b; fn f() { b::f(); }",
        "fn f() { use super::b; b::f(); }",
        "use super::b::made_by_a_macro;",
    ] {
        let a = format!("{text} pub struct A;");
        let files = [("lib.rs", "mod a; mod b;"), ("a.rs", &*a), ("b.rs", "use super::a::A; pub struct B; table! {}")];
        assert_eq!(found(&files).len(), 1, "{text}");
    }
}

#[test]
fn tests_and_comments_and_other_crates_import_nothing() {
    assert_no_cycle(&[
        ("lib.rs", "mod a; mod b; pub use other as b_of_another; pub use other::B as C;"),
        (
            "a.rs",
            "//! See [`B`](crate::b::B).\nuse crate::{C, b_of_another::B}; pub struct A;\n#[cfg(test)] mod tests { use crate::b::B; }",
        ),
        ("b.rs", "use crate::a::A; pub struct B; fn f() { \"crate::a::A\"; }"),
        ("a/tests.rs", "use crate::b::B;"),
    ]);
    assert_no_cycle(&[
        ("lib.rs", "mod a; #[cfg(any(test, feature = \"testing\"))] pub mod fixtures;"),
        ("a.rs", "pub struct A; #[cfg(any(test, feature = \"testing\"))] impl A { fn f() { crate::fixtures::f(); } }"),
        ("fixtures.rs", "use crate::a::A;"),
    ]);
}

#[test]
fn a_module_and_a_function_may_share_a_name() {
    assert_no_cycle(&[
        ("lib.rs", "mod exchange; mod client; pub use exchange::exchange;"),
        ("exchange.rs", "pub struct Answer; pub fn exchange() -> Answer {}"),
        ("client.rs", "use crate::{exchange, exchange::Answer};"),
    ]);
    let files = [
        ("lib.rs", "mod exchange; mod client; pub use exchange::exchange;"),
        ("exchange.rs", "use crate::client::Client; pub fn exchange() {}"),
        ("client.rs", "use crate::exchange; pub struct Client;"),
    ];
    assert_eq!(found(&files).len(), 1);
}

#[test]
fn the_program_may_use_its_library() {
    assert_no_cycle(&[
        ("lib.rs", "pub mod cli; pub struct Shared;"),
        ("main.rs", "use portcullis::{Shared, cli::run}; fn main() { run(); }"),
        ("cli.rs", "use crate::Shared; pub fn run() {}"),
    ]);
}
