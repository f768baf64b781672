//! A proof comes from the gate alone.

use portcullis::access::{Authorized, Push};

pub fn forge() -> Authorized<Push> {
    Default::default() //~ E0277
}

fn main() {}
