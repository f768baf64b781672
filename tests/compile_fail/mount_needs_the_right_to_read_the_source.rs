//! A blob is mounted from where it may be read.

use portcullis::{access::Push, oci::Digest, registry::Repository};

pub fn mount(repository: &Repository<Push>, source: &Repository<Push>, digest: &Digest) {
    let _ = repository.mount(source, digest); //~ E0308
}

fn main() {}
