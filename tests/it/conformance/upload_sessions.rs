//! Tests upload sessions: which user and repository they belong to, and concurrent writes to them.

use std::path::PathBuf;
use std::thread;

use tokio::sync::mpsc;

use super::{ALGORITHMS, ConformanceServer, NAME, OTHER, UPLOADS, begin, blob, counting, sha256};
use crate::support::eventually;
use crate::support::portcullis_server::ALICE;
use crate::support::registry_client::{ClientResponse, RegistryClient};
use crate::support::server_dir::basic_authorization;
use crate::support::wire_connection::head;

impl ConformanceServer {
    /// The file into which the server writes the bytes of an upload.
    fn upload_data(&self, begun: &ClientResponse) -> PathBuf {
        let id = begun.location().rsplit('/').next().unwrap();
        self.server.data().join(format!("docker/registry/v2/repositories/{NAME}/_uploads/{id}/data"))
    }
}

/// Asserts that every request to an upload is answered as for an unknown one, and changes nothing.
fn assert_unknown(client: &RegistryClient, location: &str) {
    let closing = format!("{location}?digest={}", sha256(b"mine"));
    let unknown = |answer: ClientResponse| answer.expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    unknown(client.get(location).send());
    unknown(client.patch(location).chunked_body(&[b"more"]).send());
    unknown(client.patch(location).header("content-range", "4-7").body(b"more").send());
    unknown(client.put(&closing).body(b"").send());
    unknown(client.delete(location).send());
}

#[test]
fn the_upload_of_another_user_is_unknown() {
    let registry = ConformanceServer::start();
    let sent = registry.alice.patch(begin(&registry.alice).location()).chunked_body(&[b"mine"]).send().expect(202);
    assert_unknown(&registry.bob_client(), sent.location());
    let closing = sent.location_with(&format!("digest={}", sha256(b"mine")));
    registry.alice.put(&closing).send().expect(201);
}

#[test]
fn a_closing_request_that_is_repeated_because_its_response_was_lost_is_answered_as_before() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    let sent = alice.patch(begin(alice).location()).chunked_body(&[b"mine"]).send().expect(202);
    let closing = sent.location_with(&format!("digest={}", sha256(b"mine")));
    let first = alice.put(&closing).send().expect(201);
    let repeated = alice.put(&closing).send().expect(201);
    assert_eq!(repeated.location(), first.location());
    assert_eq!(repeated.header("docker-content-digest"), first.header("docker-content-digest"));
    // With another digest, or in another repository, it is the closing request of an unknown upload.
    alice.put(&sent.location_with(&format!("digest={}", sha256(b"other")))).send().expect(404);
    alice.put(&closing.replace(NAME, OTHER)).send().expect(404);
}

#[test]
fn the_upload_of_another_repository_is_unknown() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    let sent = alice.patch(begin(alice).location()).chunked_body(&[b"mine"]).send().expect(202);
    assert_unknown(alice, &sent.location().replace(NAME, OTHER));
    alice.put(&sent.location_with(&format!("digest={}", sha256(b"mine")))).send().expect(201);
}

#[test]
fn an_upload_that_never_was_is_unknown() {
    let registry = ConformanceServer::start();
    for id in ["00000000-0000-4000-8000-000000000000", "nothing", "..", "%2e%2e"] {
        let answer = registry.alice.get(&format!("{UPLOADS}{id}")).send();
        assert!(matches!(answer.status.as_u16(), 400 | 404 | 405), "{answer}");
    }
    assert_unknown(&registry.alice, &format!("{UPLOADS}00000000-0000-4000-8000-000000000000"));
}

#[test]
fn an_upload_is_the_users_whatever_token_they_show() {
    let registry = ConformanceServer::start();
    let begun = begin(&registry.alice);
    let again = registry.alice.with_token_for(&["repository:team/app:push"]);
    let sent = again.patch(begun.location()).chunked_body(&[b"mine"]).send().expect(202);
    let closing = sent.location_with(&format!("digest={}", sha256(b"mine")));
    registry.alice.with_basic_authorization().put(&closing).send().expect(201);
}

