//! Checks that the reference and the example configuration match the program.

use std::path::PathBuf;

use super::{
    super::keys::{Fallback, KEYS},
    *,
};

fn in_project(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(path)
}

fn example() -> String {
    std::fs::read_to_string(in_project("portcullis.example.toml")).unwrap()
}

/// The example with all settings enabled: a commented setting follows its `#` directly, a remark follows a space.
fn uncommented(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(setting) if !setting.starts_with(' ') => format!("{setting}\n"),
        Some(_) | None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

fn without_table(text: &str, header: &str) -> String {
    let (before, rest) = text.split_once(&format!("\n{header}\n")).unwrap();
    let after = rest.find("\n[").map_or("", |next| &rest[next..]);
    format!("{before}{after}")
}

#[test]
fn the_reference_is_what_the_table_of_keys_renders() {
    let path = in_project("docs/configuration.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, super::super::reference()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == super::super::reference(),
        "docs/configuration.md differs from crates/config/src/keys.rs; write it anew with UPDATE_GOLDEN=1 cargo test"
    );
}

#[test]
fn the_example_as_shipped_changes_nothing() {
    assert_eq!(config(&example()), config(""));
}

#[test]
fn the_example_with_everything_switched_on_is_valid() {
    let all = uncommented(&example());
    let choices =
        [&["[tls.self_signed]"][..], &["[tls.files]", "[[tls.files.more]]"], &["[tls.acme]", "[tls.acme.eab]"]];
    for choice in choices {
        let others = choices.iter().filter(|other| **other != choice).copied().flatten();
        config(&others.fold(all.clone(), |text, header| without_table(&text, header)));
    }
    let found = problems(&all);
    assert!(found.matches("contradicts").count() == 2 && found.matches("error: ").count() == 2, "{found}");
}

#[test]
fn the_example_names_every_key_with_its_default_and_a_remark_above() {
    let text = example();
    for key in KEYS {
        let header = match key.table() {
            "" => String::new(),
            table => format!("#{}\n", super::super::keys::header(table)),
        };
        let (_, section) = text.split_once(&header).unwrap_or_else(|| panic!("no {header}"));
        let section = section.split("\n#[").next().unwrap_or_default();
        let lines: Vec<_> = section.lines().collect();
        let name = if key.table() == "groups" { "team" } else { key.name() };
        let setting = match (key.fallback(), key.default_in_toml()) {
            (Fallback::Value(_), Some(default)) => format!("#{name} = {default}"),
            _ => format!("#{name} = "),
        };
        let at = lines.iter().position(|line| line.starts_with(&setting));
        let at = at.unwrap_or_else(|| panic!("no {setting} under {header}"));
        assert!(at > 0 && lines[at - 1].starts_with("# "), "{} has no remark above", key.path());
    }
}
