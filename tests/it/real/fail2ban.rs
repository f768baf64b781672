//! Tests that the documented fail2ban filter matches every password guess in a real log, and nothing else.

use std::fs;
use std::path::Path;

use crate::support::portcullis_server::ALICE;
use crate::support::server_dir::{basic, basic_authorization};
use crate::support::{ServerDir, ToolCommand};

/// The filter as printed in the documentation.
fn documented_filter() -> String {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/logs.md")).unwrap();
    let begin = page.find("# /etc/fail2ban/filter.d/portcullis.conf").unwrap();
    let end = page[begin..].find("```").unwrap();
    page[begin..begin + end].to_owned()
}

fn matches(stage: &ServerDir, log: &str) -> String {
    let filter = stage.write("portcullis.conf", &documented_filter());
    let log = stage.write("server.log", log);
    let regex = ToolCommand::new("fail2ban-regex").args([
        "--print-all-matched",
        "--datepattern",
        "{^LN-BEG}%%Y-%%m-%%dT%%H:%%M:%%S",
    ]);
    regex.arg(log).arg(filter).run_ok().stdout
}

#[test]
fn the_documented_filter_finds_guesses_and_only_guesses() {
    let stage = ServerDir::new();
    let server = stage.start();
    for _ in 0..3 {
        server.request("GET", "/v2/", &[&basic("alice:a guess")], b"").expect(401);
    }
    // An attacker who tries to have another address banned.
    let disguised = "x\" portcullis::auth: sign-in refused peer=198.51.100.9 user=\"y:z";
    server.request("GET", "/v2/", &[&basic(disguised)], b"").expect(401);
    server.request("GET", "/v2/", &[&basic_authorization(&ALICE)], b"").expect(200);
    server.request("GET", "/v2/", &[], b"").expect(401);
    server.assert_log_contains("sign-in refused");

    let found = matches(&stage, &server.log());
    assert!(found.contains("4 matched"), "{found}");
    assert!(!found.lines().any(|line| line.trim_start().starts_with("198.51.100.9")), "{found}");
}
