//! Reads the modules of a crate: which names each one declares, and which paths its code contains.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, TokenTree};

use super::super::tokens::{followed_by_colons, is_ident, test_item, token_trees};

/// The place of a module below the root of its crate.
pub(super) type ModulePath = Vec<String>;

/// The words after which an item's name follows.
const ITEM_KEYWORDS: [&str; 8] = ["struct", "enum", "union", "trait", "type", "fn", "const", "static"];

/// One module, which is a file or an inline `mod name { … }` of one.
#[derive(Default)]
pub(super) struct Module {
    /// The file's place in the list of sources.
    pub(super) file: usize,
    /// The names of the items that it defines itself.
    pub(super) items: BTreeSet<String>,
    /// The names of the modules that it declares.
    pub(super) children: BTreeSet<String>,
    pub(super) uses: Vec<Use>,
    /// The paths in its code, of one word or more, outside `use`.
    pub(super) references: Vec<Reference>,
}

/// One name that a `use` brings into a module.
pub(super) struct Use {
    pub(super) line: usize,
    pub(super) path: Vec<String>,
    /// The name in the module: the last word of the path, or the one after `as`; `*` for all names.
    pub(super) name: String,
    /// Whether it is visible outside the module (`pub use`, `pub(crate) use`).
    pub(super) is_reexport: bool,
}

/// A path in the code of a module.
pub(super) struct Reference {
    pub(super) line: usize,
    pub(super) path: Vec<String>,
}

/// Adds the module at `path`, and its inline modules; tests are left out.
pub(super) fn read(tokens: &[TokenTree], file: usize, path: ModulePath, modules: &mut BTreeMap<ModulePath, Module>) {
    let mut module = Module { file, ..Module::default() };
    read_code(tokens, true, &mut module, &path, modules);
    modules.insert(path, module);
}

/// Reads tokens of a module; `is_top_level` outside every body, where the module's own items are.
fn read_code(
    tokens: &[TokenTree],
    is_top_level: bool,
    module: &mut Module,
    path: &ModulePath,
    modules: &mut BTreeMap<ModulePath, Module>,
) {
    let mut index = 0;
    while index < tokens.len() {
        let rest = &tokens[index..];
        if let Some(item) = test_item(rest) {
            index += item.len();
        } else if let [keyword, name, body, ..] = rest
            && is_ident(keyword, "mod")
            && is_top_level
        {
            module.children.insert(name.to_string());
            if let TokenTree::Group(body) = body {
                let inner = path.iter().cloned().chain([name.to_string()]).collect();
                read(&token_trees(body.stream()), module.file, inner, modules);
            }
            index += 3;
        } else if is_ident(&rest[0], "use") && !matches!(rest.get(1), Some(token) if is_ident(token, "<")) {
            let end = rest.iter().position(|token| is_ident(token, ";")).unwrap_or(rest.len());
            let is_reexport = is_visible(&tokens[..index]);
            read_use(&rest[1..end], &[], is_reexport, &mut module.uses);
            index += end;
        } else {
            if is_top_level {
                module.items.extend(item_name(rest));
            }
            if let TokenTree::Group(group) = &rest[0] {
                read_code(&token_trees(group.stream()), false, module, path, modules);
                index += 1;
            } else {
                index += read_reference(tokens, index, module);
            }
        }
    }
}

/// Whether the tokens before an item end with `pub` or `pub(…)`.
fn is_visible(before: &[TokenTree]) -> bool {
    match before {
        [.., keyword] if is_ident(keyword, "pub") => true,
        [.., keyword, TokenTree::Group(group)] => {
            is_ident(keyword, "pub") && group.delimiter() == Delimiter::Parenthesis
        }
        _ => false,
    }
}

/// The name of the item that begins here.
fn item_name(tokens: &[TokenTree]) -> Option<String> {
    match tokens {
        [macro_rules, mark, name, ..] if is_ident(macro_rules, "macro_rules") && is_ident(mark, "!") => {
            Some(name.to_string())
        }
        [keyword, TokenTree::Ident(name), ..] if ITEM_KEYWORDS.iter().any(|word| is_ident(keyword, word)) => {
            Some(name.to_string())
        }
        _ => None,
    }
}

/// Follows one `use` into all branches of its braces; `base` is the path so far.
fn read_use(tokens: &[TokenTree], base: &[String], is_reexport: bool, found: &mut Vec<Use>) {
    let [token, rest @ ..] = tokens else { return };
    if let TokenTree::Group(group) = token {
        for branch in token_trees(group.stream()).split(|token| is_ident(token, ",")) {
            read_use(branch, base, is_reexport, found);
        }
        return;
    }
    let is_itself = is_ident(token, "self") && !base.is_empty();
    let word = (!is_itself && !is_ident(token, "*")).then(|| token.to_string());
    let path: Vec<String> = base.iter().cloned().chain(word).collect();
    if followed_by_colons(rest) {
        return read_use(&rest[2..], &path, is_reexport, found);
    }
    let name = match rest {
        [keyword, alias, ..] if is_ident(keyword, "as") => alias.to_string(),
        _ if is_ident(token, "*") => "*".to_owned(),
        _ => path.last().cloned().unwrap_or_default(),
    };
    found.push(Use { line: token.span().start().line, path, name, is_reexport });
}

/// Adds the path that begins at `index`, if one does, and returns the number of tokens that were read.
fn read_reference(tokens: &[TokenTree], index: usize, module: &mut Module) -> usize {
    let TokenTree::Ident(first) = &tokens[index] else { return 1 };
    let before = index.checked_sub(1).map(|before| &tokens[before]);
    // The rest of a path (`<A>::b`), a field or a method, or the name of a method's definition.
    let continues = matches!(&tokens[..index], [.., first, second] if is_ident(first, ":") && is_ident(second, ":"));
    let is_member = before.is_some_and(|before| is_ident(before, ".") || is_ident(before, "fn"));
    let mut path = vec![first.to_string()];
    let mut end = index + 1;
    while followed_by_colons(&tokens[end..])
        && let TokenTree::Ident(next) = &tokens[end + 2]
    {
        path.push(next.to_string());
        end += 3;
    }
    if !continues && !is_member {
        module.references.push(Reference { line: first.span().start().line, path });
    }
    end - index
}
