//! Tests range requests on a blob of 2048 bytes.

use super::{ALGORITHMS, ConformanceServer, NAME, blob, counting, push_blob};

const SIZE: usize = 2048;

/// Requests `range` of the blob, in both digest algorithms.
fn for_each_digest(range: &str, check: impl Fn(&crate::support::registry_client::ClientResponse)) {
    let registry = ConformanceServer::start();
    for digest_of in ALGORITHMS {
        let bytes = counting(SIZE);
        let digest = digest_of(&bytes);
        push_blob(&registry.alice, NAME, &bytes, &digest);
        let answer = registry.alice.get(&blob(&digest)).header("range", range).send();
        assert_eq!(answer.status.is_success(), answer.optional_header("docker-content-digest") == Some(&digest));
        check(&answer);
    }
}

fn assert_partial(range: &str, first: usize, last: usize) {
    for_each_digest(range, |answer| {
        assert_eq!(answer.status.as_u16(), 206, "{answer}");
        assert_eq!(answer.header("content-range"), format!("bytes {first}-{last}/{SIZE}"));
        assert_eq!(answer.header("content-length"), (last - first + 1).to_string());
        assert_eq!(answer.body, counting(SIZE)[first..=last]);
    });
}

fn assert_unsatisfiable(range: &str) {
    for_each_digest(range, |answer| {
        assert_eq!((answer.status.as_u16(), answer.first_error_code().as_str()), (416, "RANGE_INVALID"), "{answer}");
        assert_eq!(answer.header("content-range"), format!("bytes */{SIZE}"));
    });
}

#[test]
fn a_range_in_the_middle_is_206() {
    assert_partial("bytes=500-1499", 500, 1499);
}

#[test]
fn an_open_range_goes_to_the_end() {
    assert_partial("bytes=500-", 500, 2047);
}

#[test]
fn a_suffix_is_the_last_bytes() {
    assert_partial("bytes=-500", 1548, 2047);
}

#[test]
fn a_suffix_longer_than_the_blob_is_the_whole_of_it() {
    assert_partial("bytes=-5000", 0, 2047);
}

#[test]
fn a_range_that_ends_late_is_clamped() {
    assert_partial("bytes=2000-5000", 2000, 2047);
    assert_partial("bytes=0-99999999999999999999", 0, 2047);
}

#[test]
fn a_range_that_ends_before_it_begins_is_416() {
    assert_unsatisfiable("bytes=500-0");
}

#[test]
fn a_range_beyond_the_end_is_416() {
    assert_unsatisfiable("bytes=5000-10000");
    assert_unsatisfiable("bytes=2048-");
}

#[test]
fn several_ranges_or_another_unit_are_answered_with_the_whole() {
    for range in ["bytes=0-1,5-6", "lines=1-2"] {
        for_each_digest(range, |answer| {
            assert_eq!(answer.status.as_u16(), 200, "{answer}");
            assert_eq!(answer.body, counting(SIZE));
        });
    }
}

#[test]
fn a_range_of_another_version_is_answered_with_the_whole() {
    let registry = ConformanceServer::start();
    let bytes = counting(SIZE);
    for digest_of in ALGORITHMS {
        let digest = digest_of(&bytes);
        push_blob(&registry.alice, NAME, &bytes, &digest);
        let ask =
            |tag: &str| registry.alice.get(&blob(&digest)).header("range", "bytes=0-9").header("if-range", tag).send();
        assert_eq!(ask("\"other\"").expect(200).body, bytes);
        assert_eq!(ask(&format!("\"{digest}\"")).expect(206).body, bytes[..10]);
    }
}
