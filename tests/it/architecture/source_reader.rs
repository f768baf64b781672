//! Reads a crate's sources as tokens: which paths lead out of a module, which libraries it names, where it unwraps.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::tokens::{followed_by_colons, is_ident, test_item, token_trees};

/// One source file.
pub(super) struct SourceFile {
    /// Its path relative to `src`.
    pub(super) path: String,
    text: String,
    tokens: Vec<TokenTree>,
}

/// All source files of the crate, and which of them are tests.
pub(super) struct CrateSources {
    sources: Vec<SourceFile>,
    /// Module paths of files that only `#[cfg(test)] mod …;` declares.
    tests: BTreeSet<Vec<String>>,
}

/// A path within the crate.
pub(super) struct Import {
    pub(super) line: usize,
    /// The module of `lib.rs` that it leads to; `None` is the root itself, with everything in it.
    pub(super) target: Option<String>,
}

/// A word that names a library, with its line.
pub(super) struct LibraryUse {
    pub(super) line: usize,
    pub(super) name: String,
}

impl SourceFile {
    pub(super) fn new(path: &str, text: String) -> Self {
        let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{path}: {error}"));
        Self { path: path.to_owned(), text, tokens: tokens.into_iter().collect() }
    }

    /// The module of `lib.rs` that the file belongs to.
    pub(super) fn module(&self) -> &str {
        self.path.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// Whether the file begins with `//!`.
    pub(super) fn has_module_head(&self) -> bool {
        self.text.starts_with("//!")
    }

    /// The paths that begin with `crate`, `super` or `self`.
    pub(super) fn imports(&self) -> Vec<Import> {
        let mut found = Vec::new();
        paths(&self.tokens, &self.module_path(), &mut found);
        found
    }

    pub(super) fn tokens(&self) -> &[TokenTree] {
        &self.tokens
    }

    /// The module path that `super` and `self` are resolved against.
    pub(super) fn module_path(&self) -> Vec<String> {
        let mut path: Vec<String> = self.path.trim_end_matches(".rs").split('/').map(ToOwned::to_owned).collect();
        if path.last().is_some_and(|last| last == "mod") || path == ["lib"] || path == ["main"] {
            path.pop();
        }
        path
    }
}

impl CrateSources {
    pub(super) fn new(sources: Vec<SourceFile>) -> Self {
        let tests = sources.iter().flat_map(test_files).collect();
        Self { sources, tests }
    }

    pub(super) fn all(&self) -> &[SourceFile] {
        &self.sources
    }

    /// The files that are not compiled for tests only.
    pub(super) fn without_tests(&self) -> impl Iterator<Item = &SourceFile> {
        self.sources.iter().filter(|source| !self.is_test(source))
    }

    /// The modules that `lib.rs` declares.
    pub(super) fn modules(&self) -> BTreeSet<String> {
        let root = self.sources.iter().find(|source| source.path == "lib.rs");
        let tokens = root.map(|root| root.tokens.as_slice()).unwrap_or_default();
        let pairs = tokens.windows(2).filter(|pair| is_ident(&pair[0], "mod"));
        pairs.map(|pair| pair[1].to_string()).collect()
    }

    /// The libraries that a file names, outside tests.
    pub(super) fn libraries(&self, source: &SourceFile) -> Vec<LibraryUse> {
        let mut found = Vec::new();
        if !self.is_test(source) {
            libraries(&source.tokens, &mut found);
        }
        found
    }

    /// The lines in which a file unwraps, outside tests.
    pub(super) fn unwraps(&self, source: &SourceFile) -> Vec<usize> {
        let mut found = Vec::new();
        if !self.is_test(source) {
            unwraps(&source.tokens, &mut found);
        }
        found
    }

    fn is_test(&self, source: &SourceFile) -> bool {
        let path = source.module_path();
        self.tests.iter().any(|test| path.starts_with(test))
    }
}

/// The files that this one declares for tests only.
fn test_files(source: &SourceFile) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut rest = source.tokens.as_slice();
    while !rest.is_empty() {
        if let Some(item) = test_item(rest) {
            if let Some(place) = item.iter().position(|token| is_ident(token, "mod")) {
                let mut path = source.module_path();
                path.push(item[place + 1].to_string());
                found.push(path);
            }
            rest = &rest[item.len()..];
        } else {
            rest = &rest[1..];
        }
    }
    found
}

