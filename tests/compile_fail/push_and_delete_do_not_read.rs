//! Whoever may only write or delete can not read.

use portcullis::{
    access::{Delete, Push},
    oci::{Digest, Page, Reference},
    registry::{Referring, Repository},
};

pub fn read(
    write: &Repository<Push>,
    delete: &Repository<Delete>,
    reference: &Reference,
    digest: &Digest,
    page: &Page,
) {
    write.manifest(reference); //~ E0599
    write.blob(digest); //~ E0599
    write.blob_size(digest); //~ E0599
    write.referrers(digest, &Referring::default()); //~ E0599
    write.tags(page); //~ E0599
    delete.manifest(reference); //~ E0599
    delete.blob(digest); //~ E0599
}

fn main() {}
