//! `POST /v2/<name>/blobs/uploads/?mount=<digest>[&from=<name>]`: finds the source of a mount, or asks for a wider
//! token.
//!
//! Third floor. Invariant: a caller learns of a repository only what the rules let it know. A source that they forbid
//! is answered like one that does not exist: 202, and the client uploads.
//!
//! Where only the scope of a token is missing, the answer is 401 with the scopes of target and source, as CNCF
//! Distribution answers: crane, containerd and `BuildKit` then fetch a token for both and mount. Distribution answers
//! so for every `from`, before it looks. Here the source is looked at first, so that a client is not sent to the
//! token endpoint for a mount that would come to nothing. That reveals no more than the wider token would: the rules
//! and the restriction of an access token are asked before, and the scope of a bearer token is merely what a client
//! asked for.

use super::{dispatch::Visitor, endpoint::MountSource, error::ApiError};
use crate::{
    access::{Action, MountAccess, NarrowToken, Pull, Scope},
    auth::ChallengeScheme,
    oci::{Digest, RepositoryName},
    registry::{FoundSource, Repository},
};

impl Visitor<'_> {
    /// The repository that a blob may be mounted from into `target`, which the caller may push; `None` where there is
    /// none.
    pub(super) async fn mount_source(
        &self,
        target: &RepositoryName,
        digest: &Digest,
        from: MountSource,
    ) -> Result<Option<Repository<Pull>>, ApiError> {
        let (registry, gate) = (self.visit.api.registry(), self.visit.api.gate());
        let access =
            |name: &RepositoryName| gate.mount_access(self.subject, name).filter(|access| self.is_of_use(access));
        let found = match from {
            MountSource::Nowhere => None,
            MountSource::Named(name) => match access(&name) {
                Some(access) => registry.named_source(access, digest).await?,
                None => None,
            },
            MountSource::Any if !gate.may_pull_something(self.subject) => None,
            MountSource::Any => registry.find_source(target, digest, self.subject.reach.pullable(), access).await?,
        };
        match found {
            None => Ok(None),
            Some(FoundSource::Open(source)) => Ok(Some(source)),
            Some(FoundSource::NarrowToken(narrow)) => Err(self.ask_for_wider_token(target, &narrow)),
        }
    }

    /// A challenge that asks for passwords cannot name scopes. A client that shows a token nevertheless uploads.
    fn is_of_use(&self, access: &MountAccess) -> bool {
        match (access, self.visit.api.parts().challenge) {
            (MountAccess::Granted(_), _) | (MountAccess::NarrowToken(_), ChallengeScheme::Bearer) => true,
            (MountAccess::NarrowToken(_), ChallengeScheme::Basic) => false,
        }
    }

    fn ask_for_wider_token(&self, target: &RepositoryName, narrow: &NarrowToken) -> ApiError {
        let mut scopes = vec![Scope::for_action(target.clone(), Action::Push)];
        // To push is asked for together with to pull.
        if narrow.repository() != target {
            scopes.push(narrow.denied().wanted.scope());
        }
        self.refuse_scopes(narrow.denied(), &scopes)
    }
}
