//! Finds and runs the external programs of the benchmark, and reports their versions or how to install them.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The required programs and their Debian packages, the same as in benches/packages.txt.
const NEEDED: &[(&str, &str)] = &[
    ("ab", "apache2-utils"),
    ("docker-registry", "docker-registry"),
    ("perf", "linux-perf"),
    ("h2load", "nghttp2-client"),
    ("nginx", "nginx-light"),
    ("openssl", "openssl"),
    ("skopeo", "skopeo"),
    ("wrk", "wrk"),
];

/// The folders of Debian's programs; a user's `PATH` often lacks the second.
const FOLDERS: &[&str] = &["/usr/bin", "/usr/sbin"];

/// Exits with the command that installs missing programs, if there are any.
pub(crate) fn require_all() {
    let missing: Vec<&str> =
        NEEDED.iter().filter(|(program, _)| find(program).is_none()).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return;
    }
    eprintln!("error: programs to compare with are not installed\nhint: apt-get install {}", missing.join(" "));
    std::process::exit(1);
}

/// A command for a program that [`require_all`] found.
pub(crate) fn command(program: &str) -> Command {
    let path = find(program).unwrap_or_else(|| panic!("{program} is not among the programs that are required"));
    Command::new(path)
}

/// Runs a program to its end and returns its standard output; panics with all of its output if it fails.
pub(crate) fn output(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{}\n{said}\n{complained}", output.status);
    said.into_owned()
}

/// The versions of all packages from the package manager, in one line.
pub(crate) fn versions() -> String {
    let mut line = String::new();
    for (_, package) in NEEDED {
        let mut query = Command::new("dpkg-query");
        let query = query.args(["--show", "--showformat=${Version}", package]).stderr(Stdio::null());
        let version = query.output().ok().filter(|output| output.status.success());
        let version = version.map_or_else(|| "unknown".into(), |output| String::from_utf8(output.stdout).unwrap());
        write!(line, "{}{package} {version}", if line.is_empty() { "" } else { ", " }).unwrap();
    }
    line
}

fn find(program: &str) -> Option<PathBuf> {
    let search_path = std::env::var_os("PATH").unwrap_or_default();
    let folders = FOLDERS.iter().map(|folder| Path::new(folder).to_owned()).chain(std::env::split_paths(&search_path));
    folders.map(|folder| folder.join(program)).find(|path| path.is_file())
}
