//! Tests the YAML parser; the expectations about Go's `gopkg.in/yaml.v2` were observed by running it.

use super::*;

fn broken(text: &str) -> String {
    parse(text).err().unwrap_or_else(|| panic!("{text:?} should be refused")).to_string()
}

/// The text below a key, and how many surprises there were.
fn read(text: &str, path: &str) -> (Option<String>, usize) {
    let document = parse(text).unwrap_or_else(|broken| panic!("{text:?}: {broken}"));
    (document.root().get(path).and_then(NodeRef::text).map(str::to_owned), document.warnings.len())
}

fn says(text: &str, path: &str, expected: &str, surprises: usize) {
    assert_eq!(read(text, path), (Some(expected.to_owned()), surprises), "{text}");
}

#[test]
fn everything_knows_its_line() {
    let document = parse("http:\n  addr: :5000\n  tls:\n    key: k\nempty:\nlist: [a, b]\n").unwrap();
    let root = document.root();
    let line = |path| root.get(path).map(|at| at.line);
    assert_eq!(
        (line("http"), line("http.addr"), line("http.tls.key"), line("empty")),
        (Some(1), Some(2), Some(4), Some(5))
    );
    assert_eq!(root.get("http.addr").unwrap().text(), Some(":5000"));
    assert!(root.get("empty").unwrap().is_null() && root.get("http.none").is_none());
    assert_eq!(root.get("list").unwrap().elements().len(), 2);
}

#[test]
fn anchors_and_merges_are_followed() {
    let text = "a: &x {one: 1, two: 2}\nb:\n  <<: *x\n  two: 3\nc: *x\n";
    says(text, "b.one", "1", 0);
    says(text, "b.two", "3", 0);
    says(text, "c.two", "2", 0);
    says("a: &x {n: 1}\nb: &y {n: 2, m: 2}\nc: {<<: [*x, *y]}\n", "c.n", "1", 0);
    says("c: {\"<<\": 1, n: 2}\n", "c.<<", "1", 0);
}

#[test]
fn a_merge_replaces_what_stands_before_it_as_in_go() {
    says("a: &x {n: 1}\nb: {n: 2, <<: *x}\n", "b.n", "1", 1);
}

#[test]
fn the_last_of_two_equal_keys_counts_as_in_go_and_two_maps_are_refused() {
    says("a: 1\na: 2\n", "a", "2", 1);
    says("a: {b: 1}\na:\n", "a", "", 1);
    assert_eq!(broken("a: {b: 1}\na: {c: 2}\n"), "2: the key \"a\" is there twice, with a map each time");
    let merged = "x: &x {labels: {a: b}}\ny: {<<: *x, labels: {c: d}}\n";
    assert_eq!(broken(merged), "2: the key \"labels\" is there twice, with a map each time");
}

#[test]
fn booleans_are_those_of_yaml_1_1_and_quoted_ones_are_texts() {
    let document = parse("a: [y, Yes, ON, 'true', \"yes\", tRUE, !!str true, 1, n, OFF, x]\n").unwrap();
    let read = |at: NodeRef<'_>| at.boolean("a").ok();
    let booleans: Vec<Option<bool>> = document.root().get("a").unwrap().elements().into_iter().map(read).collect();
    let (yes, no) = (Some(true), Some(false));
    assert_eq!(booleans, [yes, yes, yes, None, None, None, None, None, no, no, None]);
}

#[test]
fn numbers_booleans_and_nothing_are_no_texts_where_types_matter() {
    let is_string = |text: &str| parse(&format!("a: {text}\n")).unwrap().root().get("a").unwrap().is_string();
    for text in ["x", "'5'", "\"yes\"", "24h", "1.2.3", "/srv", "!!str 5", "./a", "no-realm", "2001 nights"] {
        assert!(is_string(text), "{text}");
    }
    for text in
        ["5", "1_000", "1e3", "0x10", "yes", "~", "", "null", "NULL", ".5", "-.INF", "2001-01-01", "[a]", "{a: b}"]
    {
        assert!(!is_string(text), "{text}");
    }
}

#[test]
fn null_is_what_go_takes_for_it() {
    let is_null = |text: &str| parse(&format!("a: {text}\n")).unwrap().root().get("a").unwrap().is_null();
    assert!(is_null("~") && is_null("null") && is_null(""));
    assert!(!is_null("NULL") && !is_null("Null") && !is_null("'~'"));
    says("a: {~: x}\n", "a.", "x", 0);
    says("a: NULL\n", "a", "", 0);
}

#[test]
fn only_the_first_document_is_read() {
    says("a: 1\n---\na: 2\n", "a", "1", 1);
    says("---\na: 1\n...\n", "a", "1", 0);
}

#[test]
fn what_is_no_document_is_refused_with_its_line() {
    assert!(broken("a: b\nc: [d\n").starts_with("3: ") || broken("a: b\nc: [d\n").starts_with("2: "));
    assert_eq!(broken("just text"), "1: this is no map of keys and values");
    assert_eq!(broken(""), "1: this is no map of keys and values");
    assert_eq!(broken("a: {<<: , b: c}\n"), "1: a merge of something that is no map");
    assert_eq!(broken("a:\n  - !!binary aGk=\n"), "2: a tag that is not read here: tag:yaml.org,2002:!binary");
}

#[test]
fn nesting_and_aliases_without_end_are_refused() {
    assert!(broken(&format!("a: {}{}", "[".repeat(70), "]".repeat(70))).contains("64 levels"));
    assert!(parse(&format!("a: {}", "[".repeat(200_000))).is_err());
    let mut laughs = "a: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        laughs = format!("{laughs}b{level}: &a{level} [{before}]\n");
    }
    assert!(broken(&laughs).contains("more than 100000 values"));
}