#[test]
fn who_comes_while_an_upload_is_being_written_is_told_416_and_where_it_is() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    let bytes = counting(300_000);
    for digest_of in ALGORITHMS {
        let begun = begin(alice);
        let (pieces, arriving) = mpsc::unbounded_channel();
        thread::scope(|threads| {
            let first = threads.spawn(|| alice.patch(begun.location()).streamed_body(arriving).send());
            pieces.send(bytes[..1000].to_vec()).unwrap();
            let in_time = eventually(|| registry.upload_data(&begun).exists());
            assert!(in_time, "the first should have begun");
            let patch = alice.patch(begun.location()).body(b"second").send();
            let put = alice.put(&begun.location_with(&format!("digest={}", digest_of(&bytes)))).body(&bytes).send();
            let delete = alice.delete(begun.location()).send();
            for refused in [patch, put, delete] {
                let refused = refused.expect_error(416, "RANGE_INVALID");
                assert_eq!(refused.location(), begun.location(), "where to ask again");
                assert_eq!(refused.header("range"), "0-0", "what is durable, which is nothing yet");
            }
            pieces.send(bytes[1000..].to_vec()).unwrap();
            drop(pieces);
            assert_eq!(first.join().unwrap().expect(202).header("range"), "0-299999");
        });
        let closing = begun.location_with(&format!("digest={}", digest_of(&bytes)));
        alice.put(&closing).body(b"").send().expect(201);
        assert_eq!(alice.get(&blob(&digest_of(&bytes))).send().expect(200).body, bytes);
    }
}

#[test]
fn the_upload_of_another_is_unknown_also_while_it_is_being_written() {
    let registry = ConformanceServer::start();
    let (alice, bob) = (&registry.alice, registry.bob_client());
    let begun = begin(alice);
    let (pieces, arriving) = mpsc::unbounded_channel();
    thread::scope(|threads| {
        let first = threads.spawn(|| alice.patch(begun.location()).streamed_body(arriving).send());
        pieces.send(b"mine".to_vec()).unwrap();
        let in_time = eventually(|| registry.upload_data(&begun).exists());
        assert!(in_time, "the first should have begun");
        assert_unknown(&bob, begun.location());
        drop(pieces);
        first.join().unwrap().expect(202);
    });
}

#[test]
fn many_patches_at_once_never_mix_their_bytes() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    let begun = begin(alice);
    let taken: Vec<Vec<u8>> = thread::scope(|threads| {
        let writers: Vec<_> = (0_u8..8)
            .map(|mark| {
                let location = begun.location();
                threads.spawn(move || {
                    let bytes = vec![mark; 50_000];
                    let request = alice.patch(location).header("content-range", "0-49999").body(&bytes);
                    let answer = request.send();
                    assert!(matches!(answer.status.as_u16(), 202 | 416), "{answer}");
                    (answer.status.as_u16() == 202).then_some(bytes)
                })
            })
            .collect();
        writers.into_iter().filter_map(|writer| writer.join().unwrap()).collect()
    });
    assert_eq!(taken.len(), 1, "all of them claim the same place");
    let digest = sha256(&taken[0]);
    alice.put(&begun.location_with(&format!("digest={digest}"))).send().expect(201);
}

#[test]
fn the_same_blob_may_be_uploaded_by_several_at_once() {
    let registry = ConformanceServer::start();
    let bytes = counting(400_000);
    for digest_of in ALGORITHMS {
        let digest = digest_of(&bytes);
        thread::scope(|threads| {
            for client in [registry.alice.clone(), registry.bob_client(), registry.alice.clone(), registry.bob_client()]
            {
                let (bytes, digest) = (&bytes, &digest);
                threads.spawn(move || super::push_blob(&client, NAME, bytes, digest));
            }
        });
        assert_eq!(registry.alice.get(&blob(&digest)).send().expect(200).body, bytes);
    }
}

#[test]
fn what_arrived_of_a_patch_that_broke_off_is_kept() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    let bytes = counting(200_000);
    let (length, range) = (format!("Content-Length: {}", bytes.len()), format!("150000-{}", bytes.len() - 1));
    for digest_of in ALGORITHMS {
        let begun = begin(alice);
        let mut wire = registry.server.connect();
        wire.send(head("PATCH", begun.location(), &[&basic_authorization(&ALICE), &length]).as_bytes());
        wire.send(&bytes[..150_000]);
        wire.disconnect();
        // Until the server has written what arrived and noticed the end, the rest has no place yet.
        let mut sent = None;
        let goes_on = eventually(|| {
            let rest = alice.patch(begun.location()).header("content-range", &range).body(&bytes[150_000..]).send();
            let is_early = rest.status.as_u16() == 416;
            sent = Some(rest);
            !is_early
        });
        assert!(goes_on, "all that arrived should be kept: {}", alice.get(begun.location()).send());
        let closing = sent.unwrap().expect(202).location_with(&format!("digest={}", digest_of(&bytes)));
        alice.put(&closing).body(b"").send().expect(201);
    }
}
