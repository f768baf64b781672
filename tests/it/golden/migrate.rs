//! Compares the output of `migrate` for real configurations with golden files, and loads the results.
//!
//! `tests/golden/migrate` holds each input, standard output (`.toml`) and standard error (`.txt`).

use std::fs;
use std::path::{Path, PathBuf};

use portcullis::config::{self, Flags};

use super::assert_golden;
use crate::support::ToolCommand;
use crate::support::portcullis_server::portcullis_command;

const INPUTS: [(&str, &str); 5] = [
    ("nginx", "nginx.conf"),
    ("nginx", "nginx-public.conf"),
    ("registry", "registry.yml"),
    ("registry", "registry-token.yml"),
    ("docker_auth", "docker_auth.yml"),
];

/// Copies one of the inputs into a directory and returns the call that migrates it.
fn call(folder: &Path, origin: &str, file: &str) -> ToolCommand {
    fs::copy(input(file), folder.join(file)).unwrap();
    fs::create_dir_all(folder.join("snippets")).unwrap();
    fs::copy(input("snippets/headers.conf"), folder.join("snippets/headers.conf")).unwrap();
    portcullis_command().folder(folder).args(["migrate", origin, file])
}

fn input(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/migrate").join(file)
}

#[test]
fn what_is_written_and_told_is_what_was_read_before() {
    for (origin, file) in INPUTS {
        let folder = tempfile::tempdir().unwrap();
        let mut call = call(folder.path(), origin, file);
        if origin == "docker_auth" {
            call = call.args(["--htpasswd", "users"]);
        }
        let said = call.run_ok();
        let stem = file.split('.').next().unwrap();
        assert_golden(&format!("migrate/{stem}.toml"), &said.stdout);
        assert_golden(&format!("migrate/{stem}.txt"), &said.stderr);
    }
}

#[test]
fn every_configuration_that_is_written_is_one_without_doubts() {
    for (_, file) in INPUTS {
        let toml = input(file).with_extension("toml");
        let flags = Flags { config: Some(toml), ..Flags::default() };
        let loaded = config::load(&flags, [], None).unwrap_or_else(|problems| panic!("{file}: {problems}"));
        assert!(loaded.warnings().is_empty() && !loaded.rules.is_empty(), "{file}");
    }
}

#[test]
fn users_go_to_a_new_file_that_its_owner_alone_can_read_and_over_nothing() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let migrate = || call(folder.path(), "docker_auth", "docker_auth.yml").args(["--htpasswd", "users"]);
    migrate().run_ok();
    let users = folder.path().join("users");
    assert_eq!(fs::metadata(&users).unwrap().permissions().mode() & 0o777, 0o600);
    portcullis_command()
        .folder(folder.path())
        .args(["user", "list", "--htpasswd", "users"])
        .run_ok()
        .assert_prints_one_of(&["ci-web"]);
    let verify = portcullis_command().folder(folder.path()).args([
        "user",
        "verify",
        "admin",
        "--password-stdin",
        "--htpasswd",
        "users",
    ]);
    verify.input("badmin\n").run_ok();

    let before = fs::read(&users).unwrap();
    let again = migrate().run_failing();
    assert!(again.stderr.starts_with("error: users: ") && again.stdout.is_empty(), "{again}");
    assert_eq!(fs::read(&users).unwrap(), before);
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_with_its_line_and_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let says = |origin: &str, text: &str, expected: &str| {
        fs::write(folder.path().join("old"), text).unwrap();
        let said = portcullis_command().folder(folder.path()).args(["migrate", origin, "old"]).run_failing();
        assert!(said.stderr.starts_with(expected) && said.stderr.contains("\nhint: "), "{said}");
        assert_eq!(said.stdout, "");
    };
    says("nginx", "server {\n  listen 443 ssl\n}\n", "error: old:2: \"listen\" does not end with ;\n");
    says("nginx", "server { listen 80; }", "error: old: there is no server in it that passes requests on");
    says("registry", "http: [\n", "error: old:");
    says("docker_auth", "- a\n", "error: old:1: ");
    says("registry", &"#".repeat((1 << 20) + 1), "error: old: larger than 1 MiB\n");
    let missing = portcullis_command().folder(folder.path()).args(["migrate", "nginx", "missing"]).run_failing();
    assert!(missing.stderr.starts_with("error: missing: No such file"), "{missing}");
}
