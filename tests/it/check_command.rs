//! Tests `portcullis check` on faults of the machine and of files around a valid configuration.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

use crate::support::ServerDir;
use crate::support::portcullis_server::BINARY;
use crate::support::tool_command::{ToolCommand, ToolOutput};

fn check(stage: &ServerDir) -> ToolCommand {
    stage.portcullis_command().arg("check")
}

/// Asserts a warning with a hint, while the command still exits with 0 and ends with the line of success.
#[track_caller]
fn assert_warning(output: &ToolOutput, words: &str, hint: &str) {
    let mut lines = output.stderr.lines().skip_while(|line| !(line.starts_with("warning: ") && line.contains(words)));
    assert!(lines.next().is_some(), "{words}: {output}");
    assert!(lines.next().is_some_and(|line| line.starts_with("hint: ") && line.contains(hint)), "{hint}: {output}");
    assert!(
        output.is_success() && output.stderr.lines().last().is_some_and(|line| line.starts_with("ok: ")),
        "{output}"
    );
}

/// Asserts an error with a hint, and the exit code of a failure.
#[track_caller]
fn assert_error(output: &ToolOutput, words: &str, hint: &str) {
    let mut lines = output.stderr.lines().skip_while(|line| !(line.starts_with("error: ") && line.contains(words)));
    assert!(lines.next().is_some(), "{words}: {output}");
    assert!(lines.next().is_some_and(|line| line.starts_with("hint: ") && line.contains(hint)), "{hint}: {output}");
    assert!(output.to_string().contains("exit status: 1"), "{output}");
}

/// Writes a configuration with host names that resolve to this machine everywhere, and more settings.
fn configure_names(stage: &ServerDir, names: &str, rest: &str) {
    let text = format!("listen = [\"{}\"]\nhostnames = [{names}]\n{rest}\n", stage.address());
    stage.write("portcullis.toml", &text);
}

#[test]
fn secrets_that_everybody_can_read_are_warned_of() {
    let stage = ServerDir::new();
    drop(stage.start());
    // The only one of these files that the server did not create.
    fs::set_permissions(stage.path("htpasswd"), fs::Permissions::from_mode(0o600)).unwrap();
    let closed = check(&stage).run_ok();
    assert!(!closed.stderr.contains("every user of this machine"), "what we make is closed: {closed}");
    for file in ["htpasswd", "certs/ca.key", "certs/server.key", "certs/token.key"] {
        fs::set_permissions(stage.path(file), fs::Permissions::from_mode(0o644)).unwrap();
        let output = check(&stage).run();
        assert_warning(
            &output,
            &format!("{file}: every user of this machine can read or change it (mode 0644)"),
            "chmod o= ",
        );
        fs::set_permissions(stage.path(file), fs::Permissions::from_mode(0o640)).unwrap();
    }
    assert!(!check(&stage).run_ok().stderr.contains("every user of this machine"), "a group may be meant");

    fs::copy(stage.path("certs/server.crt"), stage.path("own.crt")).unwrap();
    fs::copy(stage.path("certs/server.key"), stage.path("own.key")).unwrap();
    fs::set_permissions(stage.path("own.key"), fs::Permissions::from_mode(0o604)).unwrap();
    stage.configure("[tls.files]\ncertificate = \"own.crt\"\nkey = \"own.key\"");
    assert_warning(
        &check(&stage).run(),
        "own.key: every user of this machine can read or change it (mode 0604)",
        "chmod o= ",
    );
}

