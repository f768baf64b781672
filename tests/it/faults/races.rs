//! Tests concurrent requests for the same resource.

use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::{assert_pulls, push_blob};
use crate::support::oci_layout::{digest, random_bytes};
use crate::support::portcullis_server::ALICE;
use crate::support::server_dir::basic_authorization;
use crate::support::wire_connection::request;
use crate::support::{PortcullisServer, ServerDir, eventually};

const MANIFEST: &str = "Content-Type: application/vnd.oci.image.manifest.v1+json";

fn image_of(layer: &str, size: usize) -> Vec<u8> {
    let entry =
        |digest: &str, size: usize| json!({"mediaType": "application/octet-stream", "digest": digest, "size": size});
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let config = entry(&digest(b"{}"), 2);
    json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [entry(layer, size)]})
        .to_string()
        .into_bytes()
}

#[test]
fn a_pull_that_began_is_right_to_its_last_byte_although_the_blob_is_deleted_and_collected() {
    let stage = ServerDir::new();
    stage.configure("[registry.gc]\ninterval = \"1s\"\ngrace = \"1s\"\ntrash = \"0s\"");
    let server = stage.start();
    let content = random_bytes(24 << 20);
    let blob = push_blob(&server, "a", &content);
    let path = format!("/v2/a/blobs/{blob}");
    let mut pulling = server.connect();
    pulling.send(&request("GET", &path, &[&basic_authorization(&ALICE)], b""));
    let mut received = pulling.read_some(64 << 10).expect("the pull should begin");

    server.request_as_alice("DELETE", &path, &[], b"").expect(202);
    let places = ["data/docker/registry/v2/blobs/sha256", "data/portcullis/trash/sha256"];
    let is_gone =
        || places.iter().all(|place| fs::read_dir(stage.path(place)).map_or(true, |mut found| found.next().is_none()));
    assert!(eventually(Duration::from_secs(20), is_gone), "its bytes should be gone from the disk");
    server.request_as_alice("GET", &path, &[], b"").expect_registry_error(404, "BLOB_UNKNOWN");

    let body = received.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    while received.len() < body + content.len() {
        received.extend(pulling.read_some(1).expect("the pull should go on"));
    }
    assert!(received[body..] == content, "every byte should be right");
}

#[test]
fn of_many_who_move_one_tag_at_once_one_wins_and_is_there_whole() {
    let stage = ServerDir::new();
    let server = stage.start();
    push_blob(&server, "a", b"{}");
    for _ in 0..5 {
        let images: Vec<Vec<u8>> = (0..6)
            .map(|_| {
                let layer = random_bytes(10_000);
                image_of(&push_blob(&server, "a", &layer), layer.len())
            })
            .collect();
        thread::scope(|threads| {
            for image in &images {
                let server = &server;
                threads.spawn(move || {
                    server.request_as_alice("PUT", "/v2/a/manifests/latest", &[MANIFEST], image).expect(201)
                });
            }
        });
        let winner = server.request_as_alice("GET", "/v2/a/manifests/latest", &[], b"").expect(200);
        assert!(images.contains(&winner.body), "the tag should mean one of them");
        assert_eq!(winner.header("docker-content-digest"), Some(digest(&winner.body).as_str()));
        for image in &images {
            let path = format!("/v2/a/manifests/{}", digest(image));
            assert!(
                server.request_as_alice("GET", &path, &[], b"").expect(200).body == *image,
                "all of them are there"
            );
        }
    }
    let tags = server.request_as_alice("GET", "/v2/a/tags/list", &[], b"").expect(200).json();
    assert_eq!(tags["tags"], json!(["latest"]));
}

/// Pushes a blob and deletes it concurrently, over and over.
fn push_against_deletion(server: &PortcullisServer, content: &[u8]) {
    let blob = digest(content);
    thread::scope(|threads| {
        threads.spawn(|| {
            for _ in 0..30 {
                push_blob(server, "a", content);
            }
        });
        threads.spawn(|| {
            for _ in 0..30 {
                let answer = server.request_as_alice("DELETE", &format!("/v2/a/blobs/{blob}"), &[], b"");
                assert!(matches!(answer.status, 202 | 404), "{answer}");
            }
        });
        threads.spawn(|| {
            for _ in 0..30 {
                let answer = server.request_as_alice("GET", &format!("/v2/a/blobs/{blob}"), &[], b"");
                assert!(answer.status == 404 || answer.body == content, "{answer}");
            }
        });
    });
}

#[test]
fn a_blob_that_is_pushed_while_it_is_deleted_is_there_whole_or_not_and_can_be_pushed_again() {
    let stage = ServerDir::new();
    let server = stage.start();
    let content = random_bytes(50_000);
    push_against_deletion(&server, &content);
    let blob = push_blob(&server, "a", &content);
    assert_pulls(&server, "a", &blob, &content);
}
