//! Lets an upload that was begun with a valid token finish after the token expires.
//!
//! A client that streams gigabytes in one request may find its token expired when it sends the request that completes
//! the upload, and it cannot fetch another token at that point.
//!
//! Invariant: an expired token is accepted only for requests that continue one upload session, only if it grants push
//! to that repository, and only if the session was begun before the token expired.

use std::time::SystemTime;

use http::HeaderMap;

use super::{authentication, endpoint::Endpoint, state::Api};
use crate::{
    access::{Push, Subject},
    auth::Credentials,
    oci::RepositoryName,
    registry::UploadId,
};

/// The subject of an expired token, if the token may still continue the upload session of this request. In all other
/// cases the result is `None`, and the response is the usual one for an expired token, which makes clients fetch a new
/// token.
pub(super) async fn authenticate_expired_token(
    api: &Api,
    headers: &HeaderMap,
    endpoint: &Endpoint,
    now: SystemTime,
) -> Option<Subject> {
    let (name, id) = upload_session(endpoint)?;
    let Some(Credentials::Bearer(token)) = authentication::parse_credentials(headers).ok()? else { return None };
    let (subject, expired) = api.authenticator().authenticate_expired(&token, now).await.ok()?;
    let proof = api.gate().authorize::<Push>(&subject, name.clone()).ok()?;
    let began = api.registry().open(&proof).upload_started_at(id).await.ok()?;
    if began >= expired {
        return None;
    }
    tracing::info!(user = %subject.principal, repository = %name, upload = %id, "upload continues with an expired token");
    Some(subject)
}

/// The upload session that a request continues.
fn upload_session(endpoint: &Endpoint) -> Option<(&RepositoryName, UploadId)> {
    match endpoint {
        Endpoint::UploadStatus(name, id)
        | Endpoint::UploadChunk(name, id)
        | Endpoint::FinishUpload(name, id, _)
        | Endpoint::CancelUpload(name, id) => Some((name, *id)),
        Endpoint::Liveness
        | Endpoint::CaCertificate
        | Endpoint::Readiness
        | Endpoint::Ping
        | Endpoint::TokenKeys
        | Endpoint::Token
        | Endpoint::VersionCheck
        | Endpoint::Catalog(..)
        | Endpoint::Search(..)
        | Endpoint::Tags(..)
        | Endpoint::Manifest(..)
        | Endpoint::PutManifest(..)
        | Endpoint::DeleteManifest(..)
        | Endpoint::Blob(..)
        | Endpoint::DeleteBlob(..)
        | Endpoint::StartUpload(..)
        | Endpoint::Referrers(..)
        | Endpoint::DeleteRepository(..) => None,
    }
}
