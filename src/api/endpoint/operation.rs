//! The operations of the HTTP API, nested by what their callers must show, with their parsed parameters.
//!
//! Invariant: an operation on a repository is a variant of the enum of the right that it requires.

use crate::{
    access::{Action, Scope},
    oci::{Algorithm, Digest, PageRequest, Reference, RepositoryName, Tag},
    registry::{ReferrersFilter, UploadId},
};

/// Every operation of the HTTP API, with its parsed parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// An endpoint that requires no credentials.
    Public(PublicEndpoint),
    /// `GET` or `POST /token`, which verifies the credentials that it exchanges for a token.
    Token,
    /// An endpoint of the registry: its caller is authenticated, and authorised by the access rules.
    Registry(RegistryEndpoint),
}

/// An endpoint that everyone may use, without credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicEndpoint {
    /// `GET /healthz`: liveness; the process runs.
    Liveness,
    /// `GET /readyz`: readiness; the registry can use its store.
    Readiness,
    /// `GET /ca.crt`: the certificate of the CA that signed the server's certificate. A client may trust it once its
    /// user has compared the fingerprint.
    CaCertificate,
    /// `GET /v1/_ping`: the ping of Docker's first registry protocol, which clients send before a search.
    Ping,
    /// `GET /token/jwks`
    TokenKeys,
}

/// An endpoint that is subject to the access rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryEndpoint {
    /// `GET /v2/`: the API version check, which clients also use to find out whether and how to authenticate.
    VersionCheck,
    /// `GET /v2/_catalog`
    Catalog(PageRequest),
    /// `GET /v1/search?q=…&n=…`
    Search(SearchQuery),
    /// An operation on one repository.
    Repository {
        /// The repository.
        name: RepositoryName,
        /// The operation, with its parameters.
        operation: RepositoryOperation,
    },
}

/// An operation on a repository, by the right that it requires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepositoryOperation {
    /// An operation that requires the right to pull.
    Pull(PullOperation),
    /// An operation that requires the right to push.
    Push(PushOperation),
    /// An operation that requires the right to delete.
    Delete(DeleteOperation),
    /// An operation that requires the right to administer the repository.
    Admin(AdminOperation),
}

/// An operation that reads a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PullOperation {
    /// `GET /v2/<name>/tags/list`
    Tags(PageRequest),
    /// `GET` or `HEAD /v2/<name>/manifests/<reference>`
    Manifest(Reference),
    /// `GET` or `HEAD /v2/<name>/blobs/<digest>`
    Blob(Digest),
    /// `GET /v2/<name>/referrers/<digest>[?artifactType=…][&last=<digest>]`
    Referrers(Digest, ReferrersFilter),
}

/// An operation that adds content to a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushOperation {
    /// `PUT /v2/<name>/manifests/<reference>[?tag=…]`
    Manifest(Reference, Vec<Tag>),
    /// `POST /v2/<name>/blobs/uploads/`
    StartUpload(NewUpload),
    /// A request to an upload session: `/v2/<name>/blobs/uploads/<id>`
    Upload(UploadId, UploadOperation),
}

/// A request to an upload session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadOperation {
    /// `GET` or `HEAD`: the number of received bytes.
    Status,
    /// `PATCH`: the next chunk.
    Chunk,
    /// `PUT …?digest=…`: the last chunk, if there is one, and the digest of the blob.
    Finish(Digest),
    /// `DELETE`: cancels the upload.
    Cancel,
}

/// An operation that deletes content of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeleteOperation {
    /// `DELETE /v2/<name>/manifests/<reference>`
    Manifest(Reference),
    /// `DELETE /v2/<name>/blobs/<digest>`
    Blob(Digest),
}

/// An operation on a repository as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminOperation {
    /// `DELETE /v1/repositories/<name>`: deletes the repository with all its content. The path is outside of `/v2/`, so
    /// that a script with an empty variable in a `DELETE /v2/…` path never deletes a whole repository instead of one
    /// tag or blob.
    DeleteRepository,
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

impl RegistryEndpoint {
    /// The scope that a token needs for this endpoint; `None` if any token suffices.
    #[must_use]
    pub fn required_scope(&self) -> Option<Scope> {
        match self {
            Self::VersionCheck => None,
            Self::Catalog(_) | Self::Search(_) => Some(Scope::Catalog),
            Self::Repository { name, operation } => Some(Scope::for_action(name.clone(), operation.required_action())),
        }
    }

    /// The upload session that a request continues, and its repository.
    #[must_use]
    pub fn upload_session(&self) -> Option<(&RepositoryName, UploadId)> {
        let Self::Repository { name, operation: RepositoryOperation::Push(PushOperation::Upload(id, _)) } = self else {
            return None;
        };
        Some((name, *id))
    }
}

impl RepositoryOperation {
    /// The action that the access rules must allow.
    #[must_use]
    pub fn required_action(&self) -> Action {
        match self {
            Self::Pull(_) => Action::Pull,
            Self::Push(_) => Action::Push,
            Self::Delete(_) => Action::Delete,
            Self::Admin(_) => Action::Admin,
        }
    }
}
