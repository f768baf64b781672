//! Checks the walls that Cargo cannot: what the program's own modules import, which crate may be added to which, and
//! a few rules for every source file.
//!
//! Between the crates of the workspace the compiler keeps the order: a manifest that names a crate from above makes a
//! cycle. [`CRATES`] keeps a manifest from naming more than the design says. Inside the program ([`MODULES`]) nothing
//! but this test does. Inside each crate, [`import_cycles`] keeps the files in an order.
//!
//! Invariant: each row of both tables names only rows before it.
//!
//! The sources are read as tokens, not as lines: a path is found in nested braces, in macros, behind `super::super` and
//! wherever else the compiler finds it, and not in comments and string literals. Tests inside `src` follow the table
//! too; they may use any library and `unwrap()`.

mod import_cycles;
mod source_reader;
mod tokens;
mod violations;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use source_reader::{CrateSources, Import, LibraryUse, SourceFile};

/// Each crate below `crates/` with those of ours that it may depend on.
const CRATES: &[(&str, &[&str])] = &[
    // vocabulary
    ("oci", &[]),
    ("net", &[]),
    ("text", &[]),
    // The time, which `main` hands in.
    ("clock", &[]),
    // mechanisms
    ("access", &["oci"]),
    ("atomic-file", &[]),
    ("file-watch", &[]),
    ("storage", &["clock"]),
    ("tls", &["text", "atomic-file"]),
    ("http-client", &["text"]),
    ("object-storage", &["clock", "http-client", "storage"]),
    // engines
    ("registry", &["oci", "text", "clock", "access", "storage"]),
    ("auth", &["oci", "net", "text", "clock", "access", "atomic-file", "file-watch", "storage", "tls", "http-client"]),
    // process
    ("telemetry", &["clock", "access"]),
    ("server", &["net", "tls"]),
    ("acme", &["text", "clock", "access", "tls", "http-client"]),
    // The types of every crate's own `Config`.
    ("config", &["net", "text", "access", "storage", "tls", "http-client", "registry", "auth", "telemetry", "server"]),
    // Reads the configurations of other programs; writes text that `config` reads (its tests try that).
    ("migrate", &["text", "access", "tls", "auth"]),
    // A registry client; not part of the server.
    ("selftest", &["oci", "text", "tls", "http-client", "auth"]),
    // Prints a note after the tests.
    ("workspace-checks", &[]),
];

/// Each module of the program with the modules and crates that it may import; the crates have the names that
/// `src/lib.rs` gives them.
const MODULES: &[(&str, &[&str])] = &[
    ("api", &["oci", "text", "clock", "access", "audit", "registry", "auth"]),
    ("reload", &["clock", "access", "audit", "file_watch", "tls", "auth", "api", "config"]),
    // The socket on which commands make requests to the running server: both ends of it.
    ("admin_socket", &["oci", "clock", "access", "audit", "storage", "registry", "auth", "reload"]),
    (
        "app",
        &[
            "clock",
            "access",
            "audit",
            "storage",
            "tls",
            "http_client",
            "registry",
            "auth",
            "api",
            "server",
            "config",
            "acme",
            "reload",
            "admin_socket",
        ],
    ),
    (
        "cli",
        &[
            "oci",
            "clock",
            "text",
            "access",
            "audit",
            "storage",
            "tls",
            "registry",
            "auth",
            "telemetry",
            "server",
            "config",
            "migrate",
            "selftest",
            "admin_socket",
            "app",
        ],
    ),
    // `main.rs`
    ("main", &["clock", "cli"]),
];

/// Libraries that only some modules of the program may use; for the crates, their manifests say it.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("axum", &["api"]),
    ("http", &["api", "app"]),
    ("http_body", &["api"]),
    ("http_body_util", &["api"]),
    ("hyper", &["app"]),
    ("hyper_util", &["app"]),
    ("tower", &["api", "app"]),
    ("tower_http", &["api"]),
    ("clap", &["cli", "main"]),
    ("tokio", &["api", "reload", "admin_socket", "app", "cli"]),
    ("socket2", &["admin_socket"]),
];

/// What the vocabulary and the decisions must not depend on: they do no I/O.
const INPUT_AND_OUTPUT: &[&str] = &["tokio", "http", "hyper", "axum", "rustix"];

/// Files in which a thread may sleep, between two attempts. Everywhere else a test that has to wait does so for an
/// event, or moves a clock.
const SLEEPERS: &[&str] = &[
    "crates/auth/src/secret_files/locked_replace.rs",
    "crates/auth/src/secret_files/stable_read.rs",
    "crates/server/src/tests/frozen_time.rs",
    "src/cli/data_dir.rs",
    "tests/it/support/mod.rs",
];

