//! The rights to push and delete do not include reading.

use portcullis::{
    access::{Delete, Push},
    oci::{Digest, PageRequest, Reference},
    registry::{ReferrersFilter, Repository},
};

pub fn read(
    write: &Repository<Push>,
    delete: &Repository<Delete>,
    reference: &Reference,
    digest: &Digest,
    page: &PageRequest,
) {
    write.manifest(reference); //~ E0599
    write.blob(digest); //~ E0599
    write.blob_size(digest); //~ E0599
    write.referrers(digest, &ReferrersFilter::default()); //~ E0599
    write.tags(page); //~ E0599
    delete.manifest(reference); //~ E0599
    delete.blob(digest); //~ E0599
}

fn main() {}
