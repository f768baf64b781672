//! Builds the graph of a crate: which file names an item that another file defines.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::source_reader::{CrateSources, SourceFile},
    modules::{self, Module, ModulePath, Reference, Use},
};

/// The longest chain of re-exports that is followed.
const MAX_REEXPORTS: usize = 16;

/// The files of a crate without its tests, and what they import from each other.
pub(super) struct ImportGraph {
    pub(super) files: Vec<ModuleFile>,
    pub(super) imports: BTreeSet<Import>,
}

/// A file that defines a module.
pub(super) struct ModuleFile {
    /// The path relative to `src`.
    pub(super) path: String,
    pub(super) module: ModulePath,
}

/// A place in a file that names an item of another file; ordered by file and line.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Import {
    /// The file that names the item, by its place in the list.
    pub(super) from: usize,
    pub(super) line: usize,
    pub(super) name: String,
    /// The file that defines the item.
    pub(super) to: usize,
}

/// Where a path leads.
enum Target {
    /// An item, which this file defines.
    Item(usize),
    Module(ModulePath),
    /// An item of another crate.
    OtherCrate,
}

impl ImportGraph {
    pub(super) fn new(sources: &CrateSources) -> Self {
        let mut graph = Self { files: Vec::new(), imports: BTreeSet::new() };
        let mut modules = BTreeMap::new();
        for source in sources.without_tests() {
            let module = module_path(source);
            modules::read(source.tokens(), graph.files.len(), module.clone(), &mut modules);
            graph.files.push(ModuleFile { path: source.path.clone(), module });
        }
        let crate_modules = CrateModules { modules };
        for (path, module) in &crate_modules.modules {
            graph.imports.extend(crate_modules.imports(path, module));
        }
        graph.imports.retain(|import| import.from != import.to);
        graph
    }
}

impl ModuleFile {
    /// The part of `parent` that the file is in: its own file by its path, or a child, with everything below it, by
    /// the name of its folder. `None` if the file is not in `parent`.
    pub(super) fn node_below(&self, parent: &[String]) -> Option<String> {
        match self.module.strip_prefix(parent)? {
            [] => Some(self.path.clone()),
            [child, ..] => Some([parent, std::slice::from_ref(child)].concat().join("/")),
        }
    }
}

/// The module that a file defines; `main.rs` is a root of its own, and gets a place that no module has.
fn module_path(source: &SourceFile) -> ModulePath {
    if source.path == "main.rs" { vec!["main".to_owned()] } else { source.module_path() }
}

/// All modules of the crate, for the resolution of paths.
struct CrateModules {
    modules: BTreeMap<ModulePath, Module>,
}

impl CrateModules {
    /// The items that a module names, those of its own file included.
    fn imports(&self, path: &ModulePath, module: &Module) -> Vec<Import> {
        let mut found = Vec::new();
        let mut add = |line: usize, words: &[String]| {
            if let Some(Target::Item(to)) = self.resolve(path, words, 0) {
                found.push(Import { from: module.file, line, name: words.last().cloned().unwrap_or_default(), to });
            }
        };
        let (reexports, private): (Vec<&Use>, Vec<&Use>) = module.uses.iter().partition(|import| import.is_reexport);
        let has_glob = private.iter().any(|import| import.name == "*");
        for import in private {
            add(import.line, &import.path);
        }
        for Reference { line, path } in &module.references {
            // A single word was counted with its `use`, or is defined here, unless a re-export or `*` brings it in.
            let brings = |import: &&Use| import.name == path[0] || import.name == "*";
            if path.len() > 1 || reexports.iter().any(brings) || has_glob {
                add(*line, path);
            }
        }
        found
    }

    /// Where a path in the code of `module` leads; `None` if its first word is neither in the module nor a keyword.
    fn resolve(&self, module: &ModulePath, path: &[String], reexports: usize) -> Option<Target> {
        let mut place = module.clone();
        for (index, word) in path.iter().enumerate() {
            let is_last = index + 1 == path.len();
            match word.as_str() {
                "crate" | "portcullis" if index == 0 => place = Vec::new(),
                "self" if index == 0 => {}
                "super" => {
                    place.pop()?;
                }
                name => match self.look_up(&place, name, is_last, reexports) {
                    Some(Target::Module(next)) => place = next,
                    Some(found) => return Some(found),
                    None if index == 0 => return None,
                    // No tokens of this name, so a macro of the module defines it.
                    None => return self.modules.get(&place).map(|module| Target::Item(module.file)),
                },
            }
        }
        Some(Target::Module(place))
    }

    /// What a name means in a module. If a module and a function share it, the last word of a path is the function.
    fn look_up(&self, place: &ModulePath, name: &str, is_last: bool, reexports: usize) -> Option<Target> {
        let module = self.modules.get(place)?;
        let is_child = module.children.contains(name);
        let child = || is_child.then(|| Target::Module([place.as_slice(), &[name.to_owned()]].concat()));
        if is_child && !is_last {
            return child();
        }
        if module.items.contains(name) {
            return Some(Target::Item(module.file));
        }
        if reexports == MAX_REEXPORTS {
            return child();
        }
        let resolve = |import: &Use| self.resolve(place, &import.path, reexports + 1);
        if let Some(import) = module.uses.iter().find(|import| import.name == name) {
            // `use digest::digest` beside `mod digest;` does not lead back to itself, but `pub use axum;` does.
            return resolve(import).or(child()).or(Some(Target::OtherCrate));
        }
        child().or_else(|| {
            let globs = module.uses.iter().filter(|import| import.name == "*");
            let inside = globs.filter_map(resolve).filter_map(|target| match target {
                Target::Module(inner) if inner != *place => self.look_up(&inner, name, is_last, reexports + 1),
                Target::Module(_) | Target::Item(_) | Target::OtherCrate => None,
            });
            inside.into_iter().next()
        })
    }
}
