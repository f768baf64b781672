//! Checks the documentation against the program: every command, setting, file and link that a page names must exist,
//! and every configuration that a page shows must be valid.
//!
//! (`real::docker` tests that the README's lines for Docker work when they are pasted.)

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use clap::error::ErrorKind;
use portcullis::cli::Cli;
use portcullis::config::{self, Flags};

/// The pages outside of `docs`.
const PAGES: &[&str] = &["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "certs/README.md"];

/// The paths of all pages: [`PAGES`], and those of `docs`.
fn pages() -> Vec<String> {
    let mut pages: Vec<String> = PAGES.iter().map(|page| (*page).to_owned()).collect();
    pages.extend(files_of_docs().into_iter().map(|file| format!("docs/{file}")));
    pages
}

/// The names of the Markdown files in `docs`, in order.
fn files_of_docs() -> BTreeSet<String> {
    let names = fs::read_dir(path("docs")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "md")).collect()
}

fn path(page: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(page)
}

fn read(page: &str) -> String {
    fs::read_to_string(path(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

/// The lines of the README's shell blocks below a heading.
#[cfg_attr(not(feature = "real-parts"), expect(dead_code, reason = "used by the tests with real programs"))]
pub(crate) fn shell_lines(heading: &str) -> Vec<String> {
    let text = read("README.md");
    let (_, section) = text.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no {heading:?}"));
    let section = section.split("\n## ").next().unwrap();
    blocks(section, "sh").iter().flat_map(|block| block.lines()).map(str::to_owned).collect()
}

/// The fenced code blocks of a language, including indented ones in lists.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().map(str::trim_start);
    while let Some(line) = lines.next() {
        if let Some(found) = line.strip_prefix("```") {
            let block: String =
                lines.by_ref().take_while(|line| *line != "```").flat_map(|line| [line, "\n"]).collect();
            if found == language {
                blocks.push(block);
            }
        }
    }
    blocks
}

/// The inline code spans of a page.
fn spans(text: &str) -> Vec<String> {
    let outside = text.split("```").step_by(2);
    let flat: Vec<String> = outside.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    flat.iter().flat_map(|text| text.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// The words of a `portcullis` call in a shell command, without quotes and redirections; `None` for other commands.
fn our_call(command: &str) -> Option<Vec<&str>> {
    let words = command.split_whitespace().map(|word| word.trim_matches('\''));
    let mut words: Vec<&str> = words.take_while(|word| *word != ">").collect();
    if words.first() == Some(&"sudo") {
        words.remove(0);
        if words.first() == Some(&"-u") {
            words.drain(..2);
        }
    }
    let within = words.iter().position(|word| *word == "/portcullis");
    let start = if words.first() == Some(&"portcullis") { Some(0) } else { within };
    Some(words.split_off(start?))
}

/// Parses a call; an incomplete one in a sentence (`portcullis user add`) is accepted if it is valid so far.
fn parse_call(call: &[&str], may_be_unfinished: bool) -> Result<(), String> {
    // `add|remove NAME` is expanded to two calls.
    let alternatives = call.iter().map(|word| word.split('|').count()).max().unwrap_or(1);
    for index in 0..alternatives {
        let words = call.iter().map(|word| word.split('|').nth(index).unwrap_or(word));
        let Err(error) = Cli::try_parse_from(words.filter(|word| *word != "…")) else { continue };
        let unfinished = [ErrorKind::MissingRequiredArgument, ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand];
        if !may_be_unfinished || !unfinished.contains(&error.kind()) {
            return Err(error.to_string());
        }
    }
    Ok(())
}

#[test]
fn every_call_of_the_program_is_one_that_it_understands() {
    let (mut wrong, mut calls) = (Vec::new(), 0);
    for page in pages() {
        let text = read(&page);
        let shell = blocks(&text, "sh");
        let commands =
            shell.iter().flat_map(|block| block.split(['\n', '|', ';', '&'])).map(|command| (command, false));
        let spans = spans(&text);
        let commands = commands.chain(spans.iter().map(|span| (span.as_str(), true)));
        for (command, may_be_unfinished) in commands {
            let Some(call) = our_call(command) else { continue };
            calls += 1;
            parse_call(&call, may_be_unfinished)
                .unwrap_or_else(|error| wrong.push(format!("{page}: {command}\n{error}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(calls > 20, "only {calls} calls were found: this test has gone blind");
}

#[test]
fn a_call_that_does_not_exist_would_be_noticed() {
    assert!(parse_call(&["portcullis", "cert", "trust", "unknown"], true).is_err());
    assert!(parse_call(&["portcullis", "serve", "--port", "443"], false).is_err());
    assert!(parse_call(&["portcullis", "user", "add|destroy", "NAME"], true).is_err());
    assert!(parse_call(&["portcullis", "user", "add"], false).is_err());
    assert_eq!(our_call("docker-compose logs portcullis"), None);
    assert_eq!(our_call("sudo -u portcullis portcullis check").unwrap(), ["portcullis", "check"]);
    assert_eq!(our_call("portcullis token 'create' > secret").unwrap(), ["portcullis", "token", "create"]);
}

#[test]
fn every_setting_that_is_named_exists() {
    let reference = read("docs/configuration.md");
    let exists =
        |key: &str| reference.contains(&format!("\n### `{key}`\n")) || reference.contains(&format!("[{key}]`\n"));
    let tables: BTreeSet<&str> =
        reference.lines().filter_map(|line| line.strip_prefix("### `")?.split('.').next()).collect();
    let is_key = |word: &str| {
        let parts: Vec<&str> = word.split('.').collect();
        let plain = |part: &&str| part.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        parts.len() > 1 && parts.iter().all(plain) && tables.contains(parts[0])
    };
    for page in pages() {
        for span in spans(&read(&page)) {
            let key = span.split(" = ").next().unwrap();
            assert!(!is_key(key) || exists(key), "{page}: there is no setting {key}");
        }
    }
}

#[test]
fn every_variable_that_is_named_exists() {
    let known = read("docs/configuration.md") + &read("docker-compose.yml");
    let is_part = |character: char| !(character.is_ascii_uppercase() || character == '_');
    let known: BTreeSet<&str> = known.split(is_part).collect();
    for page in pages() {
        for variable in read(&page).split(is_part).filter(|word| word.starts_with("PORTCULLIS_")) {
            assert!(known.contains(variable), "{page}: there is no variable {variable}");
        }
    }
}

#[test]
fn every_configuration_that_is_shown_is_valid() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("portcullis.toml");
    for page in pages() {
        for block in blocks(&read(&page), "toml") {
            fs::write(&file, &block).unwrap();
            let flags = Flags { config: Some(file.clone()), ..Flags::default() };
            if let Err(problems) = config::load(&flags, [], None) {
                panic!("{page}:\n{block}\n{problems}");
            }
        }
    }
}

#[test]
fn every_make_target_that_is_named_exists() {
    let makefile = read("Makefile");
    for page in pages() {
        let text = read(&page);
        let lines =
            blocks(&text, "sh").into_iter().flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>());
        for target in lines.chain(spans(&text)).filter_map(|line| Some(line.strip_prefix("make ")?.to_owned())) {
            assert!(makefile.contains(&format!("\n{target}:")), "{page}: there is no `make {target}`");
        }
    }
}

#[test]
fn every_link_leads_somewhere() {
    for page in pages() {
        let text = read(&page);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("https://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let file = if file.is_empty() { path(&page) } else { path(&page).parent().unwrap().join(file) };
            assert!(file.exists(), "{page}: there is no {link}");
            if !anchor.is_empty() {
                let target = fs::read_to_string(&file).unwrap();
                assert!(target.lines().any(|line| anchor_of(line).as_deref() == Some(anchor)), "{page}: no {link}");
            }
        }
    }
}

#[test]
fn every_page_of_the_documentation_is_in_its_index() {
    let index = read("docs/README.md");
    for file in files_of_docs().into_iter().filter(|file| file != "README.md") {
        assert!(index.contains(&format!("]({file})")), "docs/README.md has no link to {file}");
    }
}

/// The link anchor of a heading: lower case, hyphens for spaces, no punctuation.
fn anchor_of(line: &str) -> Option<String> {
    let heading = line.strip_prefix('#')?.trim_start_matches('#').strip_prefix(' ')?;
    let kept = |character: &char| character.is_alphanumeric() || matches!(character, ' ' | '-' | '_');
    Some(
        heading
            .to_lowercase()
            .chars()
            .filter(kept)
            .map(|character| if character == ' ' { '-' } else { character })
            .collect(),
    )
}
