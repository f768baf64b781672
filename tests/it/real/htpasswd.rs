//! Tests that Apache's `htpasswd` and this program accept each other's users files.

use std::path::Path;
use std::time::Duration;

use crate::support::portcullis::{ALICE, cli};
use crate::support::{Portcullis, Setup, Tool, eventually};

fn apache_accepts(file: &Path, user: &str, password: &str) -> bool {
    Tool::new("htpasswd").arg("-vb").arg(file).args([user, password]).run().is_success()
}

#[test]
fn apache_accepts_what_user_add_and_passwd_write() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("htpasswd");
    let user = |verb: &str, password: &str| {
        let user = cli().folder(folder.path()).args(["user", verb, "alice", "--password-stdin", "--cost", "5"]);
        user.arg("--htpasswd").arg(&file).input(&format!("{password}\n")).succeeds()
    };
    user("add", "wonderland and back");
    assert!(apache_accepts(&file, "alice", "wonderland and back"));
    assert!(!apache_accepts(&file, "alice", "wonderland"));

    Tool::new("htpasswd").args(["-bB", "-C", "5"]).arg(&file).args(["bob", "the builder"]).succeeds();
    user("passwd", "through the mirror");
    assert!(apache_accepts(&file, "alice", "through the mirror"));
    assert!(!apache_accepts(&file, "alice", "wonderland and back"));
    assert!(apache_accepts(&file, "bob", "the builder"), "the lines of others are kept");
}

#[test]
fn whoever_apache_wrote_down_logs_in_and_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("htpasswd");
    Tool::new("htpasswd").args(["-cbB", "-C", "5"]).arg(&file).args(["carol", "sings, loudly"]).succeeds();

    let verify = |password: &str| {
        let verify = cli().folder(folder.path()).args(["user", "verify", "carol", "--password-stdin"]);
        verify.arg("--htpasswd").arg(&file).input(&format!("{password}\n"))
    };
    verify("sings, loudly").succeeds();
    verify("sings").fails().says_one_of(&["error:"]);

    let server = Setup::new().users_file(std::fs::read_to_string(&file).unwrap()).start();
    assert!(curl_signs_in(&server, "carol", "sings, loudly"));
    assert!(!curl_signs_in(&server, "carol", "sings"));
}

#[test]
fn a_user_whom_apache_adds_to_a_running_server_logs_in_within_seconds() {
    let server = Portcullis::start();
    Tool::new("htpasswd").args(["-bB", "-C", "5"]).arg(server.users()).args(["dave", "came later"]).succeeds();
    assert!(eventually(Duration::from_secs(10), || curl_signs_in(&server, "dave", "came later")));
    assert!(curl_signs_in(&server, ALICE.name, ALICE.password), "the others stay");

    Tool::new("htpasswd").arg("-D").arg(server.users()).arg("dave").succeeds();
    assert!(eventually(Duration::from_secs(10), || !curl_signs_in(&server, "dave", "came later")));
}

/// Whether `/v2/` accepts these credentials, by curl.
fn curl_signs_in(server: &Portcullis, user: &str, password: &str) -> bool {
    let curl = Tool::new("curl").args(["--silent", "--show-error", "--fail", "--cacert"]).arg(server.ca());
    let curl = curl.args(["--user", &format!("{user}:{password}")]).arg(format!("https://{}/v2/", server.local()));
    curl.run().is_success()
}
