//! Method, path and query → [`Endpoint`]: the one place that reads a URL.
//!
//! Invariant: names, digests, tags and numbers in an [`Endpoint`] were parsed; nothing behind it looks at the path again.
//!
//! The path is read from the right and raw: a repository name contains slashes and may itself be `blobs/manifests`, so only
//! the last components say what is meant. An encoded slash or a `..` is no name, and is refused as one. The colon of a
//! digest may be encoded, as some HTTP libraries do.

use http::Method;

use super::error::{ApiError, Code};
use crate::{
    oci::{Algorithm, Digest, Page, Reference, RepositoryName, Tag},
    registry::{Referring, UploadId},
};

/// Everything that can be asked of Portcullis over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `GET /v2/`: is this a registry, and am I signed in?
    Base,
    /// `GET /v2/_catalog`
    Catalog(Page),
    /// `GET /v2/<name>/tags/list`
    Tags(RepositoryName, Page),
    /// `GET` or `HEAD /v2/<name>/manifests/<reference>`
    Manifest(RepositoryName, Reference),
    /// `PUT /v2/<name>/manifests/<reference>[?tag=…]`
    PutManifest(RepositoryName, Reference, Vec<Tag>),
    /// `DELETE /v2/<name>/manifests/<reference>`
    DeleteManifest(RepositoryName, Reference),
    /// `GET` or `HEAD /v2/<name>/blobs/<digest>`
    Blob(RepositoryName, Digest),
    /// `DELETE /v2/<name>/blobs/<digest>`
    DeleteBlob(RepositoryName, Digest),
    /// `POST /v2/<name>/blobs/uploads/`
    StartUpload(RepositoryName, NewUpload),
    /// `GET` or `HEAD /v2/<name>/blobs/uploads/<id>`
    UploadStatus(RepositoryName, UploadId),
    /// `PATCH /v2/<name>/blobs/uploads/<id>`
    UploadChunk(RepositoryName, UploadId),
    /// `PUT /v2/<name>/blobs/uploads/<id>?digest=…`
    FinishUpload(RepositoryName, UploadId, Digest),
    /// `DELETE /v2/<name>/blobs/uploads/<id>`
    CancelUpload(RepositoryName, UploadId),
    /// `GET /v2/<name>/referrers/<digest>[?artifactType=…][&last=<digest>]`
    Referrers(RepositoryName, Digest, Referring),
    /// `DELETE /v1/repositories/<name>`: the repository with everything in it. Outside of `/v2/`, so that an empty variable in
    /// somebody's script never makes a deletion of something small one of everything.
    RemoveRepository(RepositoryName),
    /// `GET` or `POST /token`
    Token,
    /// `GET /token/jwks`
    TokenKeys,
    /// `GET /v1/_ping`: what is left of Docker's first registry protocol, before a search.
    Ping,
    /// `GET /v1/search?q=…&n=…`
    Search(Search),
    /// `GET /ca.crt`: the authority that signed the server's certificate, for clients to trust once a person has compared its
    /// fingerprint.
    Authority,
    /// `GET /healthz`: the process lives.
    Alive,
    /// `GET /readyz`: it can serve.
    Ready,
}

/// What `docker search` looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// A piece of a repository's name; nothing finds everything.
    pub text: String,
    /// The most results: 1 to 100, and 25 where nobody says.
    pub limit: usize,
}

/// What a `POST` to `uploads/` wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewUpload {
    /// A session to upload to; the algorithm is a hint for hashing while bytes arrive.
    Session(Algorithm),
    /// A blob, whole, in this very request.
    Whole(Digest),
    /// A blob that another repository has.
    Mount(Digest, MountSource),
}

/// Where a blob is to be mounted from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountSource {
    /// `from=<name>`
    Named(RepositoryName),
    /// `from=` something that is no name, and so no repository that exists.
    Nowhere,
    /// No `from`: any repository that has it.
    Any,
}

