//! The rights to pull, push and delete do not include the removal of the repository, and the right to administer
//! includes nothing else.

use portcullis::{
    access::{Admin, Delete, Pull, Push},
    oci::{Digest, Reference},
    registry::Repository,
};

pub fn remove(read: &Repository<Pull>, write: &Repository<Push>, delete: &Repository<Delete>) {
    read.delete(); //~ E0599
    write.delete(); //~ E0599
    delete.delete(); //~ E0599
}

pub fn administer(admin: &Repository<Admin>, reference: &Reference, digest: &Digest) {
    admin.blob(digest); //~ E0599
    admin.delete_manifest(reference); //~ E0599
}

fn main() {}
