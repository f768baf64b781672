//! Parses the method, path and query of a request into an [`Endpoint`]; no other code reads a request URL.
//!
//! Invariant: names, digests, tags and numbers in an [`Endpoint`] are parsed values; no handler looks at the path
//! again.
//!
//! The path is percent-decoded once, as a whole, and then parsed. So all spellings of a path that RFC 3986 calls
//! equivalent are the same endpoint with the same rights, as in registry:2. A path that was encoded twice still
//! contains a `%`, which no name, tag, digest or fixed part of a path contains. The path is parsed from the right: a
//! repository name contains slashes and may itself be `blobs/manifests`, so only the last components identify the
//! endpoint. A `..` is not a valid name, in any encoding.

mod query;

use std::borrow::Cow;

use http::Method;
use percent_encoding::percent_decode_str;

use super::error::{ApiError, ErrorCode};
use crate::{
    oci::{Algorithm, Digest, InvalidReference, PageRequest, Reference, RepositoryName, Tag},
    registry::{ReferrersFilter, UploadId},
};
use query::Query;

/// Every operation of the HTTP API, with its parsed parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `GET /v2/`: the API version check, which clients also use to find out whether and how to authenticate.
    VersionCheck,
    /// `GET /v2/_catalog`
    Catalog(PageRequest),
    /// `GET /v2/<name>/tags/list`
    Tags(RepositoryName, PageRequest),
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
    Referrers(RepositoryName, Digest, ReferrersFilter),
    /// `DELETE /v1/repositories/<name>`: deletes the repository with all its content. The path is outside of `/v2/`, so
    /// that a script with an empty variable in a `DELETE /v2/…` path never deletes a whole repository instead of one
    /// tag or blob.
    DeleteRepository(RepositoryName),
    /// `GET` or `POST /token`
    Token,
    /// `GET /token/jwks`
    TokenKeys,
    /// `GET /v1/_ping`: the ping of Docker's first registry protocol, which clients send before a search.
    Ping,
    /// `GET /v1/search?q=…&n=…`
    Search(SearchQuery),
    /// `GET /ca.crt`: the certificate of the CA that signed the server's certificate. A client may trust it once its
    /// user has compared the fingerprint.
    CaCertificate,
    /// `GET /healthz`: liveness; the process runs.
    Liveness,
    /// `GET /readyz`: readiness; the registry can use its store.
    Readiness,
}

/// The parameters of a `docker search`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchQuery {
    /// A substring of the repository name; the empty string matches every repository.
    pub text: String,
    /// The maximum number of results: 1 to 100, by default 25.
    pub limit: usize,
}

/// The kind of upload that a `POST` to `uploads/` begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewUpload {
    /// An upload session; the algorithm is a hint for hashing while bytes arrive.
    Session(Algorithm),
    /// A whole blob in the body of this request (monolithic upload).
    Monolithic(Digest),
    /// A cross-repository mount of a blob that another repository has.
    Mount(Digest, MountSource),
}

/// The repository that a blob is to be mounted from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountSource {
    /// `from=<name>`: the named repository.
    Named(RepositoryName),
    /// `from=` with an invalid name, which cannot be a repository that exists.
    InvalidName,
    /// No `from` parameter: any repository that has the blob.
    Any,
}

impl Endpoint {
    /// The maximum number of tags that a manifest push may set beside its digest (the specification asks for at least
    /// ten).
    pub const MAX_TAGS: usize = 32;

    /// Parses the path and the query as the client sent them.
    ///
    /// Errors: an unknown path, a method that the path does not allow, or an invalid name, digest, tag or query
    /// parameter.
    pub fn parse(method: &Method, path: &str, query: Option<&str>) -> Result<Self, ApiError> {
        let (path, query) = (percent_decode(path), Query::new(query.unwrap_or_default()));
        match path.strip_prefix("/v2") {
            Some("" | "/") => allow_methods(method, &[Method::GET, Method::HEAD], Self::VersionCheck),
            Some(rest) if rest.starts_with('/') => parse_registry_path(method, &rest[1..], query),
            Some(_) | None => Self::parse_other(method, &path, query),
        }
    }

