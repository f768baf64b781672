//! SIGKILL in the middle of things: no farewell, no flush, and afterwards nothing is half there.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use super::{begin_upload, pulls, push_blob};
use crate::support::image::{digest, random};
use crate::support::portcullis::ALICE;
use crate::support::stage::authorization;
use crate::support::wire::{head, request};
use crate::support::{Running, Stage};

const MANIFEST: &str = "Content-Type: application/vnd.oci.image.manifest.v1+json";

fn kill(mut server: Running<'_>) {
    server.daemon.signal(Signal::KILL);
    assert!(server.daemon.ends_within(Duration::from_secs(5)).is_some());
}

fn manifest_of(config: &str, number: usize) -> Vec<u8> {
    let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2});
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let annotations = json!({"number": number.to_string()});
    let document = json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [], "annotations": annotations});
    document.to_string().into_bytes()
}

/// Every blob below the folder has the digest that its path says.
fn all_blobs_are_whole(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all_blobs_are_whole(&path);
        } else {
            let hex = path.parent().unwrap().file_name().unwrap().to_str().unwrap();
            assert_eq!(digest(&fs::read(&path).unwrap()), format!("sha256:{hex}"));
        }
    }
}

#[test]
fn a_kill_in_the_middle_of_an_upload_loses_nothing_that_was_acknowledged() {
    let stage = Stage::new();
    let server = stage.start();
    let content = random(4 << 20);
    let (alice, digest) = (authorization(&ALICE), digest(&content));
    let upload = begin_upload(&server, "a");
    server.alice("PATCH", &upload, &[], &content[..1 << 20]).expect(202);
    let mut chunk = server.open();
    chunk.send(head("PATCH", &upload, &[&alice, &format!("Content-Length: {}", 3 << 20)]).as_bytes());
    chunk.send(&content[1 << 20..3 << 20]);
    let mut whole = server.open();
    whole.send(
        head(
            "POST",
            &format!("/v2/b/blobs/uploads/?digest={digest}"),
            &[&alice, &format!("Content-Length: {}", 4 << 20)],
        )
        .as_bytes(),
    );
    whole.send(&content[..3 << 20]);
    std::thread::sleep(Duration::from_millis(100));
    kill(server);

    let server = stage.start();
    for repository in ["a", "b"] {
        server
            .alice("GET", &format!("/v2/{repository}/blobs/{digest}"), &[], b"")
            .expect_registry_error(404, "BLOB_UNKNOWN");
    }
    let offset = server.alice("GET", &upload, &[], b"").expect(204).offset();
    assert!((1 << 20..=3 << 20).contains(&offset), "between what was acknowledged and what was sent: {offset}");
    let range = format!("Content-Range: {offset}-{}", content.len() - 1);
    server.alice("PATCH", &upload, &[&range], &content[offset..]).expect(202);
    server.alice("PUT", &format!("{upload}?digest={digest}"), &[], b"").expect(201);
    pulls(&server, "a", &digest, &content);
    assert_eq!(push_blob(&server, "b", &content), digest);
}

#[test]
fn a_kill_at_any_moment_of_a_push_leaves_old_or_new() {
    let stage = Stage::new();
    let mut acknowledged: Option<Vec<u8>> = None;
    for round in 0..8_usize {
        let server = stage.start();
        let config = push_blob(&server, "a", b"{}");
        // What was acknowledged before the kill is there after it.
        if let Some(document) = &acknowledged {
            let current = server.alice("GET", "/v2/a/manifests/latest", &[], b"").expect(200).body;
            assert!(&current == document || acknowledged_or_newer(&current, document), "round {round}");
        }
        let mut wire = server.open();
        let alice = authorization(&ALICE);
        // Manifest after manifest, until the server is gone in the middle of one of them.
        let killer = server.daemon.id();
        let delay = Duration::from_millis(5 + 7 * round as u64);
        let killing = std::thread::spawn(move || {
            std::thread::sleep(delay);
            let id = rustix::process::Pid::from_raw(i32::try_from(killer).unwrap()).unwrap();
            rustix::process::kill_process(id, Signal::KILL).unwrap();
        });
        for number in 0.. {
            let document = manifest_of(&config, round * 1_000_000 + number);
            let sent = wire.try_send(&request("PUT", "/v2/a/manifests/latest", &[&alice, MANIFEST], &document));
            let Some(answer) = sent.ok().and_then(|()| wire.try_answer_to("PUT")) else { break };
            answer.expect(201);
            acknowledged = Some(document);
        }
        killing.join().unwrap();
        drop(server);
        all_blobs_are_whole(&stage.path("data/docker/registry/v2/blobs"));
    }
    let server = stage.start();
    let config = push_blob(&server, "a", b"{}");
    let document = manifest_of(&config, 0);
    server.alice("PUT", "/v2/a/manifests/latest", &[MANIFEST], &document).expect(201);
    assert!(server.alice("GET", "/v2/a/manifests/latest", &[], b"").expect(200).body == document);
}

/// The put that was in flight when the server died may have happened, and is the one after the last acknowledged.
fn acknowledged_or_newer(current: &[u8], acknowledged: &[u8]) -> bool {
    let number = |document: &[u8]| {
        let document: serde_json::Value = serde_json::from_slice(document).unwrap();
        document["annotations"]["number"].as_str().unwrap().parse::<usize>().unwrap()
    };
    let (current, acknowledged) = (number(current), number(acknowledged));
    current == acknowledged + 1 || current % 1_000_000 == 0
}
