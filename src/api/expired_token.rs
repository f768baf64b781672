//! Lets an upload that was begun with a valid token finish after the token expires.
//!
//! A client that streams gigabytes in one request may find its token expired when it sends the request that completes
//! the upload, and it cannot fetch another token at that point.
//!
//! Invariant: an expired token is accepted only for requests that continue one upload session, only if it grants push
//! to that repository, and only if the session was begun before the token expired.

use std::time::SystemTime;

use super::{context::RequestContext, endpoint::RegistryEndpoint};
use crate::{
    access::{Push, Subject},
    auth::Credentials,
};

/// The subject of an expired token, if the token may still continue the upload session of this request. In all other
/// cases the result is `None`, and the response is the usual one for an expired token, which makes clients fetch a new
/// token.
pub(super) async fn authenticate_expired_token(
    context: RequestContext<'_>,
    endpoint: &RegistryEndpoint,
    now: SystemTime,
) -> Option<Subject> {
    let api = context.api;
    let (name, id) = endpoint.upload_session()?;
    let Some(Credentials::Bearer(token)) = context.credentials().ok()? else { return None };
    let (subject, expired) = api.authenticator().authenticate_expired(&token, now).await.ok()?;
    let proof = api.gate().authorize::<Push>(&subject, name.clone()).ok()?;
    let began = api.registry().open(&proof).upload_started_at(id).await.ok()?;
    if began >= expired {
        return None;
    }
    tracing::info!(user = %subject.principal, repository = %name, upload = %id, "upload continues with an expired token");
    Some(subject)
}