    fn parse_other(method: &Method, path: &str, query: Query<'_>) -> Result<Self, ApiError> {
        match path {
            "/token" => allow_methods(method, &[Method::GET, Method::POST], Self::Token),
            "/token/jwks" => allow_methods(method, &[Method::GET, Method::HEAD], Self::TokenKeys),
            "/v1/_ping" => allow_methods(method, &[Method::GET, Method::HEAD], Self::Ping),
            "/v1/search" => allow_methods(method, &[Method::GET], Self::Search(query.search())),
            "/ca.crt" => allow_methods(method, &[Method::GET, Method::HEAD], Self::CaCertificate),
            "/healthz" => allow_methods(method, &[Method::GET, Method::HEAD], Self::Liveness),
            "/readyz" => allow_methods(method, &[Method::GET, Method::HEAD], Self::Readiness),
            _ => match path.strip_prefix("/v1/repositories/") {
                Some(rest) => {
                    let name = parse_name(rest.strip_suffix('/').unwrap_or(rest))?;
                    allow_methods(method, &[Method::DELETE], Self::DeleteRepository(name))
                }
                None => Err(unknown_path()),
            },
        }
    }
}

/// Percent-decodes a path once. Bytes that are not valid UTF-8 become U+FFFD, which no name contains; a `%` without two
/// hexadecimal digits behind it stays, and no name contains it either.
pub(super) fn percent_decode(path: &str) -> Cow<'_, str> {
    percent_decode_str(path).decode_utf8_lossy()
}

fn parse_registry_path(method: &Method, rest: &str, query: Query<'_>) -> Result<Endpoint, ApiError> {
    if rest == "_catalog" {
        return allow_methods(method, &[Method::GET], Endpoint::Catalog(query.page()?));
    }
    let (head, last) = rest.rsplit_once('/').unwrap_or(("", rest));
    let (before, kind) = head.rsplit_once('/').unwrap_or(("", head));
    match (kind, last) {
        ("tags", "list") => allow_methods(method, &[Method::GET], Endpoint::Tags(parse_name(before)?, query.page()?)),
        ("manifests", reference) => parse_manifest_path(method, parse_name(before)?, reference, query),
        ("referrers", subject) => {
            let endpoint = Endpoint::Referrers(parse_name(before)?, parse_digest(subject)?, query.referrers_filter()?);
            allow_methods(method, &[Method::GET], endpoint)
        }
        ("blobs", "uploads") => parse_upload_start(method, parse_name(before)?, query),
        ("uploads", last) if before == "blobs" || before.ends_with("/blobs") => {
            let name = parse_name(before.strip_suffix("/blobs").unwrap_or_default())?;
            if last.is_empty() {
                parse_upload_start(method, name, query)
            } else {
                parse_upload_session(method, name, last, query)
            }
        }
        ("blobs", reference) => parse_blob_path(method, parse_name(before)?, reference),
        // No name contains a colon, so this is a digest followed by a slash.
        (subject, "") if subject.contains(':') => {
            Err(ApiError::new(ErrorCode::DigestInvalid, "a digest must not be followed by a slash"))
        }
        _ => Err(unknown_path()),
    }
}

fn parse_manifest_path(
    method: &Method,
    name: RepositoryName,
    reference: &str,
    query: Query<'_>,
) -> Result<Endpoint, ApiError> {
    let parsed = reference.parse::<Reference>();
    match *method {
        Method::GET | Method::HEAD => Ok(Endpoint::Manifest(name, existing_reference(parsed)?)),
        Method::PUT => Ok(Endpoint::PutManifest(name, parsed?, query.tags()?)),
        Method::DELETE => Ok(Endpoint::DeleteManifest(name, existing_reference(parsed)?)),
        _ => Err(method_not_allowed("GET, HEAD, PUT, DELETE")),
    }
}

