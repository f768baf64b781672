//! A name stays what it was when it was parsed.

use portcullis::{oci::RepositoryName, storage::StorePath};

pub fn change(name: &mut RepositoryName, path: &mut StorePath) {
    name.0.push_str("/../../etc"); //~ E0616
    path.0.push_str("/../../etc"); //~ E0616
}

fn main() {}
