//! Tests `portcullis check` on faults of the machine and of files around a valid configuration.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

use crate::support::Stage;
use crate::support::portcullis::BINARY;
use crate::support::tool::{Finished, Tool};

fn check(stage: &Stage) -> Tool {
    stage.tool().arg("check")
}

/// Asserts a warning with a hint, while the command still exits with 0 and ends with the line of success.
#[track_caller]
fn warns(told: &Finished, words: &str, hint: &str) {
    let mut lines = told.stderr.lines().skip_while(|line| !(line.starts_with("warning: ") && line.contains(words)));
    assert!(lines.next().is_some(), "{words}: {told}");
    assert!(lines.next().is_some_and(|line| line.starts_with("hint: ") && line.contains(hint)), "{hint}: {told}");
    assert!(told.is_success() && told.stderr.lines().last().is_some_and(|line| line.starts_with("ok: ")), "{told}");
}

/// Asserts an error with a hint, and the exit code of a failure.
#[track_caller]
fn fails(told: &Finished, words: &str, hint: &str) {
    let mut lines = told.stderr.lines().skip_while(|line| !(line.starts_with("error: ") && line.contains(words)));
    assert!(lines.next().is_some(), "{words}: {told}");
    assert!(lines.next().is_some_and(|line| line.starts_with("hint: ") && line.contains(hint)), "{hint}: {told}");
    assert!(told.to_string().contains("exit status: 1"), "{told}");
}

/// Writes a configuration with host names that resolve to this machine everywhere, and more settings.
fn named(stage: &Stage, names: &str, rest: &str) {
    let text = format!("listen = [\"{}\"]\nhostnames = [{names}]\n{rest}\n", stage.address());
    stage.write("portcullis.toml", &text);
}

#[test]
fn secrets_that_everybody_can_read_are_warned_of() {
    let stage = Stage::new();
    drop(stage.start());
    // The only one of these files that the server did not create.
    fs::set_permissions(stage.path("htpasswd"), fs::Permissions::from_mode(0o600)).unwrap();
    let closed = check(&stage).succeeds();
    assert!(!closed.stderr.contains("every user of this machine"), "what we make is closed: {closed}");
    for file in ["htpasswd", "certs/ca.key", "certs/server.key", "certs/token.key"] {
        fs::set_permissions(stage.path(file), fs::Permissions::from_mode(0o644)).unwrap();
        let told = check(&stage).run();
        warns(&told, &format!("{file}: every user of this machine can read or change it (mode 0644)"), "chmod o= ");
        fs::set_permissions(stage.path(file), fs::Permissions::from_mode(0o640)).unwrap();
    }
    assert!(!check(&stage).succeeds().stderr.contains("every user of this machine"), "a group may be meant");

    fs::copy(stage.path("certs/server.crt"), stage.path("own.crt")).unwrap();
    fs::copy(stage.path("certs/server.key"), stage.path("own.key")).unwrap();
    fs::set_permissions(stage.path("own.key"), fs::Permissions::from_mode(0o604)).unwrap();
    stage.configure("[tls.files]\ncertificate = \"own.crt\"\nkey = \"own.key\"");
    warns(&check(&stage).run(), "own.key: every user of this machine can read or change it (mode 0604)", "chmod o= ");
}

#[test]
fn an_address_that_somebody_else_has_is_an_error_and_one_that_we_serve_is_none() {
    let stage = Stage::new();
    let taken = TcpListener::bind(stage.address()).unwrap();
    let words = format!("cannot listen on {}: port {} is already in use", stage.address(), stage.port());
    fails(&check(&stage).run(), &words, "ss -ltnp sport = ");
    drop(taken);
    let _server = stage.start();
    check(&stage).succeeds();

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = taken.local_addr().unwrap();
    named(&stage, "\"localhost\"", "");
    let text = fs::read_to_string(stage.path("portcullis.toml")).unwrap();
    stage.write("portcullis.toml", &text.replace("listen = [", &format!("listen = [\"{other}\", ")));
    fails(&check(&stage).run(), &format!("cannot listen on {other}"), "--listen");
    let elsewhere = text.replace(&stage.address().to_string(), "192.0.2.1:8443");
    stage.write("portcullis.toml", &elsewhere);
    fails(&check(&stage).run(), "cannot listen on 192.0.2.1:8443: this machine has no such address", "ip address");
}

