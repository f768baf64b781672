//! Other people's programs: where they are, which versions they are, and what to type if they are not there.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Programs and their Debian packages, as benches/packages.txt lists them.
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

/// Where Debian puts programs; a user's `PATH` often lacks the second.
const FOLDERS: &[&str] = &["/usr/bin", "/usr/sbin"];

/// Stops with the line that installs what is missing.
pub(crate) fn require_all() {
    let missing: Vec<&str> =
        NEEDED.iter().filter(|(program, _)| find(program).is_none()).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return;
    }
    eprintln!("error: programs to compare with are not installed\nhint: apt-get install {}", missing.join(" "));
    std::process::exit(1);
}

/// A call of a program that [`require_all`] found.
pub(crate) fn command(program: &str) -> Command {
    let path = find(program).unwrap_or_else(|| panic!("{program} is not among the programs that are required"));
    Command::new(path)
}

/// Runs a program to its end and gives what it said on standard output; a failure stops the benchmark with all that it said.
pub(crate) fn output(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{}\n{said}\n{complained}", output.status);
    said.into_owned()
}

/// The versions of all of them, as the package manager knows them, in one line.
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
