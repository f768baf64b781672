//! A repository is opened, not made.

use std::marker::PhantomData;

use portcullis::{access::Push, registry::Repository};

pub fn forge() -> Repository<Push> {
    Repository { engine: todo!(), name: todo!(), principal: todo!(), right: PhantomData } //~ E0451
}

fn main() {}
