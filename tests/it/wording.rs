//! Checks comments, messages and documents: no ruled-out words, no comment wider than 120 columns, no Rustdoc of one
//! word.
//!
//! A ruled-out word hides the actor of a sentence ("somebody", "whoever") or personifies a program. In Rust files, the
//! check reads comments and string literals; in documents, it reads the text outside of code.

use std::fs;
use std::path::{Path, PathBuf};

/// The words that must not occur, in lower case.
const RULED_OUT: &[&str] = &[
    "somebody",
    "nobody",
    "anybody",
    "everybody",
    "whoever",
    "whomever",
    "whom",
    "told",
    "tells",
    "stands",
    "stood",
    "likewise",
    "harbour",
    "stranger",
    "strangers",
    "believe",
    "believed",
];

/// The pairs of words that must not occur, in lower case.
const RULED_OUT_PAIRS: &[(&str, &str)] = &[("good", "for"), ("for", "ever")];

/// The maximum width of a comment, in characters.
const MAX_COLUMNS: usize = 120;

const FOLDERS: &[&str] = &["src", "crates", "tests", "benches", "docs", "certs", "scripts"];

const FILES: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "portcullis.example.toml",
    "Makefile",
    "Dockerfile",
    "docker-compose.yml",
];

/// Files that are not ours to word: expected outputs have sources that are checked, and recorded inputs come from
/// other programs. This file lists the words.
const EXCEPTIONS: &[&str] = &["tests/golden/", "tests/oidc/", "tests/it/wording.rs"];

#[test]
fn comments_messages_and_documents_use_plain_words() {
    let found: Vec<String> = files().iter().flat_map(|path| findings(path, &read(path))).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_ruled_out_word_is_found_in_comments_literals_and_documents() {
    for (path, text) in [
        ("a.rs", "// Nobody waits."),
        ("a.rs", "/* a\n harbour */"),
        ("a.rs", "//! This is good\n//! for uploads."),
        ("a.rs", "const A: &str = \"as it stands\";"),
        ("a.rs", "const A: &str = r#\"whoever \"x\"\"#;"),
        ("a.md", "Whoever reads this."),
        ("a.toml", "# told by the proxy"),
    ] {
        assert_eq!(findings(path, text).len(), 1, "{path}: {text}");
    }
}

#[test]
fn code_and_quoted_names_are_not_words() {
    for (path, text) in [
        ("a.rs", "fn nobody_may() { let told = '\"'; nobody() }"),
        ("a.rs", "fn f<'a>(whoever: &'a str) {} // `nobody` is a user of Linux"),
        ("a.md", "The user `nobody`.\n\n```sh\nsu nobody\n```\n"),
        ("a.rs", "// A bystander and a harbourage."),
    ] {
        assert_eq!(findings(path, text), [""; 0], "{path}: {text}");
    }
}

#[test]
fn a_wide_comment_and_a_rustdoc_of_one_word_are_found() {
    let wide = format!("// {}", "x".repeat(MAX_COLUMNS - 2));
    assert_eq!(findings("a.rs", &wide), ["a.rs:1: the comment has 121 columns, 120 are allowed"]);
    assert_eq!(findings("a.rs", &wide[..MAX_COLUMNS]), [""; 0]);
    let single = "/// Where.\nfn f() {}\n\n/// The last word is on a line of its\n/// own.\nfn g() {}";
    assert_eq!(findings("a.rs", single), ["a.rs:1: Rustdoc of one word: Where."]);
}

fn files() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = FOLDERS.iter().map(PathBuf::from).collect();
    let mut files: Vec<PathBuf> = FILES.iter().map(PathBuf::from).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            let is_exception = |exception: &&str| format!("{}/", path.display()).starts_with(*exception);
            if EXCEPTIONS.iter().any(|exception| is_exception(exception) || path == Path::new(exception)) {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if is_text(&path) {
                files.push(path);
            }
        }
    }
    assert!(files.len() > 500, "the files should be found");
    files
}

