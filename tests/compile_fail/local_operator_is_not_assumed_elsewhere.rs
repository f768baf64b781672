//! Only the command on this machine is the local operator, whom no rule is asked about.

use portcullis::{
    access::{Admin, Authorized, LocalOperator},
    oci::RepositoryName,
};

pub fn assume(repository: RepositoryName) -> Authorized<Admin> {
    LocalOperator::assume().authorize(repository) //~ E0624
}

fn main() {}
