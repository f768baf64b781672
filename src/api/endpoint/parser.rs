//! Parses the method and the path of a request; [`query`](super::query) parses the query.

use std::borrow::Cow;

use http::Method;
use percent_encoding::percent_decode_str;

use super::{
    super::error::{ApiError, ErrorCode},
    operation::{
        AdminOperation, DeleteOperation, Endpoint, MountSource, NewUpload, PublicEndpoint, PullOperation,
        PushOperation, RegistryEndpoint, RepositoryOperation, UploadOperation,
    },
    query::{Query, parse_digest},
};
use crate::{
    oci::{Algorithm, InvalidReference, Reference, RepositoryName},
    registry::UploadId,
};

impl Endpoint {
    /// Parses the path and the query as the client sent them.
    ///
    /// Errors: an unknown path, a method that the path does not allow, or an invalid name, digest, tag or query
    /// parameter.
    pub fn parse(method: &Method, path: &str, query: Option<&str>) -> Result<Self, ApiError> {
        let (path, query) = (percent_decode(path), Query::new(query.unwrap_or_default()));
        match path.strip_prefix("/v2") {
            Some("" | "/") => {
                allow_methods(method, &[Method::GET, Method::HEAD], Self::Registry(RegistryEndpoint::VersionCheck))
            }
            Some(rest) if rest.starts_with('/') => parse_registry_path(method, &rest[1..], query),
            Some(_) | None => Self::parse_other(method, &path, query),
        }
    }

    fn parse_other(method: &Method, path: &str, query: Query<'_>) -> Result<Self, ApiError> {
        match path {
            "/token" => allow_methods(method, &[Method::GET, Method::POST], Self::Token),
            "/token/jwks" => {
                allow_methods(method, &[Method::GET, Method::HEAD], Self::Public(PublicEndpoint::TokenKeys))
            }
            "/v1/_ping" => allow_methods(method, &[Method::GET, Method::HEAD], Self::Public(PublicEndpoint::Ping)),
            "/v1/search" => {
                allow_methods(method, &[Method::GET], Self::Registry(RegistryEndpoint::Search(query.search())))
            }
            "/ca.crt" => {
                allow_methods(method, &[Method::GET, Method::HEAD], Self::Public(PublicEndpoint::CaCertificate))
            }
            "/healthz" => allow_methods(method, &[Method::GET, Method::HEAD], Self::Public(PublicEndpoint::Liveness)),
            "/readyz" => allow_methods(method, &[Method::GET, Method::HEAD], Self::Public(PublicEndpoint::Readiness)),
            _ => match path.strip_prefix("/v1/repositories/") {
                Some(rest) => {
                    let name = parse_name(rest.strip_suffix('/').unwrap_or(rest))?;
                    allow_methods(method, &[Method::DELETE], admin(name, AdminOperation::DeleteRepository))
                }
                None => Err(unknown_path()),
            },
        }
    }
}

/// Percent-decodes a path once. Bytes that are not valid UTF-8 become U+FFFD, which no name contains; a `%` without two
/// hexadecimal digits behind it stays, and no name contains it either.
pub(in super::super) fn percent_decode(path: &str) -> Cow<'_, str> {
    percent_decode_str(path).decode_utf8_lossy()
}

fn parse_registry_path(method: &Method, rest: &str, query: Query<'_>) -> Result<Endpoint, ApiError> {
    if rest == "_catalog" {
        return allow_methods(method, &[Method::GET], Endpoint::Registry(RegistryEndpoint::Catalog(query.page()?)));
    }
    let (head, last) = rest.rsplit_once('/').unwrap_or(("", rest));
    let (before, kind) = head.rsplit_once('/').unwrap_or(("", head));
    match (kind, last) {
        ("tags", "list") => {
            let endpoint = pull(parse_name(before)?, PullOperation::Tags(query.page()?));
            allow_methods(method, &[Method::GET], endpoint)
        }
        ("manifests", reference) => parse_manifest_path(method, parse_name(before)?, reference, query),
        ("referrers", subject) => {
            let name = parse_name(before)?;
            let operation = PullOperation::Referrers(parse_digest(subject)?, query.referrers_filter()?);
            allow_methods(method, &[Method::GET], pull(name, operation))
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
        Method::GET | Method::HEAD => Ok(pull(name, PullOperation::Manifest(existing_reference(parsed)?))),
        Method::PUT => Ok(push(name, PushOperation::Manifest(parsed?, query.tags()?))),
        Method::DELETE => Ok(delete(name, DeleteOperation::Manifest(existing_reference(parsed)?))),
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
        Method::GET | Method::HEAD => Ok(pull(name, PullOperation::Blob(digest))),
        Method::DELETE => Ok(delete(name, DeleteOperation::Blob(digest))),
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
    allow_methods(method, &[Method::POST], push(name, PushOperation::StartUpload(new)))
}

fn parse_upload_session(
    method: &Method,
    name: RepositoryName,
    id: &str,
    query: Query<'_>,
) -> Result<Endpoint, ApiError> {
    let id: UploadId = id.parse().map_err(|error| ApiError::new(ErrorCode::BlobUploadUnknown, error))?;
    let operation = match *method {
        Method::GET | Method::HEAD => UploadOperation::Status,
        Method::PATCH => UploadOperation::Chunk,
        Method::DELETE => UploadOperation::Cancel,
        Method::PUT => match query.parameter("digest") {
            Some(claimed) => UploadOperation::Finish(parse_digest(&claimed)?),
            None => {
                return Err(ApiError::new(
                    ErrorCode::DigestInvalid,
                    "the last request of an upload must have a digest: ?digest=…",
                ));
            }
        },
        _ => return Err(method_not_allowed("GET, HEAD, PATCH, PUT, DELETE")),
    };
    Ok(push(name, PushOperation::Upload(id, operation)))
}

fn pull(name: RepositoryName, operation: PullOperation) -> Endpoint {
    repository(name, RepositoryOperation::Pull(operation))
}

fn push(name: RepositoryName, operation: PushOperation) -> Endpoint {
    repository(name, RepositoryOperation::Push(operation))
}

fn delete(name: RepositoryName, operation: DeleteOperation) -> Endpoint {
    repository(name, RepositoryOperation::Delete(operation))
}

fn admin(name: RepositoryName, operation: AdminOperation) -> Endpoint {
    repository(name, RepositoryOperation::Admin(operation))
}

fn repository(name: RepositoryName, operation: RepositoryOperation) -> Endpoint {
    Endpoint::Registry(RegistryEndpoint::Repository { name, operation })
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

fn unknown_path() -> ApiError {
    ApiError::new(ErrorCode::NameUnknown, "no endpoint has this path; the registry API is below /v2/")
}

fn method_not_allowed(allowed: &str) -> ApiError {
    ApiError::new(ErrorCode::Unsupported, format!("this path allows {allowed}"))
        .with_header(http::header::ALLOW, allowed)
}