/// Collects the paths that begin with `crate`, `super` or `self`, at any depth of nesting.
fn paths(tokens: &[TokenTree], module: &[String], found: &mut Vec<Import>) {
    let mut index = 0;
    while index < tokens.len() {
        if let [keyword, name, TokenTree::Group(body), ..] = &tokens[index..]
            && is_ident(keyword, "mod")
            && body.delimiter() == Delimiter::Brace
        {
            let inner: Vec<String> = module.iter().cloned().chain([name.to_string()]).collect();
            paths(&token_trees(body.stream()), &inner, found);
            index += 3;
            continue;
        }
        let token = &tokens[index];
        let begins = ["crate", "super", "self", "portcullis"].iter().any(|word| is_ident(token, word));
        let is_first = index == 0 || !is_ident(&tokens[index - 1], ":");
        if begins && is_first && followed_by_colons(&tokens[index + 1..]) {
            follow(&tokens[index..], module, found);
        }
        if let TokenTree::Group(group) = token {
            paths(&token_trees(group.stream()), module, found);
        }
        index += 1;
    }
}

/// Follows one path into all branches of its braces; `base` is the module that the path has reached.
fn follow(tokens: &[TokenTree], base: &[String], found: &mut Vec<Import>) {
    let [token, rest @ ..] = tokens else { return };
    if let TokenTree::Group(group) = token {
        for branch in token_trees(group.stream()).split(|token| is_ident(token, ",")) {
            follow(branch, base, found);
        }
        return;
    }
    let next: Vec<String> = match token.to_string().as_str() {
        "crate" | "portcullis" => Vec::new(),
        "self" => base.to_vec(),
        "super" => base[..base.len().saturating_sub(1)].to_vec(),
        name => base.iter().cloned().chain([name.to_owned()]).collect(),
    };
    if followed_by_colons(rest) {
        return follow(&rest[2..], &next, found);
    }
    // The crate root itself, or everything in it.
    let target = next.first().filter(|first| *first != "*").cloned();
    found.push(Import { line: token.span().start().line, target });
}

/// Collects the words that begin a path or follow `use` on their own.
fn libraries(tokens: &[TokenTree], found: &mut Vec<LibraryUse>) {
    let mut index = 0;
    while index < tokens.len() {
        if let Some(item) = test_item(&tokens[index..]) {
            index += item.len();
            continue;
        }
        match &tokens[index] {
            TokenTree::Ident(name) => {
                let is_first = index == 0 || !is_ident(&tokens[index - 1], ":") || is_absolute(&tokens[..index]);
                let is_used =
                    index > 0 && (is_ident(&tokens[index - 1], "use") || is_ident(&tokens[index - 1], "crate"));
                if is_first && (is_used || followed_by_colons(&tokens[index + 1..])) {
                    found.push(LibraryUse { line: name.span().start().line, name: name.to_string() });
                }
            }
            TokenTree::Group(group) => libraries(&token_trees(group.stream()), found),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
        index += 1;
    }
}

/// Whether the tokens before a word end with a leading `::`, as in `::tokio`.
fn is_absolute(before: &[TokenTree]) -> bool {
    let [owners @ .., first, second] = before else { return false };
    let is_owned = match owners {
        [.., arrow, end] if is_ident(end, ">") => !is_ident(arrow, "-"),
        [.., TokenTree::Ident(word)] => word != "use" && word != "as",
        _ => false,
    };
    is_ident(first, ":") && is_ident(second, ":") && !is_owned
}

/// Collects the lines of `.unwrap()`.
fn unwraps(tokens: &[TokenTree], found: &mut Vec<usize>) {
    let mut index = 0;
    while index < tokens.len() {
        if let Some(item) = test_item(&tokens[index..]) {
            index += item.len();
            continue;
        }
        if let [dot, name, TokenTree::Group(arguments), ..] = &tokens[index..]
            && is_ident(dot, ".")
            && is_ident(name, "unwrap")
            && arguments.stream().is_empty()
        {
            found.push(name.span().start().line);
        }
        if let TokenTree::Group(group) = &tokens[index] {
            unwraps(&token_trees(group.stream()), found);
        }
        index += 1;
    }
}