fn is_text(path: &Path) -> bool {
    path.extension()
        .is_none_or(|extension| ["rs", "md", "toml", "sh", "yml", "txt"].iter().any(|text| extension == *text))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All findings in a file, one line each.
fn findings(path: impl AsRef<Path>, text: &str) -> Vec<String> {
    let path = path.as_ref();
    let is_rust = path.extension().is_some_and(|extension| extension == "rs");
    let passages = if is_rust { rust_passages(text) } else { document_passages(text) };
    let mut found = words(&passages);
    if is_rust {
        found.extend(wide_comments(text, &passages));
        found.extend(single_words(text));
    }
    found.into_iter().map(|(line, finding)| format!("{}:{line}: {finding}", path.display())).collect()
}

/// A piece of text to check, and the number of its first line.
struct Passage {
    line: usize,
    is_comment: bool,
    text: String,
}

fn words(passages: &[Passage]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for passage in passages {
        let mut previous = String::new();
        for (index, line) in without_code(&passage.text).lines().enumerate() {
            for word in line.split(|character: char| !character.is_alphanumeric() && character != '_') {
                if word.is_empty() {
                    continue;
                }
                let word = word.to_lowercase();
                let pair = RULED_OUT_PAIRS.iter().find(|(first, second)| *first == previous && *second == word);
                if RULED_OUT.contains(&word.as_str()) {
                    found.push((passage.line + index, format!("ruled-out word: {word}")));
                } else if let Some((first, second)) = pair {
                    found.push((passage.line + index, format!("ruled-out words: {first} {second}")));
                }
                previous = word;
            }
        }
    }
    found
}

/// The text with everything between backticks removed, and the line breaks kept.
fn without_code(text: &str) -> String {
    let mut is_code = false;
    text.chars()
        .filter(|character| {
            is_code ^= *character == '`';
            *character == '\n' || !is_code && *character != '`'
        })
        .collect()
}

fn wide_comments(text: &str, passages: &[Passage]) -> Vec<(usize, String)> {
    let lines: Vec<&str> = text.lines().collect();
    let commented = passages.iter().filter(|passage| passage.is_comment);
    let numbers = commented.flat_map(|passage| passage.line..passage.line + passage.text.lines().count().max(1));
    let widths = numbers.map(|number| (number, lines[number - 1].chars().count()));
    let wide = widths.filter(|(_, columns)| *columns > MAX_COLUMNS);
    wide.map(|(number, columns)| (number, format!("the comment has {columns} columns, {MAX_COLUMNS} are allowed")))
        .collect()
}

fn single_words(text: &str) -> Vec<(usize, String)> {
    let docs: Vec<Option<&str>> = text.lines().map(|line| line.trim().strip_prefix("///").map(str::trim)).collect();
    let is_alone = |index: usize| {
        let neighbour = |other: Option<usize>| other.and_then(|other| docs.get(other).copied().flatten()).is_some();
        !neighbour(index.checked_sub(1)) && !neighbour(Some(index + 1))
    };
    let alone =
        docs.iter().enumerate().filter_map(|(index, doc)| doc.filter(|_| is_alone(index)).map(|doc| (index, doc)));
    let single = alone.filter(|(_, doc)| !doc.is_empty() && !doc.contains(char::is_whitespace));
    single.map(|(index, doc)| (index + 1, format!("Rustdoc of one word: {doc}"))).collect()
}

/// The paragraphs of a document outside of code blocks.
fn document_passages(text: &str) -> Vec<Passage> {
    let mut is_code = false;
    let kept = text.lines().map(|line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        if is_code || is_fence { "" } else { line }
    });
    let text = kept.collect::<Vec<_>>().join("\n");
    vec![Passage { line: 1, is_comment: false, text }]
}

/// The comments and string literals of a Rust file. Line comments that follow each other are one passage.
fn rust_passages(text: &str) -> Vec<Passage> {
    let mut lexer = Lexer { rest: text, line: 1, passages: Vec::new() };
    while !lexer.rest.is_empty() {
        lexer.step();
    }
    lexer.passages
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    passages: Vec<Passage>,
}

impl Lexer<'_> {
    fn step(&mut self) {
        if self.rest.starts_with("//") {
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            self.comment_line(end);
        } else if self.rest.starts_with("/*") {
            let end = self.rest.find("*/").map_or(self.rest.len(), |end| end + 2);
            self.passage(end, true);
        } else if let Some(length) = raw_string(self.rest).or_else(|| string(self.rest)) {
            self.passage(length, false);
        } else {
            self.skip(character(self.rest).or_else(|| word(self.rest)).unwrap_or(1));
        }
    }

    fn comment_line(&mut self, end: usize) {
        let text = self.rest[..end].trim_start_matches(['/', '!']).to_owned();
        match self.passages.last_mut() {
            Some(last) if last.is_comment && last.line + last.text.lines().count() == self.line => {
                last.text.push('\n');
                last.text.push_str(&text);
            }
            Some(_) | None => self.passages.push(Passage { line: self.line, is_comment: true, text }),
        }
        self.skip(end);
    }

    fn passage(&mut self, end: usize, is_comment: bool) {
        self.passages.push(Passage { line: self.line, is_comment, text: self.rest[..end].to_owned() });
        self.skip(end);
    }

    fn skip(&mut self, mut length: usize) {
        while !self.rest.is_char_boundary(length) {
            length += 1;
        }
        self.line += self.rest[..length].matches('\n').count();
        self.rest = &self.rest[length..];
    }
}

/// The length of the raw string literal at the beginning of `text`.
fn raw_string(text: &str) -> Option<usize> {
    let hashes = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let count = hashes.chars().take_while(|character| *character == '#').count();
    hashes[count..].strip_prefix('"')?;
    let begin = text.len() - hashes.len() + count + 1;
    let end = format!("\"{}", "#".repeat(count));
    text[begin..].find(&end).map(|length| begin + length + end.len())
}

/// The length of the string literal at the beginning of `text`.
fn string(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.strip_prefix('"')?.char_indices().find_map(|(index, character)| {
        let is_end = character == '"' && !escaped;
        escaped = character == '\\' && !escaped;
        is_end.then_some(index + 2)
    })
}

/// The length of the character literal at the beginning of `text`; a lifetime is none.
fn character(text: &str) -> Option<usize> {
    let content = text.strip_prefix('\'')?;
    let end = if content.starts_with('\\') { 2 + content[2..].find('\'')? } else { content.chars().next()?.len_utf8() };
    content[end..].starts_with('\'').then_some(end + 2)
}

/// The length of the identifier at the beginning of `text`, so that `r` in `for"` does not begin a raw string.
fn word(text: &str) -> Option<usize> {
    let length = text.find(|character: char| !character.is_alphanumeric() && character != '_').unwrap_or(text.len());
    (length > 0).then_some(length)
}
