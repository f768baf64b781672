//! Serves `/v2/<name>/blobs/uploads/…`: pushes blobs in one request, in chunks, or by a mount from another repository.

use std::time::{Duration, SystemTime};

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderName, StatusCode, header};

use super::{
    error::{ApiError, ErrorCode},
    request_body,
    response::{self, DOCKER_CONTENT_DIGEST, ResponseExt as _},
};
use crate::{
    access::{Pull, Push},
    oci::{Algorithm, ChunkRange, Digest, InvalidChunkRange, RepositoryName},
    registry::{Error, Repository, UploadId},
};

const DOCKER_UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// Begins an upload session; the response is 202 with the session's location.
pub(super) async fn start(repository: &Repository<Push>, algorithm: Algorithm) -> Result<Response, ApiError> {
    let id = repository.begin_upload(algorithm, SystemTime::now()).await?;
    Ok(session_response(StatusCode::ACCEPTED, repository.name(), id, 0))
}

/// Stores a whole blob from one request (monolithic upload).
pub(super) async fn monolithic(
    repository: &Repository<Push>,
    claimed: Digest,
    headers: &HeaderMap,
    request: Body,
    idle: Duration,
) -> Result<Response, ApiError> {
    let (body, length) = (request_body::stream(request, idle), request_body::content_length(headers));
    let digest = repository.put_blob(body, length, claimed, SystemTime::now()).await?;
    Ok(created_response(repository.name(), &digest))
}

/// Mounts a blob of another repository, if there is a source that the caller may read; else begins a session, so that
/// the client uploads the blob.
pub(super) async fn mount(
    repository: &Repository<Push>,
    source: Option<Repository<Pull>>,
    digest: Digest,
) -> Result<Response, ApiError> {
    if let Some(source) = source
        && repository.mount(&source, &digest).await?
    {
        return Ok(
            response::empty(StatusCode::CREATED).with_header(header::LOCATION, &blob_path(repository.name(), &digest))
        );
    }
    start(repository, digest.algorithm()).await
}

/// Returns the number of bytes that an upload session has received, in the `Range` header.
pub(super) async fn status(repository: &Repository<Push>, id: UploadId) -> Result<Response, ApiError> {
    let offset = repository.upload_offset(id).await?;
    Ok(session_response(StatusCode::NO_CONTENT, repository.name(), id, offset))
}

/// Appends a chunk to an upload session.
pub(super) async fn chunk(
    repository: &Repository<Push>,
    id: UploadId,
    headers: &HeaderMap,
    request: Body,
    idle: Duration,
) -> Result<Response, ApiError> {
    let appended = async {
        let upload = repository.open_upload(id).await?;
        let length = expected_length(headers, |range| upload.check_chunk_start(range))?;
        Ok::<_, UploadRequestError>(upload.append(request_body::stream(request, idle), length).await?)
    };
    match appended.await {
        Ok(offset) => Ok(session_response(StatusCode::ACCEPTED, repository.name(), id, offset)),
        Err(refused) => refused.into_session_response(repository, id).await,
    }
}

/// Appends the last chunk, if there is one, verifies the digest and commits the blob.
pub(super) async fn finish(
    repository: &Repository<Push>,
    id: UploadId,
    claimed: Digest,
    headers: &HeaderMap,
    request: Body,
    idle: Duration,
) -> Result<Response, ApiError> {
    let finished = async {
        let upload = repository.open_upload(id).await?;
        let length = expected_length(headers, |range| upload.check_chunk_start(range))?;
        Ok::<_, UploadRequestError>(upload.complete(request_body::stream(request, idle), length, claimed).await?)
    };
    match finished.await {
        Ok(digest) => Ok(created_response(repository.name(), &digest)),
        Err(refused) => refused.into_session_response(repository, id).await,
    }
}

