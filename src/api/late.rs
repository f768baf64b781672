//! A push does not die of an expired token: who began an upload while the token was good may finish it a while later.
//!
//! Third floor. Invariant: an expired token is believed for the requests that carry on with one upload session, if it was made
//! for pushing to that repository, and its subject began that session before it expired; for nothing else. The client that
//! streams gigabytes in one request, and finds its token expired when it wants to close the upload, has no chance to fetch
//! another.

use std::time::SystemTime;

use http::HeaderMap;

use super::{caller, endpoint::Endpoint, state::Api};
use crate::{
    access::{Push, Subject},
    auth::Credentials,
    oci::RepositoryName,
    registry::UploadId,
};

/// Who shows a token that has expired, if it is still good for this request. Whatever is wrong with it, the answer is the one
/// to any expired token, which makes clients fetch a new one.
pub(super) async fn identify(api: &Api, headers: &HeaderMap, endpoint: &Endpoint, now: SystemTime) -> Option<Subject> {
    let (name, id) = session(endpoint)?;
    let Some(Credentials::Bearer(token)) = caller::credentials(headers).ok()? else { return None };
    let (subject, expired) = api.authenticator().late_subject(&token, now).await.ok()?;
    let proof = api.gate().authorize::<Push>(&subject, name.clone()).ok()?;
    let began = api.registry().open(&proof).upload_began(id).await.ok()?;
    if began >= expired {
        return None;
    }
    tracing::info!(user = %subject.principal, repository = %name, upload = %id, "an upload goes on with an expired token");
    Some(subject)
}

/// The session that a request carries on with.
fn session(endpoint: &Endpoint) -> Option<(&RepositoryName, UploadId)> {
    match endpoint {
        Endpoint::UploadStatus(name, id)
        | Endpoint::UploadChunk(name, id)
        | Endpoint::FinishUpload(name, id, _)
        | Endpoint::CancelUpload(name, id) => Some((name, *id)),
        Endpoint::Alive
        | Endpoint::Authority
        | Endpoint::Ready
        | Endpoint::Ping
        | Endpoint::TokenKeys
        | Endpoint::Token
        | Endpoint::Base
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
        | Endpoint::RemoveRepository(..) => None,
    }
}