impl Search {
    const USUAL: usize = 25;
    const MOST: usize = 100;
}

impl Endpoint {
    /// The most tags that one manifest may be given beside its digest (the specification asks for at least ten).
    pub const MAX_TAGS: usize = 32;

    /// Reads a request line.
    pub fn parse(method: &Method, path: &str, query: Option<&str>) -> Result<Self, ApiError> {
        let query = Query(query.unwrap_or_default());
        match path.strip_prefix("/v2") {
            Some("" | "/") => only(method, &[Method::GET, Method::HEAD], Self::Base),
            Some(rest) if rest.starts_with('/') => registry(method, &rest[1..], query),
            Some(_) | None => Self::parse_other(method, path, query),
        }
    }

    fn parse_other(method: &Method, path: &str, query: Query<'_>) -> Result<Self, ApiError> {
        match path {
            "/token" => only(method, &[Method::GET, Method::POST], Self::Token),
            "/token/jwks" => only(method, &[Method::GET, Method::HEAD], Self::TokenKeys),
            "/v1/_ping" => only(method, &[Method::GET, Method::HEAD], Self::Ping),
            "/v1/search" => only(method, &[Method::GET], Self::Search(query.search())),
            "/ca.crt" => only(method, &[Method::GET, Method::HEAD], Self::Authority),
            "/healthz" => only(method, &[Method::GET, Method::HEAD], Self::Alive),
            "/readyz" => only(method, &[Method::GET, Method::HEAD], Self::Ready),
            _ => match path.strip_prefix("/v1/repositories/") {
                Some(rest) => {
                    let name = name(rest.strip_suffix('/').unwrap_or(rest))?;
                    only(method, &[Method::DELETE], Self::RemoveRepository(name))
                }
                None => Err(nothing_here()),
            },
        }
    }
}

fn registry(method: &Method, rest: &str, query: Query<'_>) -> Result<Endpoint, ApiError> {
    if rest == "_catalog" {
        return only(method, &[Method::GET], Endpoint::Catalog(query.page()?));
    }
    let (head, last) = rest.rsplit_once('/').unwrap_or(("", rest));
    let (before, kind) = head.rsplit_once('/').unwrap_or(("", head));
    match (kind, last) {
        ("tags", "list") => only(method, &[Method::GET], Endpoint::Tags(name(before)?, query.page()?)),
        ("manifests", reference) => manifest(method, name(before)?, reference, query),
        ("referrers", subject) => {
            let endpoint = Endpoint::Referrers(name(before)?, digest(subject)?, query.referring()?);
            only(method, &[Method::GET], endpoint)
        }
        ("blobs", "uploads") => start_upload(method, name(before)?, query),
        ("uploads", last) if before == "blobs" || before.ends_with("/blobs") => {
            let name = name(before.strip_suffix("/blobs").unwrap_or_default())?;
            if last.is_empty() { start_upload(method, name, query) } else { upload(method, name, last, query) }
        }
        ("blobs", reference) => blob(method, name(before)?, reference),
        _ => Err(nothing_here()),
    }
}

fn manifest(method: &Method, name: RepositoryName, reference: &str, query: Query<'_>) -> Result<Endpoint, ApiError> {
    let reference: Reference = decode_colon(reference).parse().map_err(ApiError::from)?;
    match *method {
        Method::GET | Method::HEAD => Ok(Endpoint::Manifest(name, reference)),
        Method::PUT => Ok(Endpoint::PutManifest(name, reference, query.tags()?)),
        Method::DELETE => Ok(Endpoint::DeleteManifest(name, reference)),
        _ => Err(not_allowed("GET, HEAD, PUT, DELETE")),
    }
}

fn blob(method: &Method, name: RepositoryName, reference: &str) -> Result<Endpoint, ApiError> {
    let digest = digest(reference)?;
    match *method {
        Method::GET | Method::HEAD => Ok(Endpoint::Blob(name, digest)),
        Method::DELETE => Ok(Endpoint::DeleteBlob(name, digest)),
        _ => Err(not_allowed("GET, HEAD, DELETE")),
    }
}