/// Cancels an upload session and deletes its data.
pub(super) async fn cancel(repository: &Repository<Push>, id: UploadId) -> Result<Response, ApiError> {
    match repository.cancel_upload(id).await {
        Ok(()) => Ok(response::empty(StatusCode::NO_CONTENT)),
        Err(error) => UploadRequestError::from(error).into_session_response(repository, id).await,
    }
}

/// Why a request to an upload session is refused.
enum UploadRequestError {
    /// The chunk does not fit the offset of the upload, or another request is writing: the session stays open, and the
    /// response contains its offset. The server does not wait for the other writer, because the client's offset would
    /// be wrong by then.
    OutOfSync(Error),
    /// Any other error, which is returned as it is.
    Other(ApiError),
}

impl From<Error> for UploadRequestError {
    fn from(error: Error) -> Self {
        let lives_on = matches!(error, Error::UploadBusy { .. } | Error::ChunkOutOfOrder { .. });
        if lives_on { Self::OutOfSync(error) } else { Self::Other(error.into()) }
    }
}

impl UploadRequestError {
    async fn into_session_response(self, repository: &Repository<Push>, id: UploadId) -> Result<Response, ApiError> {
        let error = match self {
            Self::Other(error) => return Err(error),
            Self::OutOfSync(error) => error,
        };
        let offset = repository.upload_offset(id).await?;
        let mut response = ApiError::from(error).into_response();
        let place = session_response(StatusCode::RANGE_NOT_SATISFIABLE, repository.name(), id, offset);
        for name in [header::LOCATION, header::RANGE, DOCKER_UPLOAD_UUID] {
            response.headers_mut().extend(place.headers().get(&name).map(|value| (name, value.clone())));
        }
        Ok(response)
    }
}

/// The number of bytes that the body must have: from `Content-Range`, else from `Content-Length`; `None` if neither is
/// present.
fn expected_length(
    headers: &HeaderMap,
    fits: impl FnOnce(ChunkRange) -> Result<(), Error>,
) -> Result<Option<u64>, UploadRequestError> {
    let announced = request_body::content_length(headers);
    let Some(value) = headers.get(header::CONTENT_RANGE) else { return Ok(announced) };
    let invalid = |message: String| UploadRequestError::Other(ApiError::new(ErrorCode::SizeInvalid, message));
    let text = value.to_str().map_err(|_| invalid("the Content-Range is not text".to_owned()))?;
    let range: ChunkRange = text.parse().map_err(|error: InvalidChunkRange| invalid(error.to_string()))?;
    fits(range)?;
    let length = range.length();
    match announced {
        // An empty last request may repeat the range of the previous chunk; `fits` has already refused that.
        Some(announced) if announced != length => {
            Err(invalid(format!("the Content-Range has {length} bytes and the Content-Length is {announced}")))
        }
        Some(_) | None => Ok(Some(length)),
    }
}

fn session_response(status: StatusCode, name: &RepositoryName, id: UploadId, offset: u64) -> Response {
    let response = response::empty(status)
        .with_header(header::LOCATION, &format!("/v2/{name}/blobs/uploads/{id}"))
        // The range includes both ends, so it cannot express zero bytes; clients expect `0-0` for a new session.
        .with_header(header::RANGE, &format!("0-{}", offset.saturating_sub(1)))
        .with_header(DOCKER_UPLOAD_UUID, &id.to_string());
    if status == StatusCode::NO_CONTENT {
        // RFC 9110 section 8.6 forbids a `Content-Length` in a 204 response.
        return without_length(response);
    }
    response
}

fn without_length(mut response: Response) -> Response {
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response
}

fn created_response(name: &RepositoryName, digest: &Digest) -> Response {
    response::empty(StatusCode::CREATED)
        .with_header(header::LOCATION, &blob_path(name, digest))
        .with_header(DOCKER_CONTENT_DIGEST, &digest.to_string())
}

fn blob_path(name: &RepositoryName, digest: &Digest) -> String {
    format!("/v2/{name}/blobs/{digest}")
}
