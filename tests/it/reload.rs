//! The configuration file changes while the server runs.

use std::{fs, thread::sleep, time::Duration};

use crate::support::{Portcullis, eventually, portcullis::ALICE};

const NOBODY_PUSHES: &str = "[[access]]\nusers = [\"*\"]\nrepositories = [\"**\"]\nactions = [\"pull\"]\n";
const EVERYBODY_PUSHES: &str = "[[access]]\nusers = [\"*\"]\nrepositories = [\"**\"]\nactions = [\"pull\", \"push\"]\n";

/// Longer than a changed file takes to be seen.
const SEEN: Duration = Duration::from_secs(4);

fn may_push(server: &Portcullis) -> bool {
    let client = crate::vanish::Raw::connect(server);
    let status = client.ask(&format!("POST /v2/a/blobs/uploads/ HTTP/1.1\r\n{}", ALICE.header()), b"").status();
    assert!(matches!(status, 202 | 403), "{status}");
    status == 202
}

#[test]
fn a_configuration_file_that_vanishes_does_not_open_the_gate_for_everybody() {
    let server = Portcullis::start();
    let file = server.users().with_file_name("portcullis.toml");
    fs::write(&file, NOBODY_PUSHES).unwrap();
    let server = server.restart();
    assert!(!may_push(&server));
    fs::rename(&file, file.with_extension("away")).unwrap();
    sleep(SEEN);
    assert!(!may_push(&server), "the rules went with their file");
    assert!(server.log().contains("is gone"), "{}", server.log());
    fs::write(&file, EVERYBODY_PUSHES).unwrap();
    assert!(eventually(SEEN, || may_push(&server)), "a file that is back counts again");
}
