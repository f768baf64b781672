//! Authorises the local operator: the operating system account that owns the data folder, or root, when it runs a
//! command on the folder or has the running server do so.
//!
//! Access rules apply to users of the registry, not to the account that owns its files. The audit log shows the local
//! operator under a name that begins with `@`, which no user name does.
//!
//! Invariant: [`LocalOperator::assume`] is the only constructor and is called only by the command
//! `portcullis repository` and by the admin socket of the server, whose peers the kernel has identified (a test in
//! `tests/it/architecture` checks this).

use super::{
    action::Admin,
    gate::{Authorized, CatalogView},
    principal::{Principal, UserName},
};
use portcullis_oci::RepositoryName;

/// The account with administration rights on every repository in this machine's data folder.
#[derive(Debug)]
pub struct LocalOperator {
    private: (),
}

impl LocalOperator {
    /// The name of the local operator in the audit log.
    pub const NAME: &'static str = UserName::LOCAL_OPERATOR;

    /// Treats the account that runs this process as the local operator. Only for a command that works directly on the
    /// data folder, and for a request of this account or of root on the admin socket; never for a request from the
    /// network.
    #[must_use]
    pub fn assume() -> Self {
        Self { private: () }
    }

    /// Proof that the local operator may administer `repository`.
    #[must_use]
    pub fn authorize(&self, repository: RepositoryName) -> Authorized<Admin> {
        let Self { private: () } = self;
        Authorized::without_rule(repository, Principal::User(UserName::local_operator()))
    }

    /// A view of all repositories.
    #[must_use]
    pub fn catalog(&self) -> CatalogView<'static> {
        let Self { private: () } = self;
        CatalogView::everything()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::InvalidUserName;

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