#[test]
fn a_port_that_this_user_may_not_have_is_an_error_with_the_ways_out() {
    let stage = Stage::new();
    let first: u16 =
        fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap().trim().parse().unwrap();
    let port = first.checked_sub(1).filter(|port| *port > 0).expect("sysctl net.ipv4.ip_unprivileged_port_start=1024");
    stage.write("portcullis.toml", &format!("listen = [\"127.0.0.1:{port}\"]\nhostnames = [\"localhost\"]\n"));
    let told = unprivileged(&stage, &[]);
    fails(&told, &format!("cannot listen on 127.0.0.1:{port}: permission denied"), "setcap");
}

/// Runs `check` as an unprivileged user who owns only the stage's directory.
fn unprivileged(stage: &Stage, closed: &[&str]) -> Finished {
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
    let tool = Tool::new("setpriv").folder(stage.folder());
    let ids = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set", "-all"];
    tool.args(ids).arg(program).arg("check").run()
}

#[test]
fn folders_and_an_audit_trail_that_cannot_be_written_are_errors() {
    let stage = Stage::new();
    for folder in ["data", "logs"] {
        fs::create_dir(stage.path(folder)).unwrap();
    }
    stage.configure("[log]\naudit = \"logs/audit.jsonl\"");
    let told = unprivileged(&stage, &["data", "logs"]);
    fails(&told, "data folder data: Permission denied", "a folder that this user can write");
    fails(&told, "audit trail logs/audit.jsonl: Permission denied", "name a file that this user can write");
    assert!(!stage.path("logs/audit.jsonl").exists(), "a check changes nothing");

    stage.configure("[log]\naudit = \"missing/audit.jsonl\"");
    fails(&check(&stage).run(), "audit trail missing/audit.jsonl: No such file", "in an existing folder");
    stage.configure("[log]\naudit = \"./logs\"");
    fails(&check(&stage).run(), "audit trail ./logs: ", "name a file");
    stage.configure("[log]\naudit = \"logs/audit.jsonl\"");
    check(&stage).succeeds();
    assert!(!stage.path("logs/audit.jsonl").exists(), "a check changes nothing");
}

#[test]
fn fewer_open_files_than_connections_need_are_warned_of() {
    let stage = Stage::new();
    stage.configure("[limits]\nconnections = 1000");
    let told = limited(&stage, 512);
    warns(&told, "1000 connections may need 2064 open files, and this user may have 512", "LimitNOFILE=2064");
    stage.configure("[limits]\nconnections = 100");
    assert!(!limited(&stage, 512).stderr.contains("open files"));
}

fn limited(stage: &Stage, files: u32) -> Finished {
    let line = format!("ulimit -n {files} && exec \"$0\" check");
    Tool::at(Path::new("/bin/sh")).folder(stage.folder()).args(["-c", &line, BINARY]).run()
}

#[test]
fn names_that_do_not_lead_here_are_warned_of() {
    let stage = Stage::new();
    named(&stage, "\"localhost\", \"127.0.0.1\"", "");
    assert!(!check(&stage).succeeds().stderr.contains("hostnames"));
    named(&stage, "\"nowhere.invalid\", \"192.0.2.1\"", "");
    let told = check(&stage).run();
    warns(&told, "hostnames: nowhere.invalid does not resolve", "clients need a DNS record");
    warns(&told, "hostnames: 192.0.2.1 is not an address of this machine", "behind a load balancer");
}

#[test]
fn a_disk_with_little_room_is_warned_of() {
    let stage = Stage::new();
    fs::create_dir(stage.path("small")).unwrap();
    Tool::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(stage.path("small")).succeeds();
    let told = check(&stage).env("PORTCULLIS_STORAGE__FILESYSTEM__ROOT", stage.path("small/data")).run();
    Tool::new("umount").arg(stage.path("small")).succeeds();
    warns(&told, "2.00 MiB of 2.00 MiB are free on its disk", "portcullis gc");
}

#[test]
fn errors_beside_warnings_fail_and_all_of_them_are_told() {
    let stage = Stage::new();
    fs::set_permissions(stage.path("htpasswd"), fs::Permissions::from_mode(0o644)).unwrap();
    let _taken = TcpListener::bind(stage.address()).unwrap();
    let told = check(&stage).run();
    fails(&told, "already in use", "ss -ltnp");
    assert!(told.stderr.contains("warning: htpasswd: ") && !told.stderr.contains("ok: "), "{told}");
}
