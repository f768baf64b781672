//! A name is not enough to open a repository.

use portcullis::{
    access::Pull,
    oci::RepositoryName,
    registry::{Registry, Repository},
};

pub fn open(registry: &Registry, name: &RepositoryName) -> Repository<Pull> {
    registry.open(name) //~ E0308
}

fn main() {}