fn start_upload(method: &Method, name: RepositoryName, query: Query<'_>) -> Result<Endpoint, ApiError> {
    let new = if let Some(mount) = query.first("mount") {
        let source = query
            .first("from")
            .map_or(MountSource::Any, |from| from.parse().map_or(MountSource::Nowhere, MountSource::Named));
        NewUpload::Mount(digest(&mount)?, source)
    } else if let Some(whole) = query.first("digest") {
        NewUpload::Whole(digest(&whole)?)
    } else {
        let hint = query.first("digest-algorithm").and_then(|hint| hint.parse().ok());
        NewUpload::Session(hint.unwrap_or(Algorithm::Sha256))
    };
    only(method, &[Method::POST], Endpoint::StartUpload(name, new))
}

fn upload(method: &Method, name: RepositoryName, id: &str, query: Query<'_>) -> Result<Endpoint, ApiError> {
    let id: UploadId = id.parse().map_err(|error| ApiError::new(Code::BlobUploadUnknown, error))?;
    match *method {
        Method::GET | Method::HEAD => Ok(Endpoint::UploadStatus(name, id)),
        Method::PATCH => Ok(Endpoint::UploadChunk(name, id)),
        Method::DELETE => Ok(Endpoint::CancelUpload(name, id)),
        Method::PUT => match query.first("digest") {
            Some(claimed) => Ok(Endpoint::FinishUpload(name, id, digest(&claimed)?)),
            None => {
                Err(ApiError::new(Code::DigestInvalid, "the last request of an upload names its digest: ?digest=…"))
            }
        },
        _ => Err(not_allowed("GET, HEAD, PATCH, PUT, DELETE")),
    }
}

fn only(method: &Method, allowed: &[Method], endpoint: Endpoint) -> Result<Endpoint, ApiError> {
    if allowed.contains(method) {
        return Ok(endpoint);
    }
    let words: Vec<_> = allowed.iter().map(Method::as_str).collect();
    Err(not_allowed(&words.join(", ")))
}

fn name(text: &str) -> Result<RepositoryName, ApiError> {
    text.parse().map_err(|error| ApiError::new(Code::NameInvalid, error))
}

fn digest(text: &str) -> Result<Digest, ApiError> {
    decode_colon(text).parse().map_err(|error| ApiError::new(Code::DigestInvalid, error))
}

fn decode_colon(text: &str) -> String {
    text.replacen("%3A", ":", 1).replacen("%3a", ":", 1)
}

fn nothing_here() -> ApiError {
    ApiError::new(Code::NameUnknown, "there is nothing at this path; the registry lies below /v2/")
}

fn not_allowed(allowed: &str) -> ApiError {
    ApiError::new(Code::Unsupported, format!("this path answers {allowed}")).with_header(http::header::ALLOW, allowed)
}

/// The query of a request.
#[derive(Clone, Copy)]
struct Query<'a>(&'a str);

