//! The rights to pull and push do not include deletion.

use portcullis::{
    access::{Pull, Push},
    oci::{Digest, Reference},
    registry::Repository,
};

pub fn delete(read: &Repository<Pull>, write: &Repository<Push>, reference: &Reference, digest: &Digest) {
    read.delete_manifest(reference); //~ E0599
    read.delete_blob(digest); //~ E0599
    write.delete_manifest(reference); //~ E0599
    write.delete_blob(digest); //~ E0599
}

fn main() {}
