//! Runs a program to its end, with a deadline, without a terminal, and with readable failures.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::is_true_within;

/// The Debian package of each program; `tests/packages.txt` installs them all.
const PACKAGES: &[(&str, &str)] = &[
    ("busybox", "busybox-static"),
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("docker", "docker.io"),
    ("docker-compose", "docker-compose"),
    ("docker-registry", "docker-registry"),
    ("dockerd", "docker.io"),
    ("haproxy", "haproxy"),
    ("htpasswd", "apache2-utils"),
    ("make", "make"),
    ("nginx", "nginx-light"),
    ("node", "nodejs"),
    ("pebble", "pebble"),
    ("pebble-challtestsrv", "pebble"),
    ("perl", "perl-base"),
    ("podman", "podman"),
    ("python3", "python3-venv"),
    ("skopeo", "skopeo"),
    ("slowhttptest", "slowhttptest"),
    ("strace", "strace"),
    ("testssl", "testssl.sh"),
    ("umount", "mount"),
    ("unshare", "util-linux"),
];

/// The directories of Debian's programs. They precede `PATH`, because some machines have another `docker` first on
/// it.
const FOLDERS: &[&str] = &["/usr/bin", "/usr/sbin", "/bin", "/sbin"];

/// The programs that `tests/requirements.txt` lists instead.
const PYTHON_PROGRAMS: &[&str] = &["moto_server", "sslyze", "weed"];

/// The directory into which `scripts/install-test-parts` installs Python programs.
fn python_bin_dir() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    cache.unwrap_or_else(home).join("portcullis-test-parts/bin")
}

/// The path of `program`; panics with the command that installs it if it is missing.
pub(crate) fn require(program: &str) -> PathBuf {
    let search_path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = FOLDERS.iter().map(PathBuf::from).chain(std::env::split_paths(&search_path));
    if let Some(folder) = folders.find(|folder| folder.join(program).is_file()) {
        return folder.join(program);
    }
    let of_python = python_bin_dir().join(program);
    if of_python.is_file() {
        return of_python;
    }
    let of_debian = PACKAGES.iter().find(|(name, _)| *name == program).map_or(program, |(_, package)| package);
    let hint = if PYTHON_PROGRAMS.contains(&program) {
        "scripts/install-test-parts"
    } else {
        &format!("apt-get install {of_debian}")
    };
    panic!("{program} is not installed, and this test needs it\nhint: {hint}");
}

/// One call of a program.
pub(crate) struct ToolCommand {
    command: Command,
    input: Vec<u8>,
    deadline: Duration,
}

/// The exit status and output of a program that ended.
pub(crate) struct ToolOutput {
    line: String,
    status: ExitStatus,
    /// Standard output, with invalid UTF-8 replaced.
    pub(crate) stdout: String,
    /// Standard error, with invalid UTF-8 replaced.
    pub(crate) stderr: String,
}

impl ToolCommand {
    /// A program by its name, found by [`require`].
    pub(crate) fn new(program: &str) -> Self {
        Self::from_path(&require(program))
    }

    /// A program by its path.
    pub(crate) fn from_path(path: &Path) -> Self {
        Self { command: Command::new(path), input: Vec::new(), deadline: Duration::from_secs(120) }
    }

    /// Adds one argument.
    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds several arguments.
    pub(crate) fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets a variable for the program only.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs the program in another directory.
    pub(crate) fn folder(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Sets the standard input; without this, it is empty.
    pub(crate) fn input(mut self, input: &str) -> Self {
        self.input = input.as_bytes().to_vec();
        self
    }

    /// Sets the deadline; the default is two minutes.
    pub(crate) fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Runs to the end, whatever the exit code; panics at the deadline.
    pub(crate) fn run(mut self) -> ToolOutput {
        // Files, not pipes: a grandchild that keeps running (podman's monitor) would keep a pipe open.
        let (mut stdin, mut stdout, mut stderr) = (anonymous_file(), anonymous_file(), anonymous_file());
        stdin.write_all(&self.input).unwrap();
        stdin.rewind().unwrap();
        self.command.stdin(Stdio::from(stdin));
        self.command.stdout(Stdio::from(stdout.try_clone().unwrap()));
        self.command.stderr(Stdio::from(stderr.try_clone().unwrap()));

        let line = command_line(&self.command);
        let started = Instant::now();
        let mut child = self.command.spawn().unwrap_or_else(|error| panic!("{line}\ncannot be started: {error}"));
        let mut status = None;
        let in_time = is_true_within(self.deadline, || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        if !in_time {
            child.kill().unwrap();
            status = Some(child.wait().unwrap());
        }
        let finished =
            ToolOutput { line, status: status.unwrap(), stdout: text(&mut stdout), stderr: text(&mut stderr) };
        assert!(in_time, "still running after {:?}, stopped\n{finished}", started.elapsed());
        finished
    }

    /// Runs and asserts exit code 0.
    pub(crate) fn run_ok(self) -> ToolOutput {
        let finished = self.run();
        assert!(finished.status.success(), "should have succeeded\n{finished}");
        finished
    }

    /// Runs and asserts an exit code other than 0.
    pub(crate) fn run_failing(self) -> ToolOutput {
        let finished = self.run();
        assert!(!finished.status.success(), "should have failed\n{finished}");
        finished
    }
}

impl ToolOutput {
    /// Whether the exit code was 0.
    pub(crate) fn is_success(&self) -> bool {
        self.status.success()
    }

    /// Asserts that one of `words` is in either output stream, ignoring case.
    pub(crate) fn assert_prints_one_of(&self, words: &[&str]) -> &Self {
        let said = format!("{}\n{}", self.stdout, self.stderr).to_lowercase();
        assert!(
            words.iter().any(|word| said.contains(&word.to_lowercase())),
            "should have printed one of {words:?}\n{self}"
        );
        self
    }
}

impl std::fmt::Display for ToolOutput {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { line, status, stdout, stderr } = self;
        write!(formatter, "$ {line}\n{status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

fn anonymous_file() -> File {
    tempfile::tempfile().unwrap()
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn command_line(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        write!(line, " {}", argument.to_string_lossy()).unwrap();
    }
    line
}
