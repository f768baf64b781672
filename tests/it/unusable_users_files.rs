//! Tests users files that the server can read but not change, and users files with unusable lines.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::process::Command;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};

use crate::support::portcullis_server::{ALICE, BINARY, BOB, TestUser};
use crate::support::server_dir::basic_authorization;
use crate::support::tool_command::require;
use crate::support::{PortcullisServer, ServerDir, ToolCommand, eventually};

const NOBODY: u32 = 65534;

/// [`BOB`]'s line, with the hash of `openssl passwd -apr1 -salt salt`.
const BOB_APR1: &str = "bob:$apr1$salt$KeJmHb3OKtiaQOW2/oE72.\n";

fn signs_in(server: &PortcullisServer, user: &TestUser) -> bool {
    server.request("GET", "/v2/", &[&basic_authorization(user)], b"").status == 200
}

fn alice() -> String {
    format!("alice:{}\n", bcrypt::hash(ALICE.password, 4).unwrap())
}

/// The program as an unprivileged user who owns only the stage's directory.
fn unprivileged(stage: &ServerDir) -> Command {
    chown(stage.folder(), Some(NOBODY), Some(NOBODY)).unwrap();
    // A copy, because directories above the binary may be closed to other users.
    let program = stage.path("portcullis");
    if !program.exists() {
        fs::copy(BINARY, &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new(require("setpriv"));
    command.current_dir(stage.folder()).args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(program);
    command
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_users_file_in_a_folder_of_others_is_served_and_followed_and_only_changes_to_it_fail() {
    let stage = ServerDir::without_files();
    // As Kubernetes mounts a Secret: the file is a link into a directory that is replaced as a whole.
    let versions = [alice() + BOB_APR1, alice()];
    for (version, content) in ["etc/..1", "etc/..2"].into_iter().zip(versions) {
        fs::create_dir_all(stage.path(version)).unwrap();
        fs::write(stage.path(version).join("htpasswd"), content).unwrap();
    }
    symlink("..1", stage.path("etc/..data")).unwrap();
    symlink("..data/htpasswd", stage.path("etc/htpasswd")).unwrap();
    stage.configure("[auth]\nhtpasswd = \"etc/htpasswd\"");

    let command = |arguments: &[&str]| {
        let mut command = unprivileged(&stage);
        command.args(arguments);
        command
    };
    let checked = command(&["check"]).output().unwrap();
    let output = String::from_utf8(checked.stderr).unwrap();
    assert!(checked.status.success() && output.contains("ok: "), "{output}");
    assert!(
        output.contains("warning: users file etc/htpasswd: users and passwords cannot be changed here"),
        "{output}"
    );

    let server = stage.start_as(command(&["serve"]));
    for _ in 0..2 {
        assert!(signs_in(&server, &ALICE) && signs_in(&server, &BOB));
    }
    assert_eq!(server.log().matches("weak password hashes stay").count(), 1, "{}", server.log());
    let removal = command(&["user", "remove", "bob"]).output().unwrap();
    let output = String::from_utf8(removal.stderr).unwrap();
    assert!(!removal.status.success() && output.contains("cannot be written"), "{output}");
    assert!(output.contains("hint: the folder must be writable"), "{output}");

    symlink("..2", stage.path("etc/..data_tmp")).unwrap();
    fs::rename(stage.path("etc/..data_tmp"), stage.path("etc/..data")).unwrap();
    fs::remove_dir_all(stage.path("etc/..1")).unwrap();
    assert!(eventually(Duration::from_secs(60), || !signs_in(&server, &BOB)));
    assert!(signs_in(&server, &ALICE));
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_users_file_on_a_read_only_mount_is_served() {
    let stage = ServerDir::without_files();
    fs::create_dir(stage.path("etc")).unwrap();
    ToolCommand::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(stage.path("etc")).run_ok();
    fs::write(stage.path("etc/htpasswd"), alice()).unwrap();
    ToolCommand::new("mount").args(["-o", "remount,ro"]).arg(stage.path("etc")).run_ok();
    stage.configure("[auth]\nhtpasswd = \"etc/htpasswd\"");
    let checked = stage.portcullis_command().arg("check").run();
    let server = std::panic::catch_unwind(|| {
        let server = stage.start();
        signs_in(&server, &ALICE)
    });
    ToolCommand::new("umount").arg(stage.path("etc")).run_ok();
    assert!(checked.is_success() && checked.stderr.contains("Read-only file system"), "{checked}");
    assert!(server.unwrap());
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_users_file_that_is_missing_and_cannot_be_made_is_found_by_check_before_serve_fails() {
    let stage = ServerDir::without_files();
    fs::create_dir(stage.path("etc")).unwrap();
    stage.configure("[auth]\nhtpasswd = \"etc/htpasswd\"");
    let checked = unprivileged(&stage).arg("check").output().unwrap();
    let output = String::from_utf8(checked.stderr).unwrap();
    assert!(output.contains("error: users file etc/htpasswd: missing, and cannot be created: etc: "), "{output}");
    assert!(!checked.status.success() && !unprivileged(&stage).arg("serve").status().unwrap().success());
}

#[test]
fn a_hash_of_an_unknown_scheme_disables_its_user_and_not_the_server() {
    let stage = ServerDir::new();
    let lines = "bob:$y$j75$abcdefgh$uMUXG79B2cFpoAYyDccUnsaH/aGTyBYMlnQidzyag01\ncarol:abNANd1rDfiNc\n";
    let users = fs::read_to_string(stage.path("htpasswd")).unwrap();
    stage.write("htpasswd", &format!("{lines}{users}"));
    let checked = stage.portcullis_command().arg("check").run_ok();
    assert!(checked.stderr.contains("warning: htpasswd:1: user bob cannot sign in: yescrypt hashes"), "{checked}");
    assert!(checked.stderr.contains("warning: htpasswd:2: user carol cannot sign in: "), "{checked}");
    let server = stage.start();
    server.assert_serving();
    assert!(!signs_in(&server, &BOB));
    server.assert_log_contains("the user of this line cannot sign in path=htpasswd line=1 user=bob");

    let bob = format!("bob:{}\n", bcrypt::hash(BOB.password, 4).unwrap());
    stage.write("htpasswd", &format!("{users}{bob}"));
    assert!(eventually(Duration::from_secs(60), || signs_in(&server, &BOB)));
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_password_in_another_encoding_than_utf_8_signs_in_as_it_does_at_nginx() {
    let stage = ServerDir::new();
    let password = b"p\xe4ssw\xf6rd";
    let line = ToolCommand::new("htpasswd")
        .args(["-nbB", "-C", "5", "latin"])
        .arg(OsStr::from_bytes(password))
        .run_ok()
        .stdout;
    stage.write("htpasswd", line.trim());
    let server = stage.start();
    let status = |password: &[u8]| {
        let pair = BASE64_STANDARD.encode([b"latin:", password].concat());
        server.request("GET", "/v2/", &[&format!("Authorization: Basic {pair}")], b"").status
    };
    assert_eq!(
        (status(password), status(b"p\xe4ssw\xf7rd"), status("p\u{fffd}ssw\u{fffd}rd".as_bytes())),
        (200, 401, 401)
    );
}