impl Query<'_> {
    fn pairs(&self) -> form_urlencoded::Parse<'_> {
        form_urlencoded::parse(self.0.as_bytes())
    }

    fn first(&self, key: &str) -> Option<String> {
        self.pairs().find(|(name, _)| name == key).map(|(_, value)| value.into_owned())
    }

    fn page(&self) -> Result<Page, ApiError> {
        let limit = self.first("n").map(|n| {
            let digits = !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit());
            // More digits than a number holds is more than any list has.
            if digits { Ok(n.parse().unwrap_or(usize::MAX)) } else { Err(invalid_page(&n)) }
        });
        Ok(Page { limit: limit.transpose()?, last: self.first("last") })
    }

    /// Clients write what they like for `n`; a search that fails for that helps nobody.
    fn search(&self) -> Search {
        let limit = self.first("n").and_then(|n| n.parse().ok()).unwrap_or(Search::USUAL).clamp(1, Search::MOST);
        Search { text: self.first("q").unwrap_or_default(), limit }
    }

    fn referring(&self) -> Result<Referring, ApiError> {
        let last = self.first("last").map(|last| digest(&last)).transpose()?;
        Ok(Referring { artifact_type: self.first("artifactType"), last })
    }

    fn tags(&self) -> Result<Vec<Tag>, ApiError> {
        let tags: Vec<_> = self.pairs().filter(|(name, _)| name == "tag").map(|(_, value)| value).collect();
        if tags.len() > Endpoint::MAX_TAGS {
            let message = format!("a manifest may be given at most {} tags at a time", Endpoint::MAX_TAGS);
            return Err(ApiError::new(Code::TooManyTags, message));
        }
        tags.iter().map(|tag| tag.parse().map_err(|error| ApiError::new(Code::TagInvalid, error))).collect()
    }
}

