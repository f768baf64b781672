//! Tests the first start on a fresh machine, the second start, and starts that fail.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::process::Command;

use crate::support::portcullis_server::{ALICE, BINARY, TestUser, first_password};
use crate::support::server_dir::basic_authorization;
use crate::support::tool_command::require;
use crate::support::{ServerDir, ToolCommand};

/// An unprivileged user id, that of `nobody` on Debian.
const NOBODY: u32 = 65534;

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_fresh_machine_gets_one_administrator_and_keys_that_nobody_else_reads() {
    let stage = ServerDir::without_files();
    stage.configure("[log]\nlevel = \"trace\"");
    let server = stage.start();
    let log = server.log();
    let password = first_password(&log).unwrap_or_else(|| panic!("a password should be shown:\n{log}")).to_owned();
    assert!(password.len() >= 16);
    assert_eq!(log.matches(&password).count(), 1, "the password is shown once:\n{log}");
    let line = log.lines().position(|line| line.contains(&password)).unwrap();
    assert_eq!(log.lines().nth(line).unwrap().trim(), password, "it has a line of its own, to be copied");

    let users = fs::read_to_string(stage.path("htpasswd")).unwrap();
    assert_eq!(users.lines().count(), 1, "{users}");
    assert!(users.starts_with("admin:$2"), "{users}");
    for file in ["htpasswd", "certs/ca.key", "certs/server.key", "certs/token.key"] {
        assert_eq!(fs::metadata(stage.path(file)).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
    }
    assert!(stage.path("data").is_dir());

    let header = Box::leak(password.clone().into_boxed_str());
    let header = basic_authorization(&TestUser { name: "admin", password: header });
    server.request("GET", "/v2/", &[&header], b"").expect(200);
    let host = format!("localhost:{}", stage.port());
    for words in [
        format!("https://{host}/"),
        format!("/etc/docker/certs.d/{host}/ca.crt"),
        format!("docker login -u admin {host}"),
    ] {
        assert!(log.contains(&words), "the banner should contain {words}:\n{log}");
    }
    let output = ToolCommand::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
        .arg(stage.path("certs/ca.crt"));
    let fingerprint = output.run_ok().stdout.trim().rsplit('=').next().unwrap().to_owned();
    assert!(log.contains(&fingerprint), "the banner should contain {fingerprint}:\n{log}");
    // Logging in with the password does not write it to the log.
    assert_eq!(server.log().matches(&password).count(), 1);
}

#[test]
fn the_second_start_says_nothing_of_passwords_and_changes_nothing() {
    let stage = ServerDir::without_files();
    let kept = || {
        let files =
            ["htpasswd", "certs/ca.crt", "certs/ca.key", "certs/server.crt", "certs/server.key", "certs/token.key"];
        files.map(|file| (file, fs::read(stage.path(file)).unwrap(), fs::metadata(stage.path(file)).unwrap().ino()))
    };
    let mut server = stage.start();
    let password = first_password(&server.log()).unwrap().to_owned();
    assert!(server.daemon.stop().success());
    let before = kept();
    drop(server);
    let server = stage.start();
    let log = server.log();
    assert!(!log.to_lowercase().contains("password"), "{log}");
    assert!(!log.contains(&password) && log.contains("Portcullis serves https://localhost:"), "{log}");
    assert!(kept() == before, "a second start should change no file");
}

#[test]
fn a_port_that_is_taken_is_told_with_a_hint_and_no_user_is_made() {
    let stage = ServerDir::without_files();
    let taken = TcpListener::bind(stage.address()).unwrap();
    let refused = stage.portcullis_command().arg("serve").run_failing();
    let port = stage.port();
    assert!(
        refused.stderr.contains(&format!("error: cannot listen on 127.0.0.1:{port}: port {port} is already in use")),
        "{refused}"
    );
    assert!(refused.stderr.contains("hint: ") && refused.stderr.contains("--listen 127.0.0.1:"), "{refused}");
    assert!(refused.to_string().contains("exit status: 1"), "{refused}");
    assert!(!refused.stderr.to_lowercase().contains("password") && !stage.path("htpasswd").exists(), "{refused}");
    drop(taken);
    // The failed start did not consume the first-start password.
    let server = stage.start();
    assert!(first_password(&server.log()).is_some(), "{}", server.log());
}

#[test]
fn one_of_two_ports_that_is_taken_keeps_the_server_from_starting_on_the_other() {
    let stage = ServerDir::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = stage.portcullis_command().args(["serve", "--listen", &stage.address().to_string(), "--listen"]);
    let refused = refused.arg(taken.local_addr().unwrap().to_string()).run_failing();
    assert!(refused.stderr.contains("already in use"), "{refused}");
}

/// The command `portcullis` as an unprivileged user who owns the stage's directory.
fn unprivileged(stage: &ServerDir) -> Command {
    for path in [stage.folder().to_owned(), stage.path("portcullis.toml")] {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    // A copy, because directories above the binary may be closed to other users.
    let program = stage.path("portcullis");
    fs::copy(BINARY, &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(require("setpriv"));
    command.current_dir(stage.folder());
    command.args([
        "--reuid",
        &NOBODY.to_string(),
        "--regid",
        &NOBODY.to_string(),
        "--clear-groups",
        "--bounding-set",
        "-all",
    ]);
    command.arg(program).arg("serve");
    command
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_port_below_1024_without_privileges_is_told_with_the_ways_out() {
    let first: u16 =
        fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap().trim().parse().unwrap();
    let Some(port) = first.checked_sub(1).filter(|port| *port > 0) else {
        panic!("unprivileged users may use every port here\nhint: sysctl net.ipv4.ip_unprivileged_port_start=1024");
    };
    let stage = ServerDir::without_files();
    let mut command = unprivileged(&stage);
    command.args(["--listen", &format!("127.0.0.1:{port}")]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("error: cannot listen on 127.0.0.1:{port}: permission denied")), "{said}");
    assert!(said.contains("hint: ") && said.contains("setcap") && said.contains("--listen 127.0.0.1:8443"), "{said}");
    assert!(!stage.path("htpasswd").exists() && !said.to_lowercase().contains("password"), "{said}");
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn somebody_without_privileges_can_serve_on_a_high_port() {
    let stage = ServerDir::without_files();
    let server = stage.start_as(unprivileged(&stage));
    server.request("GET", "/v2/", &[], b"").expect(401);
    assert_eq!(fs::metadata(stage.path("htpasswd")).unwrap().uid(), NOBODY);
}

#[test]
fn folders_that_cannot_be_written_are_told_with_a_hint() {
    for missing in ["certs", "data"] {
        let stage = ServerDir::without_files();
        stage.write("obstacle", "a file where a folder should be");
        let refused =
            stage.portcullis_command().args(["serve", &format!("--{missing}")]).arg("obstacle/below").run_failing();
        assert!(refused.stderr.starts_with("error: ") && refused.stderr.contains("obstacle/below"), "{refused}");
        assert!(refused.stderr.contains("\nhint: "), "{refused}");
        assert!(!stage.path("htpasswd").exists(), "{refused}");
    }
}

#[test]
fn a_broken_users_file_is_told_with_its_line_and_nothing_is_served() {
    let stage = ServerDir::without_files();
    stage.users(&[ALICE]);
    let good = fs::read_to_string(stage.path("htpasswd")).unwrap();
    for (line, word) in [("bob:plaintext", ":2"), ("bob", ":2"), (":$2y$05$x", ":2"), ("alice:$1$abc$def", ":2")] {
        stage.write("htpasswd", &format!("{good}{line}\n"));
        let refused = stage.portcullis_command().arg("serve").run_failing();
        assert!(
            refused.stderr.contains(&format!("htpasswd{word}")) && refused.stderr.contains("hint: "),
            "{line}: {refused}"
        );
        assert!(!refused.stderr.contains("plaintext"), "the line may contain a password: {refused}");
        stage.portcullis_command().arg("check").run_failing().assert_prints_one_of(&[&format!("htpasswd{word}")]);
    }
}

#[test]
fn a_hash_that_would_take_a_day_to_check_is_refused_with_its_line_and_never_reaches_a_running_server() {
    let stage = ServerDir::new();
    let cheap = fs::read_to_string(stage.path("htpasswd")).unwrap();
    let dear = format!("{cheap}bob:$2y$31${}\n", "a".repeat(53));
    stage.write("htpasswd", &dear);
    for command in ["check", "serve"] {
        let refused = stage.portcullis_command().arg(command).run_failing();
        assert!(refused.stderr.contains("htpasswd:2") && refused.stderr.contains("cost 31"), "{refused}");
    }
    stage.write("htpasswd", &cheap);
    let server = stage.start();
    stage.write("htpasswd", &dear);
    server.assert_log_contains("users not reloaded");
    server.assert_serving();
}

#[test]
fn every_problem_of_a_configuration_is_told_at_once_by_check_and_by_serve() {
    let stage = ServerDir::new();
    stage.write(
        "portcullis.toml",
        "listen = [\"nowhere\"]\nlisten2 = 1\n[tls.self_signed]\ndirectory = \"certs\"\n[tls.files]\ncertificate = \"a\"\nkey = \"b\"\n\
         [limits]\nidle_timeout = \"soon\"\n[log]\nlevel = \"wran\"\n",
    );
    let checked = stage.portcullis_command().arg("check").run_failing();
    for words in
        ["portcullis.toml:1:", "portcullis.toml:2:", "portcullis.toml:5:", "portcullis.toml:9:", "portcullis.toml:11:"]
    {
        let line = checked.stderr.lines().find(|line| line.contains(words));
        assert!(line.is_some_and(|line| line.starts_with("error: ")), "{words} should be reported: {checked}");
    }
    assert!(checked.stderr.matches("hint: ").count() >= 4, "{checked}");
    assert!(checked.stdout.is_empty(), "{checked}");
    let served = stage.portcullis_command().arg("serve").run_failing();
    assert_eq!(served.stderr, checked.stderr, "both should print the same");
    assert!(!stage.path("certs").exists() && !stage.path("data").exists(), "nothing should be made");

    stage.write("portcullis.toml", "listen = [\n");
    assert!(
        stage.portcullis_command().arg("check").run_failing().stderr.contains("portcullis.toml:"),
        "a file that is no TOML has a place too"
    );
    stage.configure("");
    stage.portcullis_command().arg("check").run_ok();
    stage
        .portcullis_command()
        .args(["serve", "--config", "missing.toml"])
        .run_failing()
        .assert_prints_one_of(&["missing.toml"]);
}

#[test]
fn a_folder_that_another_server_serves_is_told_with_a_hint() {
    let (stage, other) = (ServerDir::new(), ServerDir::new());
    let _server = stage.start();
    let refused = other.portcullis_command().args(["serve", "--listen"]).arg(other.address().to_string());
    let refused = refused.arg("--data").arg(stage.path("data")).run_failing();
    assert!(
        refused.stderr.contains("another portcullis is using it\nhint: stop the other server"),
        "{}",
        refused.stderr
    );
}
