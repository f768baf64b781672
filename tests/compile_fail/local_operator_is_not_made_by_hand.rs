//! The local operator has one constructor.

use portcullis::access::LocalOperator;

pub fn forge() -> LocalOperator {
    LocalOperator { private: () } //~ E0451
}

fn main() {}
