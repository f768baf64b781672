//! Method, path and query → [`Endpoint`]: the one place that reads a URL.
//!
//! Invariant: names, digests, tags and numbers in an [`Endpoint`] were parsed; nothing behind it looks at the path again.
//!
//! The path is percent-decoded once, as a whole, and then read: so every spelling of a path that RFC 3986 calls
//! equivalent is the same endpoint with the same rights, as with registry:2, and what was encoded twice still holds a
//! `%`, which no name, tag, digest or fixed part of a path contains. It is read from the right: a repository name
//! contains slashes and may itself be `blobs/manifests`, so only the last components say what is meant. A `..` is no
//! name, however it is written.

mod query;

use std::borrow::Cow;

use http::Method;
use percent_encoding::percent_decode_str;

use super::error::{ApiError, Code};
use crate::{
    oci::{Algorithm, Digest, InvalidReference, Page, Reference, RepositoryName, Tag},
    registry::{Referring, UploadId},
};
use query::Query;

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

impl Endpoint {
    /// The most tags that one manifest may be given beside its digest (the specification asks for at least ten).
    pub const MAX_TAGS: usize = 32;

    /// Reads a request line: the path and the query as they were sent.
    pub fn parse(method: &Method, path: &str, query: Option<&str>) -> Result<Self, ApiError> {
        let (path, query) = (decode(path), Query::new(query.unwrap_or_default()));
        match path.strip_prefix("/v2") {
            Some("" | "/") => only(method, &[Method::GET, Method::HEAD], Self::Base),
            Some(rest) if rest.starts_with('/') => registry(method, &rest[1..], query),
            Some(_) | None => Self::parse_other(method, &path, query),
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

/// Decodes a path once. Bytes that are no UTF-8 become a character that no name has, and a `%` without two digits
/// behind it stays, which no name has either.
pub(super) fn decode(path: &str) -> Cow<'_, str> {
    percent_decode_str(path).decode_utf8_lossy()
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
        // No name has a colon, so this is a digest with a slash behind it.
        (subject, "") if subject.contains(':') => {
            Err(ApiError::new(Code::DigestInvalid, "a digest ends with its digits"))
        }
        _ => Err(nothing_here()),
    }
}

fn manifest(method: &Method, name: RepositoryName, reference: &str, query: Query<'_>) -> Result<Endpoint, ApiError> {
    let parsed = reference.parse::<Reference>();
    match *method {
        Method::GET | Method::HEAD => Ok(Endpoint::Manifest(name, existing(parsed)?)),
        Method::PUT => Ok(Endpoint::PutManifest(name, parsed?, query.tags()?)),
        Method::DELETE => Ok(Endpoint::DeleteManifest(name, existing(parsed)?)),
        _ => Err(not_allowed("GET, HEAD, PUT, DELETE")),
    }
}

/// The reference of a manifest that is to be there already. What cannot be a tag is the tag of none, so the answer is
/// the one to any unknown tag: the specification's conformance tests ask for such a reference, and a 400 to a DELETE
/// would say that tags cannot be deleted here. A malformed digest stays a mistake of the client.
fn existing(parsed: Result<Reference, InvalidReference>) -> Result<Reference, ApiError> {
    parsed.map_err(|error| match error {
        InvalidReference::Tag(_) => ApiError::new(Code::ManifestUnknown, error),
        InvalidReference::Digest(_) => ApiError::from(error),
    })
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
    text.parse().map_err(|error| ApiError::new(Code::DigestInvalid, error))
}

fn nothing_here() -> ApiError {
    ApiError::new(Code::NameUnknown, "there is nothing at this path; the registry lies below /v2/")
}

fn not_allowed(allowed: &str) -> ApiError {
    ApiError::new(Code::Unsupported, format!("this path answers {allowed}")).with_header(http::header::ALLOW, allowed)
}

#[cfg(test)]
mod tests;
