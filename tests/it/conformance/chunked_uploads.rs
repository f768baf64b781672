//! Tests chunked uploads: chunks must come in order, and a refused chunk leaves the upload intact.

use super::{ALGORITHMS, ConformanceServer, begin, blob, check_stored, chunk, close, counting, sha256};
use crate::support::registry_client::{ClientResponse, RegistryClient};

#[test]
fn chunks_are_202_with_a_new_location_and_the_range_so_far() {
    let registry = ConformanceServer::start();
    let (alice, bytes) = (&registry.alice, counting(2048));
    for digest_of in ALGORITHMS {
        let first = chunk(alice, &begin(alice), "0-1023", &bytes[..1024]).expect(202);
        assert_eq!(first.header("range"), "0-1023");
        let second = chunk(alice, &first, "1024-2047", &bytes[1024..]).expect(202);
        assert_eq!(second.header("range"), "0-2047");
        check_stored(alice, close(alice, &second, &digest_of(&bytes)), &bytes, &digest_of(&bytes));
    }
}

#[test]
fn a_content_range_with_a_unit_is_understood_as_well() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    let first = chunk(alice, &begin(alice), "bytes 0-3/8", b"half").expect(202);
    let second = chunk(alice, &first, "bytes=4-7", b"half").expect(202);
    close(alice, &second, &sha256(b"halfhalf")).expect(201);
}

#[test]
fn the_last_chunk_may_be_shorter_also_when_it_is_the_only_one() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    for digest_of in ALGORITHMS {
        let bytes = counting(1100);
        let first = chunk(alice, &begin(alice), "0-999", &bytes[..1000]).expect(202);
        let last = chunk(alice, &first, "1000-1099", &bytes[1000..]).expect(202);
        check_stored(alice, close(alice, &last, &digest_of(&bytes)), &bytes, &digest_of(&bytes));

        let only = chunk(alice, &begin(alice), "0-0", b"x").expect(202);
        assert_eq!(only.header("range"), "0-0");
        check_stored(alice, close(alice, &only, &digest_of(b"x")), b"x", &digest_of(b"x"));
    }
}

#[test]
fn the_closing_put_may_carry_the_last_chunk_with_a_content_range_or_without() {
    let registry = ConformanceServer::start();
    let (alice, bytes) = (&registry.alice, counting(1500));
    for digest_of in ALGORITHMS {
        let digest = digest_of(&bytes);
        for range in [None, Some("1000-1499")] {
            let first = chunk(alice, &begin(alice), "0-999", &bytes[..1000]).expect(202);
            let mut put = alice.put(&first.location_with(&format!("digest={digest}"))).body(&bytes[1000..]);
            if let Some(range) = range {
                put = put.header("content-range", range);
            }
            check_stored(alice, put.send(), &bytes, &digest);
        }
    }
}

/// Sends a valid chunk of 1000 bytes, then `wrong`, which must be answered with 416, and then completes the upload.
fn assert_upload_survives(wrong: impl Fn(&RegistryClient, &ClientResponse, &str) -> ClientResponse) {
    let registry = ConformanceServer::start();
    let (alice, bytes) = (&registry.alice, counting(2000));
    for digest_of in ALGORITHMS {
        let digest = digest_of(&bytes);
        let first = chunk(alice, &begin(alice), "0-999", &bytes[..1000]).expect(202);
        let refused = wrong(alice, &first, &digest).expect_error(416, "RANGE_INVALID");
        assert_eq!(refused.header("range"), "0-999");
        alice.head(&blob(&digest)).send().expect(404);

        for location in [first.location().to_owned(), first.location_with(&format!("digest={digest}"))] {
            let status = alice.get(&location).send().expect(204);
            assert_eq!(status.header("range"), "0-999");
            assert_eq!(status.location(), first.location());
        }
        let status = alice.get(refused.location()).send().expect(204);
        let second = chunk(alice, &status, "1000-1999", &bytes[1000..]).expect(202);
        check_stored(alice, close(alice, &second, &digest), &bytes, &digest);
    }
}

#[test]
fn a_chunk_ahead_of_the_offset_is_416_and_the_upload_goes_on() {
    assert_upload_survives(|alice, at, _| chunk(alice, at, "1500-1999", &counting(500)));
}

#[test]
fn a_chunk_behind_the_offset_is_416_and_the_upload_goes_on() {
    assert_upload_survives(|alice, at, _| chunk(alice, at, "0-999", &counting(1000)));
}

#[test]
fn a_chunk_that_overlaps_is_416_and_the_upload_goes_on() {
    assert_upload_survives(|alice, at, _| chunk(alice, at, "999-1998", &counting(1000)));
}

#[test]
fn a_closing_put_ahead_of_the_offset_is_416_and_the_upload_goes_on() {
    assert_upload_survives(|alice, at, digest| {
        let put = alice.put(&at.location_with(&format!("digest={digest}")));
        put.header("content-range", "1500-1999").body(&counting(500)).send()
    });
}

#[test]
fn a_closing_put_behind_the_offset_is_416_and_the_upload_goes_on() {
    assert_upload_survives(|alice, at, digest| {
        let put = alice.put(&at.location_with(&format!("digest={digest}")));
        put.header("content-range", "0-999").body(&counting(1000)).send()
    });
}

#[test]
fn a_first_chunk_that_does_not_begin_at_zero_is_416() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    let begun = begin(alice);
    chunk(alice, &begun, "1-4", b"late").expect_error(416, "RANGE_INVALID");
    let sent = chunk(alice, &begun, "0-3", b"then").expect(202);
    close(alice, &sent, &sha256(b"then")).expect(201);
}

#[test]
fn a_chunk_of_another_length_than_its_range_is_400_and_the_upload_goes_on() {
    let registry = ConformanceServer::start();
    let (alice, bytes) = (&registry.alice, counting(1000));
    for digest_of in ALGORITHMS {
        let begun = begin(alice);
        chunk(alice, &begun, "0-999", &bytes[..999]).expect_error(400, "SIZE_INVALID");
        let longer = alice.patch(begun.location()).header("content-range", "0-9").chunked_body(&[&bytes]).send();
        longer.expect_error(400, "SIZE_INVALID");
        let shorter =
            alice.patch(begun.location()).header("content-range", "0-999").chunked_body(&[&bytes[..9]]).send();
        shorter.expect_error(400, "SIZE_INVALID");
        assert_eq!(alice.get(begun.location()).send().expect(204).header("range"), "0-0");
        let sent = chunk(alice, &begun, "0-999", &bytes).expect(202);
        check_stored(alice, close(alice, &sent, &digest_of(&bytes)), &bytes, &digest_of(&bytes));
    }
}
