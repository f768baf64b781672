//! A repository that is open for reading does not turn into one that is open for writing.

use portcullis::{
    access::{Pull, Push},
    registry::Repository,
};

pub fn turn(open: Repository<Pull>) -> Repository<Push> {
    open //~ E0308
}

pub fn into(open: Repository<Pull>) -> Repository<Push> {
    open.into() //~ E0277
}

fn main() {}
