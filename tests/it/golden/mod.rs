//! Compares visible output and files with golden files in `tests/golden`.
//!
//! Invariant: a plain test run never writes a golden file. `UPDATE_GOLDEN=1` writes them; the resulting diff must be
//! reviewed.

mod authorisation;
mod data_layout;
mod errors;
mod fsck;
mod help;
mod migrate;

use std::fs;
use std::path::Path;

/// Compares a text with a file in `tests/golden`, or writes the file.
fn assert_golden(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        fs::write(&path, actual).unwrap();
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        actual == expected,
        "tests/golden/{name} (-) and what is seen (+) differ:\n{}\nhint: if that is meant, UPDATE_GOLDEN=1 writes the file",
        difference(&expected, actual)
    );
}

/// The lines from the first difference to the last.
fn difference(expected: &str, actual: &str) -> String {
    let (expected, actual): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), actual.lines().collect());
    let start = expected.iter().zip(&actual).take_while(|(old, new)| old == new).count();
    let (old, new) = (&expected[start..], &actual[start..]);
    let end = old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| old == new).count();
    let (old, new) = (&old[..old.len() - end], &new[..new.len() - end]);
    let removed = old.iter().map(|line| format!("- {line}"));
    let lines: Vec<String> = removed.chain(new.iter().map(|line| format!("+ {line}"))).collect();
    format!("from line {}:\n{}", start + 1, lines.join("\n"))
}

#[test]
fn a_difference_is_shown_without_what_is_the_same() {
    assert_eq!(difference("a\nb\nc\n", "a\nx\ny\nc\n"), "from line 2:\n- b\n+ x\n+ y");
    assert_eq!(difference("a\n", "a\na\n"), "from line 2:\n+ a");
    assert_eq!(difference("", "a"), "from line 1:\n+ a");
}
