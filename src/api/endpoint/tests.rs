//! Tests of endpoint parsing: valid and invalid paths, and equivalent spellings of them.

use http::Method;
use proptest::prelude::*;

use super::{super::error::ErrorCode, query::MAX_TAGS, *};
use crate::oci::{Algorithm, PageRequest, RepositoryName};

const HEX: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn parse(method: &Method, target: &str) -> Result<Endpoint, ErrorCode> {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    Endpoint::parse(method, path, query).map_err(|error| error.code())
}

fn repository(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

fn on(name: &str, operation: RepositoryOperation) -> Endpoint {
    Endpoint::Registry(RegistryEndpoint::Repository { name: repository(name), operation })
}

fn pull(name: &str, operation: PullOperation) -> Endpoint {
    on(name, RepositoryOperation::Pull(operation))
}

fn start_upload(name: &str, upload: NewUpload) -> Endpoint {
    on(name, RepositoryOperation::Push(PushOperation::StartUpload(upload)))
}

fn delete_repository(name: &str) -> Endpoint {
    on(name, RepositoryOperation::Admin(AdminOperation::DeleteRepository))
}

#[test]
fn a_search_has_between_one_and_a_hundred_results() {
    for (query, limit) in [("q=a", 25), ("q=a&n=0", 1), ("q=a&n=7", 7), ("q=a&n=1000", 100), ("q=a&n=many", 25)] {
        let expected = Endpoint::Registry(RegistryEndpoint::Search(SearchQuery { text: "a".to_owned(), limit }));
        assert_eq!(parse(&Method::GET, &format!("/v1/search?{query}")), Ok(expected), "{query}");
    }
}

#[test]
fn a_repository_may_be_called_like_an_endpoint() {
    for name in ["blobs/manifests", "tags/list", "blobs/uploads", "a/blobs/uploads", "referrers", "manifests", "v2"] {
        let expected = pull(name, PullOperation::Manifest("latest".parse().unwrap()));
        assert_eq!(parse(&Method::GET, &format!("/v2/{name}/manifests/latest")), Ok(expected));
        let expected = pull(name, PullOperation::Tags(PageRequest::default()));
        assert_eq!(parse(&Method::GET, &format!("/v2/{name}/tags/list")), Ok(expected));
        let expected = start_upload(name, NewUpload::Session(Algorithm::Sha256));
        assert_eq!(parse(&Method::POST, &format!("/v2/{name}/blobs/uploads/")), Ok(expected));
    }
}

#[test]
fn a_name_that_climbs_is_no_name_however_it_is_written() {
    let encoded =
        ["%2e%2e", "a/%2e%2e/b", "a%2F..%2Fb", "%2E./b", "%41", "a%2F%2fb", "%2fa", "a%2f", "%00", "%ff", "a%", "a%2"];
    for path in ["..", "a/../b", "A", "a//b", "", "/"].into_iter().chain(encoded) {
        let target = format!("/v2/{path}/manifests/latest");
        assert_eq!(parse(&Method::GET, &target), Err(ErrorCode::NameInvalid), "{target}");
    }
}

#[test]
fn a_repository_is_removed_by_its_name_alone() {
    for name in ["a", "team/app", "blobs/uploads", "a/manifests/latest"] {
        let expected = delete_repository(name);
        for slash in ["", "/"] {
            assert_eq!(parse(&Method::DELETE, &format!("/v1/repositories/{name}{slash}")), Ok(expected.clone()));
        }
    }
}

#[test]
fn no_path_below_v2_removes_a_repository_whatever_part_of_it_is_empty() {
    for path in ["", "a", "a/", "a/manifests/", "a/blobs/", "a/tags/list", "a/manifests", "//", "a//"] {
        assert!(parse(&Method::DELETE, &format!("/v2/{path}")).is_err(), "{path}");
    }
}

#[test]
fn what_http_libraries_encode_is_decoded() {
    let blob = pull("team/app", PullOperation::Blob(format!("sha256:{HEX}").parse().unwrap()));
    let tag = pull("team/app", PullOperation::Manifest("1.0".parse().unwrap()));
    let mount = NewUpload::Mount(format!("sha256:{HEX}").parse().unwrap(), MountSource::Named(repository("a/b")));
    for (method, target, expected) in [
        (Method::GET, format!("/v2/team/app/blobs/sha256%3A{HEX}"), blob.clone()),
        (Method::GET, format!("/v2/team%2Fapp/blobs/sha256%3a{HEX}"), blob),
        (Method::GET, "/v2/team%2fapp/manifests/1%2E0".to_owned(), tag.clone()),
        (Method::GET, "/%76%32%2Fteam/app%2Fmanifests%2f1.0".to_owned(), tag),
        (Method::GET, "/v2%2F".to_owned(), Endpoint::Registry(RegistryEndpoint::VersionCheck)),
        (
            Method::GET,
            "/v2/%5Fcatalog".to_owned(),
            Endpoint::Registry(RegistryEndpoint::Catalog(PageRequest::default())),
        ),
        (Method::GET, "/%74oken".to_owned(), Endpoint::Token),
        (Method::DELETE, "/v1/repositories/a%2fb".to_owned(), delete_repository("a/b")),
        (Method::POST, format!("/v2/c/blobs/uploads/?mount=sha256%3A{HEX}&from=a%2Fb"), start_upload("c", mount)),
    ] {
        assert_eq!(parse(&method, &target), Ok(expected), "{target}");
    }
}

#[test]
fn what_is_encoded_twice_is_no_name_no_tag_and_no_digest() {
    for (method, target, code) in [
        (Method::GET, "/v2/team%252Fapp/tags/list", ErrorCode::NameInvalid),
        (Method::GET, "/v2/%252e%252e/tags/list", ErrorCode::NameInvalid),
        (Method::GET, "/v2/a/manifests/1%252E0", ErrorCode::ManifestUnknown),
        (Method::PUT, "/v2/a/manifests/1%252E0", ErrorCode::TagInvalid),
        (Method::GET, &format!("/v2/a/blobs/sha256%253A{HEX}"), ErrorCode::DigestInvalid),
        (Method::POST, &format!("/v2/a/blobs/uploads/?mount=sha256%253A{HEX}"), ErrorCode::DigestInvalid),
        (Method::POST, &format!("/v2/a/blobs/uploads/?digest=sha256%253A{HEX}"), ErrorCode::DigestInvalid),
        (Method::GET, "/v2%252F", ErrorCode::NameUnknown),
        (Method::GET, "/%2574oken", ErrorCode::NameUnknown),
        (Method::DELETE, "/v1/repositories/a%252fb", ErrorCode::NameInvalid),
    ] {
        assert_eq!(parse(&method, target), Err(code), "{target}");
    }
}

#[test]
fn a_slash_in_a_tag_or_an_upload_is_the_next_part_of_the_path() {
    let upload = "2d5c1f58-6ee2-4d0e-95b3-0be7e5b2ea44";
    for plain in [
        "/v2/a/manifests/x/y".to_owned(),
        "/v2/a/manifests/x/manifests/y".to_owned(),
        format!("/v2/a/blobs/uploads/{upload}/blobs/uploads/{upload}"),
        "/v2/a/manifests/../tags/list".to_owned(),
    ] {
        let (head, last) = plain.rsplit_once('/').unwrap();
        assert_eq!(parse(&Method::GET, &format!("{head}%2F{last}")), parse(&Method::GET, &plain), "{plain}");
    }
}

#[test]
fn a_reference_that_cannot_be_a_tag_is_an_unknown_manifest_unless_it_is_put() {
    for reference in [".INVALID_MANIFEST_NAME", "-latest", "a%20b", "%2e%2e", "%ff", "a%00", &"a".repeat(129), ""] {
        let target = format!("/v2/a/manifests/{reference}");
        for method in [Method::GET, Method::HEAD, Method::DELETE] {
            assert_eq!(parse(&method, &target), Err(ErrorCode::ManifestUnknown), "{method} {target}");
        }
        assert_eq!(parse(&Method::PUT, &target), Err(ErrorCode::TagInvalid), "PUT {target}");
        assert_eq!(parse(&Method::PATCH, &target), Err(ErrorCode::Unsupported), "PATCH {target}");
    }
    for reference in ["sha256:beef", "a:b:c", ":", "sha256%3Abeef"] {
        for method in [Method::GET, Method::HEAD, Method::DELETE, Method::PUT] {
            assert_eq!(
                parse(&method, &format!("/v2/a/manifests/{reference}")),
                Err(ErrorCode::DigestInvalid),
                "{reference}"
            );
        }
    }
}

#[test]
fn a_malformed_digest_tag_or_number_says_what_it_is() {
    for (method, target, code) in [
        (Method::GET, "/v2/a/blobs/sha256:beef", ErrorCode::DigestInvalid),
        (Method::GET, "/v2/a/manifests/sha256:beef", ErrorCode::DigestInvalid),
        (Method::GET, "/v2/a/manifests/.x", ErrorCode::ManifestUnknown),
        (Method::PUT, "/v2/a/manifests/.x", ErrorCode::TagInvalid),
        (Method::GET, "/v2/a/referrers/latest", ErrorCode::DigestInvalid),
        (Method::GET, &format!("/v2/a/blobs/sha256:{HEX}%2f"), ErrorCode::DigestInvalid),
        (Method::GET, &format!("/v2/a/manifests/sha256:{HEX}/"), ErrorCode::DigestInvalid),
        (Method::GET, &format!("/v2/a/referrers/sha256:{HEX}?last=b"), ErrorCode::DigestInvalid),
        (Method::GET, "/v2/a/tags/list?n=-1", ErrorCode::PaginationNumberInvalid),
        (Method::GET, "/v2/_catalog?n=x", ErrorCode::PaginationNumberInvalid),
        (Method::PATCH, "/v2/a/blobs/uploads/7", ErrorCode::BlobUploadUnknown),
        (Method::POST, "/v2/a/blobs/uploads/?mount=x&from=b", ErrorCode::DigestInvalid),
        (Method::POST, "/v2/a/manifests/x", ErrorCode::Unsupported),
        (Method::PATCH, "/v2/", ErrorCode::Unsupported),
        (Method::GET, "/v1/repositories/a", ErrorCode::Unsupported),
        (Method::PUT, "/v1/repositories/a/", ErrorCode::Unsupported),
        (Method::DELETE, "/v1/repositories/", ErrorCode::NameInvalid),
        (Method::DELETE, "/v1/repositories//", ErrorCode::NameInvalid),
        (Method::DELETE, "/v1/repositories/a//", ErrorCode::NameInvalid),
        (Method::DELETE, "/v1/repositories/a/../b", ErrorCode::NameInvalid),
        (Method::DELETE, "/v1/repositories/a%2f%2e%2e%2fb", ErrorCode::NameInvalid),
        (Method::DELETE, "/v1/repositories/a/_manifests", ErrorCode::NameInvalid),
        (Method::DELETE, "/v1/repositories", ErrorCode::NameUnknown),
        (Method::DELETE, "/v1/", ErrorCode::NameUnknown),
        (Method::GET, "/v2/a", ErrorCode::NameUnknown),
        (Method::GET, "/v2x", ErrorCode::NameUnknown),
        (Method::GET, "/", ErrorCode::NameUnknown),
    ] {
        assert_eq!(parse(&method, target), Err(code), "{method} {target}");
    }
}

/// Generates paths of the API, with valid and invalid names.
fn paths() -> impl Strategy<Value = String> {
    let name = "[a-z0-9._-]{1,5}(/[a-z0-9._-]{1,4}){0,2}";
    let rest = prop_oneof![
        Just("tags/list".to_owned()),
        "manifests/[A-Za-z0-9._:-]{1,6}",
        Just(format!("manifests/sha256:{HEX}")),
        Just(format!("blobs/sha256:{HEX}")),
        Just(format!("referrers/sha256:{HEX}")),
        "blobs/uploads/?",
        Just("blobs/uploads/2d5c1f58-6ee2-4d0e-95b3-0be7e5b2ea44".to_owned()),
    ];
    prop_oneof![
        4 => (name, rest).prop_map(|(name, rest)| format!("/v2/{name}/{rest}")),
        1 => prop::sample::select(vec!["/v2", "/v2/", "/v2/_catalog", "/token", "/v1/_ping", "/readyz", "/v1/repositories/a/b"])
            .prop_map(ToOwned::to_owned),
    ]
}

const METHODS: [Method; 6] = [Method::GET, Method::HEAD, Method::PUT, Method::POST, Method::PATCH, Method::DELETE];

/// Percent-encodes the characters of `path` that `chosen` selects, with upper- or lower-case hexadecimal digits behind
/// `percent`.
fn encode(path: &str, chosen: &[(bool, bool)], percent: &str) -> String {
    let letters = path.bytes().zip(chosen.iter().cycle());
    let encoded = letters.map(|(byte, (is_encoded, is_upper))| match (is_encoded, is_upper) {
        (false, _) => char::from(byte).to_string(),
        (true, true) => format!("{percent}{byte:02X}"),
        (true, false) => format!("{percent}{byte:02x}"),
    });
    encoded.collect()
}

#[test]
fn an_enormous_page_is_the_whole_list() {
    let Ok(Endpoint::Registry(RegistryEndpoint::Catalog(page))) =
        parse(&Method::GET, "/v2/_catalog?n=99999999999999999999999&last=a%2Fb")
    else {
        panic!("a catalog");
    };
    assert_eq!((page.limit, page.last.as_deref()), (Some(usize::MAX), Some("a/b")));
}

#[test]
fn ten_tags_are_taken_and_too_many_are_not() {
    let tags = |count: usize| (0..count).map(|tag| format!("tag=t{tag}")).collect::<Vec<_>>().join("&");
    let target = |count| format!("/v2/a/manifests/sha256:{HEX}?{}", tags(count));
    let Ok(Endpoint::Registry(RegistryEndpoint::Repository { operation, .. })) = parse(&Method::PUT, &target(10))
    else {
        panic!("ten tags");
    };
    let RepositoryOperation::Push(PushOperation::Manifest(_, tags)) = operation else { panic!("a manifest push") };
    assert_eq!(tags.len(), 10);
    assert_eq!(parse(&Method::PUT, &target(MAX_TAGS + 1)), Err(ErrorCode::TooManyTags));
}

proptest! {
    /// If this failed, another spelling of a path could evade the access rules.
    #[test]
    fn every_encoding_of_a_path_is_the_endpoint_of_the_plain_path(
        path in paths(),
        chosen in prop::collection::vec(any::<(bool, bool)>(), 1..40),
    ) {
        let encoded = encode(&path, &chosen, "%");
        for method in METHODS {
            let plain = Endpoint::parse(&method, &path, None).map_err(|error| error.body());
            prop_assert_eq!(Endpoint::parse(&method, &encoded, None).map_err(|error| error.body()), plain, "{}", encoded);
        }
    }

    #[test]
    fn a_path_of_which_a_piece_is_encoded_twice_is_no_endpoint(
        path in paths(),
        chosen in prop::collection::vec(any::<(bool, bool)>(), 1..40),
        twice in any::<prop::sample::Index>(),
    ) {
        let at = twice.index(path.len());
        let (before, after) = (encode(&path[..at], &chosen, "%"), encode(&path[at + 1..], &chosen, "%"));
        let encoded = format!("{before}{}{after}", encode(&path[at..=at], &[(true, chosen[0].1)], "%25"));
        for method in METHODS {
            prop_assert!(Endpoint::parse(&method, &encoded, None).is_err(), "{} {}", method, encoded);
        }
    }

    #[test]
    fn no_target_makes_the_parser_panic(path in "(/v2)?/[a-z./%:_-]{0,40}", query in "[a-z0-9=&%+]{0,20}") {
        for method in [Method::GET, Method::PUT, Method::POST, Method::PATCH, Method::DELETE] {
            let _ = Endpoint::parse(&method, &path, Some(&query));
        }
    }

    #[test]
    fn every_good_name_is_found_again(name in "[a-z]{1,4}(/(blobs|uploads|manifests|tags|list|[a-z]{1,3})){0,4}") {
        let expected = pull(&name, PullOperation::Blob(format!("sha256:{HEX}").parse().unwrap()));
        prop_assert_eq!(parse(&Method::GET, &format!("/v2/{name}/blobs/sha256:{HEX}")), Ok(expected));
    }
}
