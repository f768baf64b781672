//! Tests what must not compile: access to a repository, a blob or a name that bypasses its checks.
//!
//! Each file in `tests/compile_fail` is a program that tries a forbidden way, with `//~ E0451` behind each line that
//! the compiler must refuse and the code of its error. The programs are compiled against the library that this test
//! was built with, which takes moments; trybuild, which builds every dependency once more, takes minutes.
//!
//! Invariant: a program is refused exactly in the announced lines, with the announced error codes. `control.rs`
//! announces nothing and must compile: it takes the permitted way to what the other programs try.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use serde_json::Value;

/// The separator between a line that must be refused and the code of the error.
const REFUSED: &str = " //~ ";

/// A line of a program and the code of an error in it.
type Refusal = (usize, String);

#[test]
fn what_must_not_compile_does_not_and_for_its_own_reason() {
    let library = BuiltLibrary::find();
    let mut wrong = Vec::new();
    let programs = programs();
    assert!(programs.len() > 10, "the programs should be found");
    for program in programs {
        let expected = announced_refusals(&program);
        let actual = library.refusals(&program);
        if actual != expected {
            wrong.push(format!("{}\n  expected {expected:?}\n  actual {actual:?}", program.display()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn only_the_control_compiles() {
    for program in programs() {
        let is_control = program.ends_with("control.rs");
        assert_eq!(is_control, announced_refusals(&program).is_empty(), "{}", program.display());
    }
}

/// The refusals that a program announces.
fn announced_refusals(program: &Path) -> BTreeSet<Refusal> {
    let text = fs::read_to_string(program).unwrap();
    let lines = text.lines().enumerate();
    lines.filter_map(|(index, line)| Some((index + 1, line.split_once(REFUSED)?.1.to_owned()))).collect()
}

fn programs() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile_fail");
    let mut programs: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    programs.sort();
    programs
}

/// The library that cargo built for this test.
struct BuiltLibrary {
    path: PathBuf,
    /// The directories of its dependencies; procedural macros are in another one if cargo was given a target.
    folders: Vec<PathBuf>,
}

impl BuiltLibrary {
    /// Finds the newest library beside this test, which cargo built or found up to date.
    fn find() -> Self {
        let test = std::env::current_exe().unwrap();
        let folder = test.parent().unwrap();
        let age = |path: &PathBuf| {
            fs::metadata(path).and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
        };
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let libraries = entries.filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with("libportcullis-") && name.ends_with(".rlib")
        });
        let path = libraries.max_by_key(age).unwrap_or_else(|| panic!("no library in {}", folder.display()));
        // …/target/debug/deps or …/target/TRIPLE/debug/deps
        let profile = folder.parent().unwrap();
        let host = profile.parent().unwrap().parent().unwrap().join(profile.file_name().unwrap()).join("deps");
        Self { path, folders: vec![folder.to_owned(), host] }
    }

    /// The lines of the program that the compiler refuses, with the error codes.
    fn refusals(&self, program: &Path) -> BTreeSet<Refusal> {
        let output = tempfile::tempdir().unwrap();
        let mut external = OsString::from("portcullis=");
        external.push(&self.path);
        let mut command = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        command.args(["--edition=2024", "--crate-type=bin", "--emit=metadata", "--error-format=json", "--extern"]);
        command.arg(external).arg("--out-dir").arg(output.path()).arg(program);
        for folder in &self.folders {
            let mut search = OsString::from("dependency=");
            search.push(folder);
            command.arg("-L").arg(search);
        }
        let said = command.output().unwrap();
        let stderr = String::from_utf8(said.stderr).unwrap();
        let messages = stderr.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{stderr}")));
        let refusals: BTreeSet<Refusal> = messages.flat_map(|message: Value| refusals(&message)).collect();
        // An error without a code or a place is unexpected.
        assert_eq!(said.status.success(), refusals.is_empty(), "{}:\n{stderr}", program.display());
        refusals
    }
}

/// The places of an error; empty for a warning or the final count of errors.
fn refusals(message: &Value) -> Vec<Refusal> {
    let Some(code) = message["code"]["code"].as_str().filter(|_| message["level"] == "error") else {
        return Vec::new();
    };
    let spans = message["spans"].as_array().unwrap().iter().filter(|span| span["is_primary"] == true);
    spans.map(|span| (usize::try_from(span["line_start"].as_u64().unwrap()).unwrap(), code.to_owned())).collect()
}
