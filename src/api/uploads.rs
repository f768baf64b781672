//! Serves `/v2/<name>/blobs/uploads/…`: pushes blobs in one request, in chunks, or by a mount from another repository.

use std::fmt::Display;

use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderName, StatusCode, header};

use super::{
    blob_mounts,
    context::RepositoryContext,
    endpoint::MountSource,
    error::{ApiError, ErrorCode},
    request_body::RequestBody,
    response::{self, DOCKER_CONTENT_DIGEST, ResponseExt as _},
};
use crate::{
    access::Push,
    oci::{Algorithm, ChunkRange, Digest, InvalidChunkRange, RepositoryName},
    registry::{Error, Upload, UploadId},
};

const DOCKER_UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// Begins an upload session; the response is 202 with the session's location.
pub(super) async fn start(context: &RepositoryContext<'_, Push>, algorithm: Algorithm) -> Result<Response, ApiError> {
    let id = context.repository.begin_upload(algorithm, context.now()).await?;
    Ok(session_response(StatusCode::ACCEPTED, context.repository.name(), id, 0))
}

/// Stores a whole blob from one request (monolithic upload).
pub(super) async fn monolithic(
    context: &RepositoryContext<'_, Push>,
    claimed: Digest,
    body: RequestBody,
) -> Result<Response, ApiError> {
    let length = body.content_length();
    let digest = context.repository.put_blob(body.into_stream(), length, claimed, context.now()).await?;
    Ok(created_response(context.repository.name(), &digest))
}

/// Mounts a blob of another repository, if there is a source that the caller may read; else begins a session, so that
/// the client uploads the blob.
pub(super) async fn mount(
    context: &RepositoryContext<'_, Push>,
    digest: Digest,
    from: MountSource,
) -> Result<Response, ApiError> {
    let repository = &context.repository;
    if let Some(source) = blob_mounts::find_source(context, &digest, from).await?
        && repository.mount(&source, &digest).await?
    {
        return Ok(
            response::empty(StatusCode::CREATED).with_header(header::LOCATION, &blob_path(repository.name(), &digest))
        );
    }
    start(context, digest.algorithm()).await
}

/// Returns the number of bytes that an upload session has received, in the `Range` header.
pub(super) async fn status(context: &RepositoryContext<'_, Push>, id: UploadId) -> Result<Response, ApiError> {
    let offset = context.repository.upload_offset(id).await?;
    Ok(session_response(StatusCode::NO_CONTENT, context.repository.name(), id, offset))
}

/// Appends a chunk to an upload session.
pub(super) async fn chunk(
    context: &RepositoryContext<'_, Push>,
    id: UploadId,
    body: RequestBody,
) -> Result<Response, ApiError> {
    let appended = async {
        let upload = context.repository.open_upload(id).await?;
        let length = body_length(context, &upload, body.content_length())?;
        Ok::<_, UploadRequestError>(upload.append(body.into_stream(), length).await?)
    };
    match appended.await {
        Ok(offset) => Ok(session_response(StatusCode::ACCEPTED, context.repository.name(), id, offset)),
        Err(error) => error.into_session_response(context.repository.name(), id),
    }
}

/// Appends the last chunk, if there is one, verifies the digest and commits the blob. A request that is repeated
/// because the response to it was lost is answered as before: its session is gone, and the repository has the blob.
pub(super) async fn finish(
    context: &RepositoryContext<'_, Push>,
    id: UploadId,
    claimed: Digest,
    body: RequestBody,
) -> Result<Response, ApiError> {
    let finished = async {
        let upload = match context.repository.open_upload(id).await {
            Err(Error::UploadUnknown) if context.repository.has_blob(&claimed).await? => return Ok(claimed),
            opened => opened?,
        };
        let length = body_length(context, &upload, body.content_length())?;
        Ok::<_, UploadRequestError>(upload.complete(body.into_stream(), length, claimed).await?)
    };
    match finished.await {
        Ok(digest) => Ok(created_response(context.repository.name(), &digest)),
        Err(error) => error.into_session_response(context.repository.name(), id),
    }
}

/// Cancels an upload session and deletes its data.
pub(super) async fn cancel(context: &RepositoryContext<'_, Push>, id: UploadId) -> Result<Response, ApiError> {
    match context.repository.cancel_upload(id).await {
        Ok(()) => Ok(response::empty(StatusCode::NO_CONTENT)),
        Err(error) => UploadRequestError::from(error).into_session_response(context.repository.name(), id),
    }
}

/// Why a request to an upload session is refused.
enum UploadRequestError {
    /// The chunk does not fit the offset of the upload, or another request is writing: the session stays open, and the
    /// response contains its offset. The server does not wait for the other writer, because the client's offset would
    /// be wrong by then.
    OutOfSync { error: ApiError, offset: u64 },
    /// Any other error, which is returned as it is.
    Other(ApiError),
}

impl From<Error> for UploadRequestError {
    fn from(error: Error) -> Self {
        if let Error::UploadBusy { offset } | Error::ChunkOutOfOrder { offset, .. } = error {
            return Self::OutOfSync { error: error.into(), offset };
        }
        Self::Other(error.into())
    }
}

impl From<ApiError> for UploadRequestError {
    fn from(error: ApiError) -> Self {
        Self::Other(error)
    }
}

impl UploadRequestError {
    fn into_session_response(self, name: &RepositoryName, id: UploadId) -> Result<Response, ApiError> {
        let (error, offset) = match self {
            Self::Other(error) => return Err(error),
            Self::OutOfSync { error, offset } => (error, offset),
        };
        let mut response = error.into_response();
        let place = session_response(StatusCode::RANGE_NOT_SATISFIABLE, name, id, offset);
        for name in [header::LOCATION, header::RANGE, DOCKER_UPLOAD_UUID] {
            response.headers_mut().extend(place.headers().get(&name).map(|value| (name, value.clone())));
        }
        Ok(response)
    }
}

/// The number of bytes that the body of a request to `upload` must have: from `Content-Range`, else from
/// `Content-Length`; `None` if neither is present.
fn body_length(
    context: &RepositoryContext<'_, Push>,
    upload: &Upload,
    content_length: Option<u64>,
) -> Result<Option<u64>, UploadRequestError> {
    let Some(range) = content_range(context.headers())? else { return Ok(content_length) };
    upload.check_chunk_start(range)?;
    let length = range.length();
    match content_length {
        // An empty last request may repeat the range of the previous chunk; the check of its start has already refused
        // that.
        Some(announced) if announced != length => Err(invalid_range(format_args!(
            "the Content-Range has {length} bytes and the Content-Length is {announced}"
        )))?,
        Some(_) | None => Ok(Some(length)),
    }
}

fn content_range(headers: &HeaderMap) -> Result<Option<ChunkRange>, ApiError> {
    let Some(value) = headers.get(header::CONTENT_RANGE) else { return Ok(None) };
    let text = value.to_str().map_err(|_| invalid_range("the Content-Range is not text"))?;
    text.parse().map(Some).map_err(|error: InvalidChunkRange| invalid_range(error))
}

fn invalid_range(message: impl Display) -> ApiError {
    ApiError::new(ErrorCode::SizeInvalid, message)
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