/// The reference of a manifest to read or delete. A reference that is not a valid tag gets the error of an unknown tag:
/// the specification's conformance tests request such a reference, and a 400 for a DELETE would mean that the registry
/// cannot delete tags. A malformed digest remains an error of the client.
fn existing_reference(parsed: Result<Reference, InvalidReference>) -> Result<Reference, ApiError> {
    parsed.map_err(|error| match error {
        InvalidReference::Tag(_) => ApiError::new(ErrorCode::ManifestUnknown, error),
        InvalidReference::Digest(_) => ApiError::from(error),
    })
}

fn parse_blob_path(method: &Method, name: RepositoryName, reference: &str) -> Result<Endpoint, ApiError> {
    let digest = parse_digest(reference)?;
    match *method {
        Method::GET | Method::HEAD => Ok(Endpoint::Blob(name, digest)),
        Method::DELETE => Ok(Endpoint::DeleteBlob(name, digest)),
        _ => Err(method_not_allowed("GET, HEAD, DELETE")),
    }
}

fn parse_upload_start(method: &Method, name: RepositoryName, query: Query<'_>) -> Result<Endpoint, ApiError> {
    let new = if let Some(mount) = query.parameter("mount") {
        let source = query
            .parameter("from")
            .map_or(MountSource::Any, |from| from.parse().map_or(MountSource::InvalidName, MountSource::Named));
        NewUpload::Mount(parse_digest(&mount)?, source)
    } else if let Some(whole) = query.parameter("digest") {
        NewUpload::Monolithic(parse_digest(&whole)?)
    } else {
        let hint = query.parameter("digest-algorithm").and_then(|hint| hint.parse().ok());
        NewUpload::Session(hint.unwrap_or(Algorithm::Sha256))
    };
    allow_methods(method, &[Method::POST], Endpoint::StartUpload(name, new))
}

fn parse_upload_session(
    method: &Method,
    name: RepositoryName,
    id: &str,
    query: Query<'_>,
) -> Result<Endpoint, ApiError> {
    let id: UploadId = id.parse().map_err(|error| ApiError::new(ErrorCode::BlobUploadUnknown, error))?;
    match *method {
        Method::GET | Method::HEAD => Ok(Endpoint::UploadStatus(name, id)),
        Method::PATCH => Ok(Endpoint::UploadChunk(name, id)),
        Method::DELETE => Ok(Endpoint::CancelUpload(name, id)),
        Method::PUT => match query.parameter("digest") {
            Some(claimed) => Ok(Endpoint::FinishUpload(name, id, parse_digest(&claimed)?)),
            None => Err(ApiError::new(
                ErrorCode::DigestInvalid,
                "the last request of an upload must have a digest: ?digest=…",
            )),
        },
        _ => Err(method_not_allowed("GET, HEAD, PATCH, PUT, DELETE")),
    }
}

fn allow_methods(method: &Method, allowed: &[Method], endpoint: Endpoint) -> Result<Endpoint, ApiError> {
    if allowed.contains(method) {
        return Ok(endpoint);
    }
    let words: Vec<_> = allowed.iter().map(Method::as_str).collect();
    Err(method_not_allowed(&words.join(", ")))
}

fn parse_name(text: &str) -> Result<RepositoryName, ApiError> {
    text.parse().map_err(|error| ApiError::new(ErrorCode::NameInvalid, error))
}

fn parse_digest(text: &str) -> Result<Digest, ApiError> {
    text.parse().map_err(|error| ApiError::new(ErrorCode::DigestInvalid, error))
}

fn unknown_path() -> ApiError {
    ApiError::new(ErrorCode::NameUnknown, "no endpoint has this path; the registry API is below /v2/")
}

fn method_not_allowed(allowed: &str) -> ApiError {
    ApiError::new(ErrorCode::Unsupported, format!("this path allows {allowed}"))
        .with_header(http::header::ALLOW, allowed)
}

#[cfg(test)]
mod tests;
