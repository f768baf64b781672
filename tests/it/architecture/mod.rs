//! Checks which module of `src/lib.rs` may import which other, and which may name a library.
//!
//! Invariant: [`FLOORS`] lists all modules of `src/lib.rs`, and each row names only modules of rows above it. Imports
//! that follow the table therefore cannot form a cycle.
//!
//! The sources are read as tokens, not as lines: a path is found in nested braces, in macros, behind `super::super`
//! and wherever else the compiler finds it, and not in comments and string literals. Tests inside `src` follow the
//! table too; they may use any library and `unwrap()`.

mod examples;
mod reader;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use reader::{Crate, Import, Source, Used};

/// Each module with the modules that it may import. The picture is in `src/lib.rs`.
const FLOORS: &[(&str, &[&str])] = &[
    // vocabulary
    ("oci", &[]),
    // mechanisms
    ("access", &["oci"]),
    ("audit", &["oci", "access"]),
    ("storage", &[]),
    ("tls", &[]),
    ("fetch", &[]),
    // engines
    ("registry", &["oci", "access", "audit", "storage"]),
    ("auth", &["oci", "access", "audit", "storage", "tls", "fetch"]),
    // surface
    ("api", &["oci", "access", "audit", "registry", "auth"]),
    // process
    ("telemetry", &["audit"]),
    ("server", &["tls"]),
    // The types of every module's own `Config`.
    ("config", &["access", "storage", "tls", "fetch", "registry", "auth", "telemetry", "server"]),
    // Reads the configurations of other programs; writes text that `config` reads.
    ("migrate", &["access", "tls", "auth", "config"]),
    // A registry client; not part of the server.
    ("selftest", &["oci", "tls", "auth"]),
    // The network side of `tls::acme`.
    ("acme", &["audit", "tls"]),
    ("reload", &["access", "audit", "tls", "auth", "api", "config"]),
    (
        "app",
        &[
            "access", "audit", "storage", "tls", "fetch", "registry", "auth", "api", "server", "config", "acme",
            "reload",
        ],
    ),
    (
        "cli",
        &[
            "oci",
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
            "app",
        ],
    ),
    // The binary's `main.rs`.
    ("main", &["cli"]),
];

/// Libraries that only some modules may use, so that replacing one stays a small change.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("axum", &["api", "app"]),
    ("http", &["acme", "api", "server", "fetch", "selftest", "app"]),
    ("http_body", &["api", "server", "app"]),
    ("http_body_util", &["acme", "api", "server", "fetch", "selftest", "app"]),
    ("hyper", &["server", "fetch", "selftest", "app"]),
    ("hyper_util", &["acme", "server", "fetch", "selftest", "app"]),
    ("tower", &["server", "app"]),
    ("hyper_rustls", &["acme"]),
    ("instant_acme", &["acme"]),
    ("bcrypt", &["auth"]),
    ("jsonwebtoken", &["auth"]),
    ("rcgen", &["tls", "auth"]),
    ("x509_parser", &["tls"]),
    ("tokio_rustls", &["server", "fetch", "selftest"]),
    ("toml", &["config", "selftest"]),
    ("saphyr_parser", &["migrate"]),
    ("clap", &["cli", "main"]),
    // Vocabulary and decisions do no I/O.
    ("tokio", &["acme", "storage", "fetch", "registry", "auth", "api", "server", "reload", "selftest", "app", "cli"]),
];

#[test]
fn every_module_keeps_to_its_floor() {
    let sources = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(sources.len() > 100, "the sources should be found");
    let violations = violations(&Crate::new(sources));
    assert!(violations.is_empty(), "{violations:#?}");
}

#[test]
fn the_table_has_no_way_up_and_so_no_cycle() {
    for (index, (module, allowed)) in FLOORS.iter().enumerate() {
        let above: Vec<&str> = FLOORS[..index].iter().map(|(module, _)| *module).collect();
        for import in *allowed {
            assert!(above.contains(import), "{module} may import {import}, which must come before it in the table");
        }
    }
}

/// The local operator bypasses the access rules, so code that a request reaches must not act as one.
#[test]
fn only_the_command_on_repositories_becomes_the_local_operator() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let assumes = |path: &str| fs::read_to_string(root.join(path)).unwrap().contains("LocalOperator::assume");
    let sources: Vec<String> = read(&root).into_iter().map(|source| source.path).collect();
    let found: Vec<&str> = sources.iter().map(String::as_str).filter(|path| assumes(path)).collect();
    let allowed = ["access/operator.rs", "cli/repository.rs"];
    assert!(found.iter().all(|path| allowed.contains(path)) && found.contains(&"cli/repository.rs"), "{found:?}");
}

/// Every Rust file below a directory, with its path relative to the directory.
fn read(root: &Path) -> Vec<Source> {
    let mut folders = vec![root.to_owned()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                sources.push(Source::new(path.strip_prefix(root).unwrap().to_str().unwrap(), text));
            }
        }
    }
    sources
}

/// All violations of the tables in a crate, one line each.
fn violations(sources: &Crate) -> BTreeSet<String> {
    let declared = sources.modules();
    let missing =
        FLOORS.iter().map(|(module, _)| *module).filter(|module| *module != "main" && !declared.contains(*module));
    let mut found: BTreeSet<String> =
        missing.map(|module| format!("lib.rs does not declare {module}, which has a floor")).collect();
    for source in sources.all() {
        if !source.begins_with_its_job() {
            found.insert(format!("{}: a module must begin with `//!` and its purpose", source.path));
        }
        found.extend(wrong_imports(source));
        found.extend(wrong_libraries(sources.libraries(source), source));
        found.extend(sources.unwraps(source).into_iter().map(|line| {
            format!("{}:{line}: `unwrap()`; use `expect` with the reason why it cannot fail", source.path)
        }));
    }
    found
}

fn wrong_imports(source: &Source) -> Vec<String> {
    let (path, module) = (&source.path, source.module());
    if module == "lib" {
        return Vec::new();
    }
    let Some((_, allowed)) = FLOORS.iter().find(|(name, _)| *name == module) else {
        return vec![format!("{path}: {module} has no floor")];
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

fn wrong_libraries(used: Vec<Used>, source: &Source) -> impl Iterator<Item = String> {
    let (path, module) = (&source.path, source.module());
    used.into_iter().filter_map(move |Used { line, name }| {
        let (_, allowed) = LIBRARIES.iter().find(|(library, _)| *library == name)?;
        (!allowed.contains(&module)).then(|| format!("{path}:{line}: {module} must not use {name}"))
    })
}
