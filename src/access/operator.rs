//! Authorizes the local operator: the account of this machine that runs a command on the data folder itself.
//!
//! Access rules are about users of the registry and do not apply to the account that owns its files. The audit trail
//! shows the local operator under a name that begins with `@`, which no user's name does.
//!
//! Invariant: [`LocalOperator::assume`] is the only way to become one, it is closed to other crates, and only the
//! command `portcullis repository` calls it (a test of `tests/it/architecture` reads that).

use super::{
    action::Admin,
    gate::{Authorized, CatalogView},
    principal::{Principal, UserName},
};
use crate::oci::RepositoryName;

/// The administrator of every repository on this machine's data folder.
#[derive(Debug)]
pub struct LocalOperator {
    private: (),
}

impl LocalOperator {
    /// The name that the audit trail shows.
    pub const NAME: &'static str = UserName::LOCAL_OPERATOR;

    /// Takes the account that runs this process for the local operator. Only for a command that works on the data
    /// folder itself, never for a request that came over the network.
    pub(crate) fn assume() -> Self {
        Self { private: () }
    }

    /// Proof that the local operator may administer `repository`.
    #[must_use]
    pub fn authorize(&self, repository: RepositoryName) -> Authorized<Admin> {
        let Self { private: () } = self;
        Authorized::by_no_rule(repository, Principal::User(UserName::local_operator()))
    }

    /// The list of all repositories.
    #[must_use]
    pub fn catalog(&self) -> CatalogView<'static> {
        let Self { private: () } = self;
        CatalogView::everything()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::InvalidUserName;

    #[test]
    fn the_local_operator_administers_every_repository_under_a_name_that_no_user_can_have() {
        let name: RepositoryName = "team/app".parse().unwrap();
        let proof = LocalOperator::assume().authorize(name.clone());
        assert_eq!((proof.repository(), proof.rule()), (&name, None));
        assert_eq!(proof.principal().to_string(), LocalOperator::NAME);
        assert_eq!(LocalOperator::NAME.parse::<UserName>(), Err(InvalidUserName::Reserved));
        assert!(LocalOperator::assume().catalog().shows(&name));
    }
}
