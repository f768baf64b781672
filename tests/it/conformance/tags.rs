//! Tests the tag list, `GET …/tags/list`: order and pagination.

use serde_json::json;

use super::{ConformanceServer, NAME, OTHER, image, manifest, push_blob, put, sha256};
use crate::support::registry_client::{ClientResponse, RegistryClient};

/// Unsorted; in byte order, digits come first, then upper case.
const TAGS: [&str; 6] = ["b", "a-2", "B", "a.1", "1", "a"];
const SORTED: [&str; 6] = ["1", "B", "a", "a-2", "a.1", "b"];

fn with_tags() -> ConformanceServer {
    let registry = ConformanceServer::start();
    let document = image(&registry.alice, NAME, "tags");
    for tag in TAGS {
        put(&registry.alice, NAME, tag, &document).expect(201);
    }
    registry
}

fn list(client: &RegistryClient, query: &str) -> ClientResponse {
    let answer = client.get(&format!("/v2/{NAME}/tags/list{query}")).send().expect(200);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.json()["name"], NAME);
    answer
}

fn tags(client: &RegistryClient, query: &str) -> Vec<String> {
    serde_json::from_value(list(client, query).json()["tags"].clone()).unwrap()
}

#[test]
fn tags_are_listed_in_byte_order_and_completely_without_n() {
    let registry = with_tags();
    let answer = list(&registry.alice, "");
    assert_eq!(answer.json(), json!({"name": NAME, "tags": SORTED}));
    assert!(answer.optional_header("link").is_none(), "{answer}");
}

#[test]
fn two_hundred_tags_are_one_list() {
    let registry = ConformanceServer::start();
    let document = image(&registry.alice, NAME, "two hundred");
    let digest = sha256(document.to_string().as_bytes());
    for group in (0..200).collect::<Vec<_>>().chunks(25) {
        let query: Vec<String> = group.iter().map(|number| format!("tag=t{number:04}")).collect();
        put(&registry.alice, NAME, &format!("{digest}?{}", query.join("&")), &document).expect(201);
    }
    let listed = tags(&registry.alice, "");
    assert_eq!(listed.len(), 200);
    assert!(listed.is_sorted());
}

#[test]
fn an_n_of_zero_is_an_empty_list() {
    let registry = with_tags();
    let answer = list(&registry.alice, "?n=0");
    assert_eq!(answer.json()["tags"], json!([]));
    assert!(answer.optional_header("link").is_none(), "{answer}");
}

#[test]
fn last_is_strictly_before_what_is_listed() {
    let registry = with_tags();
    assert_eq!(tags(&registry.alice, "?last=a"), SORTED[3..]);
    assert_eq!(tags(&registry.alice, "?last=a-"), SORTED[3..], "it need not be a tag");
    assert_eq!(tags(&registry.alice, "?last=b"), [""; 0]);
    assert_eq!(tags(&registry.alice, "?n=2&last=B"), SORTED[2..4]);
}

#[test]
fn a_link_leads_to_the_next_page_until_there_is_none() {
    let registry = with_tags();
    for n in 1..=7 {
        let (mut listed, mut pages, mut query) = (Vec::new(), 0, format!("?n={n}"));
        loop {
            let answer = list(&registry.alice, &query);
            let page: Vec<String> = serde_json::from_value(answer.json()["tags"].clone()).unwrap();
            assert!(!page.is_empty() && page.len() <= n, "{answer}");
            listed.extend(page);
            pages += 1;
            let Some(link) = answer.optional_header("link") else { break };
            let next = link.strip_prefix(&format!("</v2/{NAME}/tags/list")).unwrap_or_else(|| panic!("{answer}"));
            next.strip_suffix(">; rel=\"next\"").unwrap_or_else(|| panic!("{answer}")).clone_into(&mut query);
        }
        assert_eq!((listed, pages), (SORTED.map(ToOwned::to_owned).to_vec(), SORTED.len().div_ceil(n)));
    }
}

#[test]
fn an_n_of_a_billion_is_the_whole_list() {
    let registry = with_tags();
    for n in ["1000000000", "99999999999999999999999999"] {
        assert_eq!(tags(&registry.alice, &format!("?n={n}")), SORTED);
    }
}

#[test]
fn an_n_that_is_no_number_is_400() {
    let registry = with_tags();
    for n in ["-1", "many", "", "1.5", "%31x"] {
        let path = format!("/v2/{NAME}/tags/list?n={n}");
        registry.alice.get(&path).send().expect_error(400, "PAGINATION_NUMBER_INVALID");
    }
}

#[test]
fn an_unknown_repository_is_404() {
    let registry = with_tags();
    registry.alice.get(&format!("/v2/{OTHER}/tags/list")).send().expect_error(404, "NAME_UNKNOWN");
}

#[test]
fn a_repository_without_tags_has_an_empty_list() {
    let registry = ConformanceServer::start();
    let alice = &registry.alice;
    push_blob(alice, NAME, b"blob", &sha256(b"blob"));
    assert_eq!(list(alice, "").json(), json!({"name": NAME, "tags": []}));
    let document = image(alice, NAME, "untagged");
    put(alice, NAME, "gone", &document).expect(201);
    alice.delete(&manifest("gone")).send().expect(202);
    assert_eq!(list(alice, "").json(), json!({"name": NAME, "tags": []}));
}

#[test]
fn a_tag_that_was_deleted_may_be_set_again() {
    let registry = with_tags();
    let document = image(&registry.alice, NAME, "again");
    registry.alice.delete(&manifest("a")).send().expect(202);
    assert_eq!(tags(&registry.alice, "").len(), 5);
    put(&registry.alice, NAME, "a", &document).expect(201);
    assert_eq!(tags(&registry.alice, ""), SORTED);
}