#[test]
fn an_address_that_somebody_else_has_is_an_error_and_one_that_we_serve_is_none() {
    let stage = ServerDir::new();
    let taken = TcpListener::bind(stage.address()).unwrap();
    let words = format!("cannot listen on {}: port {} is already in use", stage.address(), stage.port());
    assert_error(&check(&stage).run(), &words, "ss -ltnp sport = ");
    drop(taken);
    let _server = stage.start();
    check(&stage).run_ok();

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = taken.local_addr().unwrap();
    configure_names(&stage, "\"localhost\"", "");
    let text = fs::read_to_string(stage.path("portcullis.toml")).unwrap();
    stage.write("portcullis.toml", &text.replace("listen = [", &format!("listen = [\"{other}\", ")));
    assert_error(&check(&stage).run(), &format!("cannot listen on {other}"), "--listen");
    let elsewhere = text.replace(&stage.address().to_string(), "192.0.2.1:8443");
    stage.write("portcullis.toml", &elsewhere);
    assert_error(
        &check(&stage).run(),
        "cannot listen on 192.0.2.1:8443: this machine has no such address",
        "ip address",
    );
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_port_that_this_user_may_not_have_is_an_error_with_the_ways_out() {
    let stage = ServerDir::new();
    let first: u16 =
        fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap().trim().parse().unwrap();
    let port = first.checked_sub(1).filter(|port| *port > 0).expect("sysctl net.ipv4.ip_unprivileged_port_start=1024");
    stage.write("portcullis.toml", &format!("listen = [\"127.0.0.1:{port}\"]\nhostnames = [\"localhost\"]\n"));
    let output = unprivileged(&stage, &[]);
    assert_error(&output, &format!("cannot listen on 127.0.0.1:{port}: permission denied"), "setcap");
}

/// Runs `check` as an unprivileged user who owns only the stage's directory.
fn unprivileged(stage: &ServerDir, closed: &[&str]) -> ToolOutput {
    const NOBODY: u32 = 65534;
    for path in [stage.folder().to_owned(), stage.path("portcullis.toml"), stage.path("htpasswd")] {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    for path in closed {
        chown(stage.path(path), Some(0), Some(0)).unwrap();
        fs::set_permissions(stage.path(path), fs::Permissions::from_mode(0o700)).unwrap();
    }
    // A copy, because directories above the binary may be closed to other users.
    let program = stage.path("portcullis");
    fs::copy(BINARY, &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let tool = ToolCommand::new("setpriv").folder(stage.folder());
    let ids = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set", "-all"];
    tool.args(ids).arg(program).arg("check").run()
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn folders_and_an_audit_trail_that_cannot_be_written_are_errors() {
    let stage = ServerDir::new();
    for folder in ["data", "logs"] {
        fs::create_dir(stage.path(folder)).unwrap();
    }
    stage.configure("[log]\naudit = \"logs/audit.jsonl\"");
    let output = unprivileged(&stage, &["data", "logs"]);
    assert_error(&output, "data folder data: Permission denied", "a folder that this user can write");
    assert_error(&output, "audit trail logs/audit.jsonl: Permission denied", "name a file that this user can write");
    assert!(!stage.path("logs/audit.jsonl").exists(), "a check changes nothing");

    stage.configure("[log]\naudit = \"missing/audit.jsonl\"");
    assert_error(&check(&stage).run(), "audit trail missing/audit.jsonl: No such file", "in an existing folder");
    stage.configure("[log]\naudit = \"./logs\"");
    assert_error(&check(&stage).run(), "audit trail ./logs: ", "name a file");
    stage.configure("[log]\naudit = \"logs/audit.jsonl\"");
    check(&stage).run_ok();
    assert!(!stage.path("logs/audit.jsonl").exists(), "a check changes nothing");
}

#[test]
fn fewer_open_files_than_connections_need_are_warned_of() {
    let stage = ServerDir::new();
    stage.configure("[limits]\nconnections = 1000");
    let output = limited(&stage, 512);
    assert_warning(
        &output,
        "1000 connections may need 2064 open files, and this user may have 512",
        "LimitNOFILE=2064",
    );
    stage.configure("[limits]\nconnections = 100");
    assert!(!limited(&stage, 512).stderr.contains("open files"));
}

fn limited(stage: &ServerDir, files: u32) -> ToolOutput {
    let line = format!("ulimit -n {files} && exec \"$0\" check");
    ToolCommand::from_path(Path::new("/bin/sh")).folder(stage.folder()).args(["-c", &line, BINARY]).run()
}

#[test]
fn names_that_do_not_lead_here_are_warned_of() {
    let stage = ServerDir::new();
    configure_names(&stage, "\"localhost\", \"127.0.0.1\"", "");
    assert!(!check(&stage).run_ok().stderr.contains("hostnames"));
    configure_names(&stage, "\"nowhere.invalid\", \"192.0.2.1\"", "");
    let output = check(&stage).run();
    assert_warning(&output, "hostnames: nowhere.invalid does not resolve", "clients need a DNS record");
    assert_warning(&output, "hostnames: 192.0.2.1 is not an address of this machine", "behind a load balancer");
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_disk_with_little_room_is_warned_of() {
    let stage = ServerDir::new();
    fs::create_dir(stage.path("small")).unwrap();
    ToolCommand::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(stage.path("small")).run_ok();
    let output = check(&stage).env("PORTCULLIS_STORAGE__FILESYSTEM__ROOT", stage.path("small/data")).run();
    ToolCommand::new("umount").arg(stage.path("small")).run_ok();
    assert_warning(&output, "2.00 MiB of 2.00 MiB are free on its disk", "portcullis gc");
}

#[test]
fn errors_beside_warnings_fail_and_all_of_them_are_told() {
    let stage = ServerDir::new();
    fs::set_permissions(stage.path("htpasswd"), fs::Permissions::from_mode(0o644)).unwrap();
    let _taken = TcpListener::bind(stage.address()).unwrap();
    let output = check(&stage).run();
    assert_error(&output, "already in use", "ss -ltnp");
    assert!(output.stderr.contains("warning: htpasswd: ") && !output.stderr.contains("ok: "), "{output}");
}
