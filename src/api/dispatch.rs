//! Routes each [`Endpoint`] to its handler, after authenticating the caller and asking the gate for the right that it
//! needs.
//!
//! Invariant: the matches over the endpoints have no wildcard, and an operation on a repository is reached only through
//! [`AuthenticatedContext::open`] with the right whose enum contains the operation.

use axum::{
    extract::Request,
    response::{IntoResponse as _, Response},
};
use serde_json::json;

use super::{
    authentication::{self, with_anonymous_rights},
    blobs, ca_certificate, catalog,
    challenge::ChallengeReason,
    context::{AuthenticatedContext, RepositoryContext, RequestContext},
    endpoint::{
        AdminOperation, DeleteOperation, Endpoint, NewUpload, PublicEndpoint, PullOperation, PushOperation,
        RegistryEndpoint, RepositoryOperation, UploadOperation,
    },
    error::ApiError,
    health, manifests,
    middleware::RequestInfo,
    referrers, repositories,
    request_body::RequestBody,
    response, search,
    state::Api,
    tags, token_endpoint, uploads,
};
use crate::access::{Admin, Delete, Principal, Pull, Push};

/// Handles one request: parses its endpoint and returns the response of the handler, or an error response.
pub(super) async fn dispatch(api: &Api, request: Request) -> Response {
    let (mut head, body) = request.into_parts();
    let info = head.extensions.remove::<RequestInfo>().expect("the middleware adds it to every request");
    let endpoint = match Endpoint::parse(&head.method, head.uri.path(), head.uri.query()) {
        Ok(endpoint) => endpoint,
        Err(error) => return error.into_response(),
    };
    let body = RequestBody::new(body, &head.headers, api.components().idle_timeout);
    let context = RequestContext { api, head: &head, info: &info };
    handle(context, endpoint, body).await.unwrap_or_else(ApiError::into_response)
}

async fn handle(context: RequestContext<'_>, endpoint: Endpoint, body: RequestBody) -> Result<Response, ApiError> {
    match endpoint {
        Endpoint::Public(endpoint) => handle_public(context.api, endpoint).await,
        Endpoint::Token => token_endpoint::handle(context, body).await,
        Endpoint::Registry(endpoint) => {
            let subject = &authentication::authenticate(context, &endpoint).await?;
            context.info.user.set(&subject.principal);
            handle_registry(&AuthenticatedContext { request: context, subject }, endpoint, body).await
        }
    }
}

async fn handle_public(api: &Api, endpoint: PublicEndpoint) -> Result<Response, ApiError> {
    match endpoint {
        PublicEndpoint::Liveness => Ok(health::liveness()),
        PublicEndpoint::Readiness => health::readiness(api).await,
        PublicEndpoint::CaCertificate => ca_certificate::get(api),
        PublicEndpoint::Ping => Ok(search::ping()),
        PublicEndpoint::TokenKeys => {
            Ok(response::json("application/jwk-set+json", &api.authenticator().key_set(api.clock().now())))
        }
    }
}

async fn handle_registry(
    context: &AuthenticatedContext<'_>,
    endpoint: RegistryEndpoint,
    body: RequestBody,
) -> Result<Response, ApiError> {
    let api = context.request.api;
    match endpoint {
        RegistryEndpoint::VersionCheck => version_check(context),
        RegistryEndpoint::Catalog(page) => {
            let gate = api.gate();
            let view = gate.authorize_catalog(context.subject).map_err(|denied| context.denied_error(&denied))?;
            catalog::list(api, &view, &page).await
        }
        // The search protocol is older than tokens, so clients fetch no anonymous token for it.
        RegistryEndpoint::Search(search) => {
            let (gate, subject) = (api.gate(), with_anonymous_rights(context.subject.clone()));
            let view = gate.authorize_catalog(&subject).map_err(|denied| context.denied_error(&denied))?;
            search::results(api, &view, &search).await
        }
        RegistryEndpoint::Repository { name, operation } => match operation {
            RepositoryOperation::Pull(operation) => pull(&context.open(name)?, operation).await,
            RepositoryOperation::Push(operation) => push(&context.open(name)?, operation, body).await,
            RepositoryOperation::Delete(operation) => delete(&context.open(name)?, operation).await,
            RepositoryOperation::Admin(operation) => administer(&context.open(name)?, operation).await,
        },
    }
}

async fn pull(context: &RepositoryContext<'_, Pull>, operation: PullOperation) -> Result<Response, ApiError> {
    match operation {
        PullOperation::Tags(page) => tags::list(context, &page).await,
        PullOperation::Manifest(reference) => manifests::read(context, &reference).await,
        PullOperation::Blob(digest) => blobs::read(context, &digest).await,
        PullOperation::Referrers(subject, filter) => referrers::list(context, &subject, &filter).await,
    }
}

async fn push(
    context: &RepositoryContext<'_, Push>,
    operation: PushOperation,
    body: RequestBody,
) -> Result<Response, ApiError> {
    match operation {
        PushOperation::Manifest(reference, tags) => manifests::put(context, &reference, tags, body).await,
        PushOperation::StartUpload(NewUpload::Session(algorithm)) => uploads::start(context, algorithm).await,
        PushOperation::StartUpload(NewUpload::Monolithic(digest)) => uploads::monolithic(context, digest, body).await,
        PushOperation::StartUpload(NewUpload::Mount(digest, from)) => uploads::mount(context, digest, from).await,
        PushOperation::Upload(id, UploadOperation::Status) => uploads::status(context, id).await,
        PushOperation::Upload(id, UploadOperation::Chunk) => uploads::chunk(context, id, body).await,
        PushOperation::Upload(id, UploadOperation::Finish(digest)) => uploads::finish(context, id, digest, body).await,
        PushOperation::Upload(id, UploadOperation::Cancel) => uploads::cancel(context, id).await,
    }
}

async fn delete(context: &RepositoryContext<'_, Delete>, operation: DeleteOperation) -> Result<Response, ApiError> {
    match operation {
        DeleteOperation::Manifest(reference) => manifests::delete(context, &reference).await,
        DeleteOperation::Blob(digest) => blobs::delete(context, &digest).await,
    }
}

async fn administer(context: &RepositoryContext<'_, Admin>, operation: AdminOperation) -> Result<Response, ApiError> {
    match operation {
        AdminOperation::DeleteRepository => repositories::delete(context).await,
    }
}

/// The response to `GET /v2/`. Docker and podman derive from it whether and how to log in. Anonymous callers always get
/// a challenge, even where the rules allow anonymous pulls, because `docker login` takes a 200 as success with any
/// password.
fn version_check(context: &AuthenticatedContext<'_>) -> Result<Response, ApiError> {
    match context.subject.principal {
        Principal::User(_) => Ok(response::json("application/json", &json!({}))),
        Principal::Anonymous => {
            Err(context.request.challenge(ChallengeReason::Missing, &[], "sign in to use this registry"))
        }
    }
}
