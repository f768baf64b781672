//! A proof comes from the gate alone.

use std::marker::PhantomData;

use portcullis::{
    access::{Authorized, Principal, Push, RuleNumber},
    oci::RepositoryName,
};

pub fn forge(repository: RepositoryName) -> Authorized<Push> {
    Authorized { repository, principal: Principal::Anonymous, rule: Some(RuleNumber(1)), right: PhantomData } //~ E0451
}

fn main() {}
