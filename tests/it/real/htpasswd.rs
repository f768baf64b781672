//! Tests that Apache's `htpasswd` and this program accept each other's users files.

use std::path::Path;
use std::time::Duration;

use crate::support::portcullis_server::{ALICE, portcullis_command};
use crate::support::{PortcullisServer, ServerDir, ToolCommand, eventually};

fn apache_accepts(file: &Path, user: &str, password: &str) -> bool {
    ToolCommand::new("htpasswd").arg("-vb").arg(file).args([user, password]).run().is_success()
}

#[test]
fn apache_accepts_what_user_add_and_passwd_write() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("htpasswd");
    let user = |verb: &str, password: &str| {
        let user =
            portcullis_command().folder(folder.path()).args(["user", verb, "alice", "--password-stdin", "--cost", "5"]);
        user.arg("--htpasswd").arg(&file).input(&format!("{password}\n")).run_ok()
    };
    user("add", "wonderland and back");
    assert!(apache_accepts(&file, "alice", "wonderland and back"));
    assert!(!apache_accepts(&file, "alice", "wonderland"));

    ToolCommand::new("htpasswd").args(["-bB", "-C", "5"]).arg(&file).args(["bob", "the builder"]).run_ok();
    user("passwd", "through the mirror");
    assert!(apache_accepts(&file, "alice", "through the mirror"));
    assert!(!apache_accepts(&file, "alice", "wonderland and back"));
    assert!(apache_accepts(&file, "bob", "the builder"), "the lines of others are kept");
}

#[test]
fn whoever_apache_wrote_down_logs_in_and_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("htpasswd");
    ToolCommand::new("htpasswd").args(["-cbB", "-C", "5"]).arg(&file).args(["carol", "sings, loudly"]).run_ok();

    let verify = |password: &str| {
        let verify = portcullis_command().folder(folder.path()).args(["user", "verify", "carol", "--password-stdin"]);
        verify.arg("--htpasswd").arg(&file).input(&format!("{password}\n"))
    };
    verify("sings, loudly").run_ok();
    verify("sings").run_failing().assert_prints_one_of(&["error:"]);

    let server = ServerDir::new().with_users_file(&std::fs::read_to_string(&file).unwrap()).start();
    assert!(curl_signs_in(&server, "carol", "sings, loudly"));
    assert!(!curl_signs_in(&server, "carol", "sings"));
}

#[test]
fn a_user_whom_apache_adds_to_a_running_server_logs_in_within_seconds() {
    let server = PortcullisServer::start();
    ToolCommand::new("htpasswd").args(["-bB", "-C", "5"]).arg(server.users()).args(["dave", "came later"]).run_ok();
    assert!(eventually(Duration::from_secs(10), || curl_signs_in(&server, "dave", "came later")));
    assert!(curl_signs_in(&server, ALICE.name, ALICE.password), "the others stay");

    ToolCommand::new("htpasswd").arg("-D").arg(server.users()).arg("dave").run_ok();
    assert!(eventually(Duration::from_secs(10), || !curl_signs_in(&server, "dave", "came later")));
}

/// Whether `/v2/` accepts these credentials, by curl.
fn curl_signs_in(server: &PortcullisServer, user: &str, password: &str) -> bool {
    let curl = ToolCommand::new("curl").args(["--silent", "--show-error", "--fail", "--cacert"]).arg(server.ca());
    let curl =
        curl.args(["--user", &format!("{user}:{password}")]).arg(format!("https://{}/v2/", server.localhost_address()));
    curl.run().is_success()
}
