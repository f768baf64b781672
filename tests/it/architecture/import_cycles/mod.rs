//! Checks that the files of a crate import from each other in one direction only.
//!
//! A file imports from the file that **defines** the item that it names: `use crate::Users` is an import from
//! `users/mod.rs`, not from the `lib.rs` that re-exports it. `mod child;` and `pub use child::Item;` are no imports.
//!
//! The rule: between the own file of a module and its children, each taken with everything below it, the imports have
//! no cycle. So two files never need each other, nor do two folders; and a child uses what its parent's file defines
//! only if the code of the parent does without that child. Every folder can be read, and moved, with only what is below
//! it in the order of imports.
//!
//! Tests are left out, and what only tests of other crates use (the feature `testing`). A call of a method names no
//! file: that the methods of one type are spread over files is no import of one from another.

mod graph;
mod modules;
mod violations;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::{crates, read, source_reader::CrateSources};
use graph::{Import, ImportGraph};

#[test]
fn no_two_files_of_a_crate_need_each_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = crates().into_iter().map(|name| format!("crates/{name}/src")).chain(["src".to_owned()]);
    let found: Vec<String> = folders
        .flat_map(|folder| {
            let sources = CrateSources::new(read(&root.join(&folder)));
            cycles(&sources).into_iter().map(move |cycle| format!("{folder}: {cycle}"))
        })
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The cycles in each module of a crate, each as a text.
fn cycles(sources: &CrateSources) -> Vec<String> {
    let graph = ImportGraph::new(sources);
    let parents: BTreeSet<&[String]> =
        graph.files.iter().flat_map(|file| (0..=file.module.len()).map(|length| &file.module[..length])).collect();
    let of_parent = |parent: &[String]| cycles_between(&graph, |file| graph.files[file].node_below(parent));
    parents.into_iter().flat_map(of_parent).collect()
}

/// The cycles of a graph whose nodes are files or groups of files; a file without a node is left out.
fn cycles_between(graph: &ImportGraph, node: impl Fn(usize) -> Option<String>) -> Vec<String> {
    let mut first_imports: BTreeMap<(String, String), &Import> = BTreeMap::new();
    for import in &graph.imports {
        if let (Some(from), Some(to)) = (node(import.from), node(import.to))
            && from != to
        {
            first_imports.entry((from, to)).or_insert(import);
        }
    }
    let edges: BTreeSet<&(String, String)> = first_imports.keys().collect();
    strongly_connected(&edges)
        .into_iter()
        .map(|nodes| {
            let inside = first_imports.iter().filter(|((from, to), _)| nodes.contains(from) && nodes.contains(to));
            let imports = inside.map(|(_, Import { from, line, name, to })| {
                format!("\n    {}:{line} names {name} of {}", graph.files[*from].path, graph.files[*to].path)
            });
            let nodes: Vec<&str> = nodes.iter().map(|node| node.as_str()).collect();
            format!("{} need each other:{}", nodes.join(", "), imports.collect::<String>())
        })
        .collect()
}

/// The largest groups of two nodes or more in which each reaches all others.
fn strongly_connected<'a>(edges: &BTreeSet<&'a (String, String)>) -> BTreeSet<BTreeSet<&'a String>> {
    let nodes: BTreeSet<&String> = edges.iter().flat_map(|(from, to)| [from, to]).collect();
    let reached: BTreeMap<&String, BTreeSet<&String>> =
        nodes.into_iter().map(|node| (node, reachable(node, edges))).collect();
    let groups = reached
        .iter()
        .filter(|(node, targets)| targets.contains(*node))
        .map(|(node, targets)| targets.iter().copied().filter(|target| reached[target].contains(node)).collect());
    groups.collect()
}

/// The nodes that paths of one edge or more lead to.
fn reachable<'a>(start: &'a String, edges: &BTreeSet<&'a (String, String)>) -> BTreeSet<&'a String> {
    let mut found = BTreeSet::new();
    let mut open = vec![start];
    while let Some(node) = open.pop() {
        let targets = edges.iter().filter(|(from, _)| from == node).map(|(_, to)| to);
        open.extend(targets.filter(|target| found.insert(*target)));
    }
    found
}
