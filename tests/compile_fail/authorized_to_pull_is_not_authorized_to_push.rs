//! A proof of one right is none of another.

use portcullis::{
    access::{Authorized, Pull, Push},
    registry::{Registry, Repository},
};

pub fn open(registry: &Registry, proof: &Authorized<Pull>) -> Repository<Push> {
    registry.open(proof) //~ E0308
}

fn main() {}
