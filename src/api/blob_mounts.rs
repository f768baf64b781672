//! Resolves the source of a blob mount (`POST /v2/<name>/blobs/uploads/?mount=<digest>[&from=<name>]`), or requests a
//! token with a wider scope.
//!
//! Invariant: a caller gets no information about a repository that the rules hide from it. A source that the rules
//! forbid gets the same response as one that does not exist: 202, and the client uploads the blob.
//!
//! Where the rules allow the source and only the scope of the token is missing, the response is 401 with the scopes of
//! target and source, as in CNCF Distribution: crane, containerd and `BuildKit` then fetch a token for both and mount.
//! Distribution sends this response for every `from`, before it looks up the blob. Here the source is looked up first,
//! so that a client does not fetch a token for a mount that would fail. This reveals no more than the wider token
//! would: the rules and the restriction of an access token are checked before, and the scope of a bearer token is
//! merely the one that the client requested.

use super::{dispatch::AuthenticatedContext, endpoint::MountSource, error::ApiError};
use crate::{
    access::{Action, MountAccess, NarrowToken, Pull, Scope},
    auth::ChallengeScheme,
    oci::{Digest, RepositoryName},
    registry::{FoundSource, Repository},
};

impl AuthenticatedContext<'_> {
    /// The repository that a blob may be mounted from into `target`, which the caller may push to; `None` if there is
    /// none.
    pub(super) async fn mount_source(
        &self,
        target: &RepositoryName,
        digest: &Digest,
        from: MountSource,
    ) -> Result<Option<Repository<Pull>>, ApiError> {
        let (registry, gate) = (self.request.api.registry(), self.request.api.gate());
        let access =
            |name: &RepositoryName| gate.mount_access(self.subject, name).filter(|access| self.leads_to_mount(access));
        let found = match from {
            MountSource::InvalidName => None,
            MountSource::Named(name) => match access(&name) {
                Some(access) => registry.named_source(access, digest).await?,
                None => None,
            },
            MountSource::Any if !gate.may_pull_any(self.subject) => None,
            MountSource::Any => {
                registry.find_source(target, digest, self.subject.restriction.pullable_repositories(), access).await?
            }
        };
        match found {
            None => Ok(None),
            Some(FoundSource::Open(source)) => Ok(Some(source)),
            Some(FoundSource::NarrowToken(narrow)) => Err(self.wider_token_error(target, &narrow)),
        }
    }

    /// Whether the access leads to a mount. A Basic challenge cannot name scopes, so a client that sends a token anyway
    /// has to upload the blob.
    fn leads_to_mount(&self, access: &MountAccess) -> bool {
        match (access, self.request.api.components().challenge) {
            (MountAccess::Granted(_), _) | (MountAccess::NarrowToken(_), ChallengeScheme::Bearer) => true,
            (MountAccess::NarrowToken(_), ChallengeScheme::Basic) => false,
        }
    }

    fn wider_token_error(&self, target: &RepositoryName, narrow: &NarrowToken) -> ApiError {
        let mut scopes = vec![Scope::for_action(target.clone(), Action::Push)];
        // A scope for push includes pull, so a source that is the target needs no scope of its own.
        if narrow.repository() != target {
            scopes.push(narrow.denied().requested.scope());
        }
        self.denied_error_with_scopes(narrow.denied(), &scopes)
    }
}
