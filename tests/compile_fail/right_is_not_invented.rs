//! There are no rights but those of `access`.

use portcullis::access::{Action, Right};

pub enum Everything {}

#[rustfmt::skip]
impl Right for Everything { //~ E0277
    const ACTION: Action = Action::Pull;
}

fn main() {}