#[test]
fn the_program_and_its_crates_keep_to_the_tables() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = read(&root.join("src"));
    assert!(program.len() > 50, "the sources should be found");
    let program = CrateSources::new(program);
    let mut found = violations(&program);
    found.extend(walls(&program));
    for name in crates() {
        let sources = read(&root.join("crates").join(&name).join("src"));
        let of_crate = violations(&CrateSources::new(sources));
        found.extend(of_crate.into_iter().map(|violation| format!("crates/{name}: {violation}")));
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn crates_depend_on_what_the_table_names_and_on_no_more() {
    let listed: BTreeSet<String> = CRATES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(crates().into_iter().collect::<BTreeSet<_>>(), listed);
    for (name, allowed) in CRATES {
        let dependencies = dependencies(name);
        let ours = dependencies.iter().filter_map(|dependency| dependency.strip_prefix("portcullis-"));
        assert_eq!(ours.collect::<BTreeSet<_>>(), allowed.iter().copied().collect(), "{name}");
    }
}

#[test]
fn vocabulary_and_decisions_do_no_input_or_output() {
    for name in ["oci", "net", "text", "access"] {
        let dependencies = dependencies(name);
        assert!(INPUT_AND_OUTPUT.iter().all(|library| !dependencies.contains(*library)), "{name}: {dependencies:?}");
    }
}

#[test]
fn the_tables_have_no_way_up_and_so_no_cycle() {
    let crates: Vec<(&str, &[&str])> = CRATES.to_vec();
    for (index, (name, allowed)) in crates.iter().enumerate() {
        let above: Vec<&str> = crates[..index].iter().map(|(name, _)| *name).collect();
        assert!(allowed.iter().all(|import| above.contains(import)), "{name}: {allowed:?}");
    }
    for (index, (module, allowed)) in MODULES.iter().enumerate() {
        let below = MODULES[index..].iter().map(|(module, _)| *module);
        assert!(below.into_iter().all(|import| !allowed.contains(&import)), "{module}: {allowed:?}");
    }
}

/// The local operator bypasses the access rules, so code that a request from the network reaches must not act as one.
/// The requests of `jobs.rs` come from the account of the server or from root, by the credentials of a Unix socket.
#[test]
fn only_the_command_on_repositories_and_the_admin_socket_become_the_local_operator() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let assumes = |path: &String| fs::read_to_string(root.join(path)).unwrap().contains("LocalOperator::assume");
    let below =
        |folder: String| read(&root.join(&folder)).into_iter().map(move |source| format!("{folder}/{}", source.path));
    let folders = crates().into_iter().map(|name| format!("crates/{name}/src")).chain(["src".to_owned()]);
    let found: Vec<String> = folders.flat_map(below).filter(assumes).collect();
    let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
    // The first only in its tests.
    let allowed = ["crates/access/src/local_operator.rs", "src/admin_socket/jobs.rs", "src/cli/repository.rs"];
    assert_eq!(found, BTreeSet::from(allowed));
}

#[test]
fn only_the_listed_files_put_a_thread_to_sleep() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sleeps = |path: &String| {
        let text = fs::read_to_string(root.join(path)).unwrap();
        ["thread::sleep", "thread::{self, sleep"].iter().any(|words| text.contains(words))
    };
    let below =
        |folder: String| read(&root.join(&folder)).into_iter().map(move |source| format!("{folder}/{}", source.path));
    let folders = crates().into_iter().map(|name| format!("crates/{name}/src"));
    let folders = folders.chain(["src", "tests/it"].map(str::to_owned));
    let found: BTreeSet<String> =
        folders.flat_map(below).filter(|path| !path.starts_with("tests/it/architecture")).filter(sleeps).collect();
    assert_eq!(found, SLEEPERS.iter().map(|path| (*path).to_owned()).collect());
}

/// Every Rust file below a directory, with its path relative to the directory.
fn read(root: &Path) -> Vec<SourceFile> {
    let mut folders = vec![root.to_owned()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                sources.push(SourceFile::new(path.strip_prefix(root).unwrap().to_str().unwrap(), text));
            }
        }
    }
    sources
}

/// The folders below `crates`.
fn crates() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates");
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// What a crate depends on outside its tests.
fn dependencies(name: &str) -> BTreeSet<String> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates").join(name).join("Cargo.toml");
    let manifest: toml::Table = fs::read_to_string(manifest).unwrap().parse().unwrap();
    let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table);
    dependencies.map(|table| table.keys().cloned().collect()).unwrap_or_default()
}

/// The rules that hold for the sources of every crate, a line for each place that breaks one.
fn violations(sources: &CrateSources) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for source in sources.all() {
        if !source.has_module_head() {
            found.insert(format!("{}: a module must begin with `//!` and its purpose", source.path));
        }
        let unwraps = sources.unwraps(source).into_iter();
        found.extend(unwraps.map(|line| {
            format!("{}:{line}: `unwrap()`; use `expect` with the reason why it cannot fail", source.path)
        }));
    }
    found
}

/// What the program's modules import that [`MODULES`] and [`LIBRARIES`] do not allow, a line each.
fn walls(sources: &CrateSources) -> BTreeSet<String> {
    let declared = sources.modules();
    let listed = MODULES.iter().map(|(module, _)| *module).filter(|module| *module != "main");
    let missing = listed.filter(|module| !declared.contains(*module));
    let mut found: BTreeSet<String> =
        missing.map(|module| format!("lib.rs does not declare {module}, which is in the table")).collect();
    for source in sources.all() {
        found.extend(wrong_imports(source));
        found.extend(wrong_libraries(sources.libraries(source), source));
    }
    found
}

fn wrong_imports(source: &SourceFile) -> Vec<String> {
    let (path, module) = (&source.path, source.module());
    if module == "lib" {
        return Vec::new();
    }
    let Some((_, allowed)) = MODULES.iter().find(|(name, _)| *name == module) else {
        return vec![format!("{path}: {module} is not in the table")];
    };
    let imports = source.imports().into_iter();
    imports
        .filter_map(|Import { line, target }| match target {
            None => Some(format!("{path}:{line}: {module} imports the whole crate")),
            Some(target) if target == module || allowed.contains(&target.as_str()) => None,
            Some(target) => Some(format!("{path}:{line}: {module} may not import {target}")),
        })
        .collect()
}

fn wrong_libraries(used: Vec<LibraryUse>, source: &SourceFile) -> impl Iterator<Item = String> {
    let (path, module) = (&source.path, source.module());
    used.into_iter().filter_map(move |LibraryUse { line, name }| {
        let (_, allowed) = LIBRARIES.iter().find(|(library, _)| *library == name)?;
        (!allowed.contains(&module)).then(|| format!("{path}:{line}: {module} must not use {name}"))
    })
}
