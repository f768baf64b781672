//! A proof is for the repository that the gate was asked about.

use portcullis::{
    access::{Authorized, Push},
    oci::RepositoryName,
};

pub fn redirect(mut proof: Authorized<Push>, elsewhere: RepositoryName) -> Authorized<Push> {
    proof.repository = elsewhere; //~ E0616
    proof
}

fn main() {}