fn invalid_page(n: &str) -> ApiError {
    ApiError::new(Code::PaginationNumberInvalid, format!("n must be a number of entries, not {n:?}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn parse(method: &Method, target: &str) -> Result<Endpoint, Code> {
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        Endpoint::parse(method, path, query).map_err(|error| error.code())
    }

    fn repository(text: &str) -> RepositoryName {
        text.parse().unwrap()
    }

    #[test]
    fn a_search_has_between_one_and_a_hundred_results() {
        for (query, limit) in [("q=a", 25), ("q=a&n=0", 1), ("q=a&n=7", 7), ("q=a&n=1000", 100), ("q=a&n=many", 25)] {
            let expected = Endpoint::Search(Search { text: "a".to_owned(), limit });
            assert_eq!(parse(&Method::GET, &format!("/v1/search?{query}")), Ok(expected), "{query}");
        }
    }

    #[test]
    fn a_repository_may_be_called_like_an_endpoint() {
        for name in ["blobs/manifests", "tags/list", "blobs/uploads", "a/blobs/uploads", "referrers", "manifests", "v2"]
        {
            let expected = Endpoint::Manifest(repository(name), "latest".parse().unwrap());
            assert_eq!(parse(&Method::GET, &format!("/v2/{name}/manifests/latest")), Ok(expected));
            let expected = Endpoint::Tags(repository(name), Page::default());
            assert_eq!(parse(&Method::GET, &format!("/v2/{name}/tags/list")), Ok(expected));
            let expected = Endpoint::StartUpload(repository(name), NewUpload::Session(Algorithm::Sha256));
            assert_eq!(parse(&Method::POST, &format!("/v2/{name}/blobs/uploads/")), Ok(expected));
        }
    }

    #[test]
    fn a_name_that_is_encoded_or_climbs_is_no_name() {
        for path in ["a%2fb", "..", "a/../b", "A", "a//b", "", "/", "%00"] {
            let target = format!("/v2/{path}/manifests/latest");
            assert_eq!(parse(&Method::GET, &target), Err(Code::NameInvalid), "{target}");
        }
    }

    #[test]
    fn a_repository_is_removed_by_its_name_alone() {
        for name in ["a", "team/app", "blobs/uploads", "a/manifests/latest"] {
            let expected = Endpoint::RemoveRepository(repository(name));
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
    fn the_colon_of_a_digest_may_be_encoded() {
        let expected = Endpoint::Blob(repository("a"), format!("sha256:{HEX}").parse().unwrap());
        for colon in [":", "%3A", "%3a"] {
            assert_eq!(parse(&Method::GET, &format!("/v2/a/blobs/sha256{colon}{HEX}")), Ok(expected.clone()));
        }
    }

    #[test]
    fn a_malformed_digest_tag_or_number_says_what_it_is() {
        for (method, target, code) in [
            (Method::GET, "/v2/a/blobs/sha256:beef", Code::DigestInvalid),
            (Method::GET, "/v2/a/manifests/sha256:beef", Code::DigestInvalid),
            (Method::GET, "/v2/a/manifests/.x", Code::TagInvalid),
            (Method::GET, "/v2/a/referrers/latest", Code::DigestInvalid),
            (Method::GET, &format!("/v2/a/referrers/sha256:{HEX}?last=b"), Code::DigestInvalid),
            (Method::GET, "/v2/a/tags/list?n=-1", Code::PaginationNumberInvalid),
            (Method::GET, "/v2/_catalog?n=x", Code::PaginationNumberInvalid),
            (Method::PATCH, "/v2/a/blobs/uploads/7", Code::BlobUploadUnknown),
            (Method::POST, "/v2/a/blobs/uploads/?mount=x&from=b", Code::DigestInvalid),
            (Method::POST, "/v2/a/manifests/x", Code::Unsupported),
            (Method::PATCH, "/v2/", Code::Unsupported),
            (Method::GET, "/v1/repositories/a", Code::Unsupported),
            (Method::PUT, "/v1/repositories/a/", Code::Unsupported),
            (Method::DELETE, "/v1/repositories/", Code::NameInvalid),
            (Method::DELETE, "/v1/repositories//", Code::NameInvalid),
            (Method::DELETE, "/v1/repositories/a//", Code::NameInvalid),
            (Method::DELETE, "/v1/repositories/a/../b", Code::NameInvalid),
            (Method::DELETE, "/v1/repositories/a%2fb", Code::NameInvalid),
            (Method::DELETE, "/v1/repositories/a/_manifests", Code::NameInvalid),
            (Method::DELETE, "/v1/repositories", Code::NameUnknown),
            (Method::DELETE, "/v1/", Code::NameUnknown),
            (Method::GET, "/v2/a", Code::NameUnknown),
            (Method::GET, "/v2x", Code::NameUnknown),
            (Method::GET, "/", Code::NameUnknown),
        ] {
            assert_eq!(parse(&method, target), Err(code), "{method} {target}");
        }
    }

    #[test]
    fn an_enormous_page_is_the_whole_list() {
        let Ok(Endpoint::Catalog(page)) = parse(&Method::GET, "/v2/_catalog?n=99999999999999999999999&last=a%2Fb")
        else {
            panic!("a catalog");
        };
        assert_eq!((page.limit, page.last.as_deref()), (Some(usize::MAX), Some("a/b")));
    }

    #[test]
    fn ten_tags_are_taken_and_too_many_are_not() {
        let tags = |count: usize| (0..count).map(|tag| format!("tag=t{tag}")).collect::<Vec<_>>().join("&");
        let target = |count| format!("/v2/a/manifests/sha256:{HEX}?{}", tags(count));
        assert!(matches!(parse(&Method::PUT, &target(10)), Ok(Endpoint::PutManifest(_, _, tags)) if tags.len() == 10));
        assert_eq!(parse(&Method::PUT, &target(Endpoint::MAX_TAGS + 1)), Err(Code::TooManyTags));
    }

    proptest! {
        #[test]
        fn no_target_makes_the_parser_panic(path in "(/v2)?/[a-z./%:_-]{0,40}", query in "[a-z0-9=&%+]{0,20}") {
            for method in [Method::GET, Method::PUT, Method::POST, Method::PATCH, Method::DELETE] {
                let _ = Endpoint::parse(&method, &path, Some(&query));
            }
        }

        #[test]
        fn every_good_name_is_found_again(name in "[a-z]{1,4}(/(blobs|uploads|manifests|tags|list|[a-z]{1,3})){0,4}") {
            let expected = Endpoint::Blob(repository(&name), format!("sha256:{HEX}").parse().unwrap());
            prop_assert_eq!(parse(&Method::GET, &format!("/v2/{name}/blobs/sha256:{HEX}")), Ok(expected));
        }
    }
}
