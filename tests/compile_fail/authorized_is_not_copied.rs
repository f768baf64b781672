//! A proof is for one deed; who keeps a copy acts on yesterday's rules.

use portcullis::access::{Authorized, Push};

pub fn keep(proof: &Authorized<Push>) -> Authorized<Push> {
    fn copy<T: Clone>(original: &T) -> T {
        original.clone()
    }
    copy(proof) //~ E0277
}

fn main() {}
