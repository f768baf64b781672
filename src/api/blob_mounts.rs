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

use super::{context::RepositoryContext, endpoint::MountSource, error::ApiError};
use crate::{
    access::{Action, MountAccess, NarrowToken, Pull, Push, Scope},
    auth::ChallengeScheme,
    oci::{Digest, RepositoryName},
    registry::{FoundSource, Repository},
};

/// The repository that a blob may be mounted from into the repository of `context`; `None` if there is none.
pub(super) async fn find_source(
    context: &RepositoryContext<'_, Push>,
    digest: &Digest,
    from: MountSource,
) -> Result<Option<Repository<Pull>>, ApiError> {
    let (api, subject, target) = (context.caller.request.api, context.caller.subject, context.repository.name());
    let (registry, gate) = (api.registry(), api.gate());
    let access = |name: &RepositoryName| {
        gate.mount_access(subject, name).filter(|access| leads_to_mount(access, api.components().challenge))
    };
    let found = match from {
        MountSource::InvalidName => None,
        MountSource::Named(name) => match access(&name) {
            Some(access) => registry.named_source(access, digest).await?,
            None => None,
        },
        MountSource::Any if !gate.may_pull_any(subject) => None,
        MountSource::Any => {
            registry.find_source(target, digest, subject.restriction.pullable_repositories(), access).await?
        }
    };
    match found {
        None => Ok(None),
        Some(FoundSource::Open(source)) => Ok(Some(source)),
        Some(FoundSource::NarrowToken(narrow)) => Err(wider_token_error(context, &narrow)),
    }
}

/// Whether the access leads to a mount. A Basic challenge cannot name scopes, so a client that sends a token anyway has
/// to upload the blob.
fn leads_to_mount(access: &MountAccess, challenge: ChallengeScheme) -> bool {
    match (access, challenge) {
        (MountAccess::Granted(_), _) | (MountAccess::NarrowToken(_), ChallengeScheme::Bearer) => true,
        (MountAccess::NarrowToken(_), ChallengeScheme::Basic) => false,
    }
}

fn wider_token_error(context: &RepositoryContext<'_, Push>, narrow: &NarrowToken) -> ApiError {
    let target = context.repository.name();
    let mut scopes = vec![Scope::for_action(target.clone(), Action::Push)];
    // A scope for push includes pull, so a source that is the target needs no scope of its own.
    if narrow.repository() != target {
        scopes.push(narrow.denied().requested.scope());
    }
    context.caller.denied_error_with_scopes(narrow.denied(), &scopes)
}
